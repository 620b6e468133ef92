/** What is a scan and what is not: answers take attempts back, slow ones are seen, groups and middles of connections do not count. */
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { icmp, ip, tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import { advertisement, solicitation } from '../control/control-frames-testing.ts';
import { connection, knock, refused } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const rules = { scan_vertical: { ports: 5 }, scan_horizontal: { hosts: 5 }, scan_slow: { targets: 8 } };

function rulesOfPackets(packets: readonly Packet[]): string[] {
  return new Rig({ rules })
    .add(packets)
    .finish()
    .rules.filter((rule) => rule.startsWith('scan-'));
}

function each(count: number, make: (i: number) => Packet | Packet[]): Packet[] {
  return Array.from({ length: count }, (_, i) => make(i)).flat();
}

describe('a scan', () => {
  it('is not who is answered: attempts that lead to a conversation are taken back', () => {
    const spoken = each(20, (i) => connection(`10.0.0.1:${5000 + i}`, `10.0.0.2:${1000 + i}`, [['>', 'hello'], ['<', 'world']], i * 10_000)); // prettier-ignore
    expect(rulesOfPackets(spoken)).toEqual([]);
    const hosts = each(20, (i) => connection('10.0.0.1:5000', `10.0.1.${i}:80`, [['>', 'hello'], ['<', 'world']], i * 10_000)); // prettier-ignore
    expect(rulesOfPackets(hosts)).toEqual([]);
  });

  it('is who is refused by many, and by four is not many', () => {
    expect(rulesOfPackets(each(4, (i) => refused('10.0.0.1:5000', `10.0.0.2:${i}`, i)))).toEqual([]);
    expect(rulesOfPackets(each(5, (i) => refused('10.0.0.1:5000', `10.0.0.2:${i}`, i)))).toEqual(['scan-vertical']); // prettier-ignore
  });

  it('of the same door again and again is none', () => {
    expect(rulesOfPackets(each(50, (i) => refused(`10.0.0.1:${5000 + i}`, '10.0.0.2:80', i * 1000)))).toEqual([]); // prettier-ignore
  });

  it('is no sign of life of connections that are older than the capture', () => {
    const alive = (i: number): Packet[] => [
      { timeUs: i * 1000, frame: tcp('10.0.0.1:7777', `10.0.0.2:${20_000 + i}`, 'A', { sequence: 5 }) },
      { timeUs: i * 1000 + 300, frame: tcp(`10.0.0.2:${20_000 + i}`, '10.0.0.1:7777', 'A', { sequence: 9 }) },
    ];
    expect(rulesOfPackets(each(50, alive))).toEqual([]);
    const reset = (i: number): Packet[] => [
      ...alive(i).slice(0, 1),
      { timeUs: i * 1000 + 300, frame: tcp(`10.0.0.2:${20_000 + i}`, '10.0.0.1:7777', 'R', { sequence: 9 }) },
    ];
    expect(rulesOfPackets(each(50, reset))).toEqual(['scan-vertical']);
  });

  it('that stays below a rate is a slow one, over ports and over hosts', () => {
    const ports = each(8, (i) => refused('10.0.0.1:5000', `10.0.0.2:${i}`, i * 300 * SECOND));
    const hosts = each(8, (i) => knock('10.0.0.1:5000', `10.0.1.${i}:502`, i * 300 * SECOND));
    expect(rulesOfPackets(ports)).toEqual(['scan-slow']);
    expect(rulesOfPackets(hosts)).toEqual(['scan-slow']);
    // Slower than the window is not seen: an hour has room for seven of these.
    expect(rulesOfPackets(each(30, (i) => refused('10.0.0.1:5000', `10.0.0.2:${i}`, i * 600 * SECOND)))).toEqual([]); // prettier-ignore
  });

  it('by echo requests counts hosts, and answers to others are no attempts', () => {
    expect(rulesOfPackets(each(5, (i) => ({ timeUs: i, frame: icmp('10.0.0.1', `10.0.1.${i}`, 8) })))).toEqual(['scan-horizontal']); // prettier-ignore
    expect(rulesOfPackets(each(9, (i) => ({ timeUs: i, frame: icmp('10.0.0.1', `10.0.1.${i}`, 3, 1) })))).toEqual([]); // prettier-ignore
  });

  it('by echo requests without data counts hosts that answer as well', () => {
    const sweep = (payload: number): Packet[] =>
      each(5, (i) => [
        { timeUs: i * 1000, frame: icmp('10.0.0.1', `10.0.1.${i}`, 8, 0, { payload }) },
        { timeUs: i * 1000 + 500, frame: icmp(`10.0.1.${i}`, '10.0.0.1', 0, 0, { payload }) },
      ]);
    expect(rulesOfPackets(sweep(0))).toEqual(['scan-horizontal']);
    expect(rulesOfPackets(sweep(32))).toEqual([]);
  });

  it('by somebody who was seen scanning takes fewer targets', () => {
    const two = (port: number, fromUs: number): Packet[] =>
      each(2, (i) => knock('10.0.0.1:5000', `10.0.1.${i}:${port}`, fromUs + i));
    const first = each(5, (i) => knock('10.0.0.1:5000', `10.0.1.${i}:23`, i));
    const ports = (packets: Packet[]): number[] =>
      [...new Rig({ rules }).add(packets).finish().alerts.values()].filter(({ rule }) => rule === 'scan-horizontal').map(({ port }) => port); // prettier-ignore
    expect(ports([...two(2323, 1), ...first])).toEqual([23]);
    expect(ports([...first, ...two(2323, 100)])).toEqual([23, 2323]);
    expect(ports([...first, ...two(2323, 601 * SECOND)])).toEqual([23]);
  });

  it('that closes what began before the capture is none, except of one host', () => {
    const close = (to: string, i: number): Packet => ({ timeUs: i, frame: tcp('10.0.0.1:5000', to, 'FA') });
    expect(rulesOfPackets(each(9, (i) => close(`10.0.1.${i}:80`, i)))).toEqual([]);
    expect(rulesOfPackets(each(9, (i) => close(`10.0.1.1:${80 + i}`, i)))).toEqual(['scan-vertical']);
  });

  it('of web servers of the Internet by a host that has lost the way to it is only told', () => {
    const calls = (count: number): object[] =>
      [...new Rig({ rules }).add(each(count, (i) => knock('10.0.0.1:5000', `203.0.113.${i}:443`, i))).finish().alerts.values()].map(({ rule, severity }) => ({ rule, severity })); // prettier-ignore
    expect(calls(20)).toContainEqual({ rule: 'scan-horizontal', severity: 'low' });
    expect(calls(80)).toContainEqual({ rule: 'scan-horizontal', severity: 'high' });
  });

  it('is not who is answered while time has gone back', () => {
    const late = { timeUs: 520 * SECOND, frame: udp('10.0.0.9:1', '10.0.0.8:2', { payload: 1 }) };
    const polls = each(20, (i) => [
      { timeUs: i * 10_000, frame: udp('10.0.0.1:40000', `10.0.1.${i}:161`, { payload: 40 }) },
      { timeUs: i * 10_000 + 500, frame: udp(`10.0.1.${i}:161`, '10.0.0.1:40000', { payload: 90 }) },
    ]);
    expect(rulesOfPackets([late, ...polls])).toEqual([]);
  });

  it('of half a dozen ports is a thing to know', () => {
    const few = (count: number): object[] =>
      [...new Rig().add(each(count, (i) => knock('10.0.0.1:5000', `10.0.0.2:${20 + i}`, i))).finish().alerts.values()].map(({ rule, severity }) => ({ rule, severity })); // prettier-ignore
    expect(few(5)).toEqual([]);
    expect(few(6)).toEqual([{ rule: 'scan-vertical', severity: 'low' }]);
    // It is the same alert that rises.
    expect(few(12)).toEqual([{ rule: 'scan-vertical', severity: 'high' }]);
  });

  it('through an FTP server is one, by the services that it is told to try; refused and reset data connections are none', () => {
    const told = (command: (port: number) => string, base: number): Packet[] =>
      each(8, (i) => [
        ...connection(`10.0.0.1:${5000 + i}`, '10.0.0.2:21', [['>', command(base + i)], ['<', '200 OK\r\n']], i * SECOND),
        ...refused('10.0.0.2:20', `10.0.0.1:${base + i}`, i * SECOND + 100_000),
      ]); // prettier-ignore
    const port = (number: number): string => `PORT 10,0,0,1,${number >> 8},${number & 255}\r\n`;
    expect(rulesOfPackets(told(port, 20))).toEqual(['scan-vertical']);
    // A client behind a firewall that rejects.
    expect(rulesOfPackets(told(port, 40_000))).toEqual([]);
    // Files that came: the server resets what it has sent.
    const downloads = each(8, (i) => [
      ...connection(`10.0.0.1:${5000 + i}`, '10.0.0.2:21', [['>', port(20 + i)], ['<', '200 OK\r\n']], i * SECOND),
      ...connection('10.0.0.2:20', `10.0.0.1:${20 + i}`, [['>', 'a file']], i * SECOND + 100_000),
      { timeUs: i * SECOND + 300_000, frame: tcp(`10.0.0.1:${20 + i}`, '10.0.0.2:20', 'R', { sequence: 9 }) },
    ]); // prettier-ignore
    expect(rulesOfPackets(downloads)).toEqual([]);
  });

  it('is not data without flags, as in captures that were written by hand', () => {
    const bare = (payload: number): Packet[] =>
      each(10, (i) => ({ timeUs: i * 1000, frame: tcp('10.0.0.1:5000', '10.0.0.2:5450', '', { payload }) }));
    expect(rulesOfPackets(bare(50))).not.toContain('scan-flags');
    expect(rulesOfPackets(bare(0))).toContain('scan-flags');
  });

  it('is not a traceroute, nor files that come over FTP on the ports that were agreed on', () => {
    const trace = each(30, (i) => ({ timeUs: i * 1000, frame: udp('10.0.0.1:40000', `10.0.0.2:${33_434 + i}`, { payload: 32 }) })); // prettier-ignore
    expect(rulesOfPackets(trace)).toEqual([]);
    const line = (text: string): string => `${text}\r\n`;
    const lists = (reply: (port: number) => string): Packet[] =>
      each(12, (i) => [
        ...connection(`10.0.0.1:${5000 + i}`, '10.0.0.2:21', [['>', line('PASV')], ['<', line(reply(2000 + i))]], i * SECOND), // prettier-ignore
        knock(`10.0.0.1:${6000 + i}`, `10.0.0.2:${2000 + i}`, i * SECOND + 100_000),
      ]);
    expect(rulesOfPackets(lists((port) => `227 Entering Passive Mode (10,0,0,2,${port >> 8},${port & 255})`))).toEqual([]); // prettier-ignore
    expect(rulesOfPackets(lists((port) => `229 Entering Extended Passive Mode (|||${port}|)`))).toEqual([]);
    expect(rulesOfPackets(lists(() => '502 not implemented'))).toEqual(['scan-vertical']);
  });

  it('is not who goes on sending, though nobody is seen to answer: a mirror may show half of it', () => {
    const media = (packets: number): Packet[] =>
      each(12, (i) => Array.from({ length: packets }, (_, n) => ({ timeUs: i * SECOND + n * 20_000, frame: udp('10.0.0.1:5004', `10.0.0.2:${20_000 + 2 * i}`, { payload: 172 }) }))); // prettier-ignore
    expect(rulesOfPackets(media(50))).toEqual([]);
    expect(rulesOfPackets(media(2))).toEqual(['scan-vertical']);
    const half = each(12, (i) => [
      knock(`10.0.0.1:${5000 + i}`, `10.0.0.2:${1000 + i}`, i * SECOND),
      { timeUs: i * SECOND + 1000, frame: tcp(`10.0.0.1:${5000 + i}`, `10.0.0.2:${1000 + i}`, 'PA', { payload: 40 }) }, // prettier-ignore
    ]);
    expect(rulesOfPackets(half)).toEqual([]);
  });

  it('with flags that no system sends is told by three packets, and never by headers that are not there', () => {
    const odd = (flags: string): Packet[] => each(3, (i) => ({ timeUs: i, frame: tcp('10.0.0.1:5000', '10.0.0.2:80', flags) })); // prettier-ignore
    for (const flags of ['', 'SF', 'SR', 'FPU']) expect(rulesOfPackets(odd(flags)), flags).toEqual(['scan-flags']); // prettier-ignore
    for (const flags of ['S', 'SA', 'FA', 'R', 'RA', 'FPA', 'F']) expect(rulesOfPackets(odd(flags)), flags).toEqual([]); // prettier-ignore
    const later = each(9, (i) => ({ timeUs: i, frame: ip('10.0.0.1', '10.0.0.2', 6, Buffer.alloc(64), { fragment: { offset: 1480, more: false, id: i } }) })); // prettier-ignore
    expect(rulesOfPackets(later)).toEqual([]);
  });

  it('is not the middle of connections that began before the capture, nor what goes to groups', () => {
    const middle = each(9, (i) => ({ timeUs: i, frame: tcp('10.0.0.1:50000', `10.0.0.2:${600 + i}`, 'PA', { payload: 9 }) })); // prettier-ignore
    const groups = each(9, (i) => ({ timeUs: i, frame: udp('10.0.0.1:50000', `224.0.0.${i}:5353`, { payload: 9 }) })); // prettier-ignore
    expect(rulesOfPackets(middle)).toEqual([]);
    expect(rulesOfPackets(groups)).toEqual([]);
  });

  it('over IPv6 is one as well', () => {
    const packets = each(5, (i) => ({ timeUs: i, frame: tcp('[fd00::1]:5000', `[fd00::2]:${1 + i}`, 'S') }));
    const rig = new Rig({ rules }).add(packets).finish();
    expect(rig.alert('scan-vertical')).toMatchObject({ source: 'fd00::1', destination: 'fd00::2' });
  });
});

describe('neighbours of IPv6', () => {
  const MAC = '02:00:00:00:00:0a';
  const asked = (i: number, everyUs: number, from = 'fd00::1'): Packet => ({ timeUs: i * everyUs, frame: solicitation(MAC, from, `fd00::${100 + i}`) }); // prettier-ignore
  const told = (packets: readonly Packet[], arp_scan = { hosts: 5 }): Rig => new Rig({ rules: { arp_scan } }).add(packets).finish(); // prettier-ignore

  it('that one host asks for one after the other are a scan, and it is about what he asks', () => {
    const rig = told(each(5, (i) => asked(i, 300_000)));
    expect(rig.alert('ndp-scan')).toMatchObject({ source: 'fd00::1', scope: { client: 'fd00::1', protocol: 58, clientPort: 135 } }); // prettier-ignore
    expect(told(each(4, (i) => asked(i, 300_000))).rules).not.toContain('ndp-scan');
  });

  it('are none where it takes its time, asks for the same again, or tries its own address out', () => {
    expect(told(each(30, (i) => asked(i, 20 * SECOND))).rules).not.toContain('ndp-scan');
    expect(told(each(30, (i) => ({ ...asked(1, 0), timeUs: i * 1000 }))).rules).not.toContain('ndp-scan');
    expect(told(each(30, (i) => asked(i, 300_000, '::'))).rules).not.toContain('ndp-scan');
  });

  it('that answer are none: a router finds its hosts', () => {
    const found = each(30, (i) => [asked(i, 300_000), { timeUs: i * 300_000 + 300, frame: advertisement(MAC, `fd00::${100 + i}`, 0x60, 'fd00::1') }]); // prettier-ignore
    expect(told(found).rules).not.toContain('ndp-scan');
    const others = each(30, (i) => [asked(i, 300_000), { timeUs: i * 300_000 + 300, frame: advertisement(MAC, `fd00::${100 + i}`, 0x60, 'fd00::2') }]); // prettier-ignore
    expect(told(others).rules).toContain('ndp-scan');
  });

  it('are counted on behind a snapshot', () => {
    const before = new Rig({ rules: { arp_scan: { hosts: 5 } } }).add(each(3, (i) => asked(i, 300_000)));
    const after = new Rig({ rules: { arp_scan: { hosts: 5 } } });
    after.engine.restore(deserialize(serialize(before.engine.snapshot())));
    expect(after.add([asked(3, 300_000), asked(4, 300_000)]).finish().rules).toContain('ndp-scan');
  });

  it('that are asked for all at once have a second to answer', () => {
    const burst = each(30, (i) => ({ ...asked(i, 0), timeUs: i * 50 }));
    const answers = each(30, (i) => ({ timeUs: 5000 + i * 50, frame: advertisement(MAC, `fd00::${100 + i}`, 0x60, 'fd00::1') })); // prettier-ignore
    const next = { ...asked(99, 0), timeUs: 2 * SECOND };
    expect(told([...burst, ...answers, next]).rules).not.toContain('ndp-scan');
    expect(told([...burst, next]).rules).toContain('ndp-scan');
  });

  it('are not looked at where the rule is off', () => {
    const rig = new Rig({ rules: { arp_scan: { hosts: 5, enabled: false } } }).add(
      each(9, (i) => asked(i, 300_000)),
    );
    expect(rig.finish().rules).not.toContain('ndp-scan');
  });
});

describe('a scan of which only the answers are seen', () => {
  const [SCANNER, TARGET] = ['10.0.0.1', '10.0.0.2'];
  /** What is refused: an IP header and, of a protocol with ports, eight bytes more. */
  const refusal = (
    code: number,
    protocol: number,
    ports: readonly [number, number],
    timeUs: number,
  ): Packet => {
    const quoted = Buffer.alloc(28);
    quoted[0] = 0x45;
    quoted[9] = protocol;
    quoted.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
    quoted.writeUInt16BE(ports[0], 20);
    quoted.writeUInt16BE(ports[1], 22);
    return { timeUs, frame: icmp(TARGET, SCANNER, 3, code, { payload: quoted }) };
  };
  const told = (packets: readonly Packet[]): Rig => new Rig({ rules }).add(packets).finish();

  it('of protocols is told of who is refused', () => {
    const protocols = (count: number): Packet[] => each(count, (i) => refusal(2, 100 + i, [0, 0], i * 1000));
    const alert = told(protocols(4)).alert('scan-protocol');
    expect(alert).toMatchObject({ source: SCANNER, destination: TARGET, scope: { pair: [SCANNER, TARGET], protocol: 1, clientPort: 3 } }); // prettier-ignore
    expect(told(protocols(3)).rules).toEqual([]);
    expect(told(each(30, (i) => refusal(2, 100, [0, 0], i * 1000))).rules).toEqual([]);
  });

  it('of protocols is one alert with what was sent, where that is seen as well', () => {
    const both = each(6, (i) => [
      { timeUs: i * 1000, frame: ip(SCANNER, TARGET, 200 + i, Buffer.alloc(8)) },
      refusal(2, 200 + i, [0, 0], i * 1000 + 100),
    ]);
    const alerts = [...told(both).alerts.values()];
    expect(alerts.map(({ rule, scope }) => [rule, scope.client])).toEqual([['scan-protocol', SCANNER]]);
  });

  it('is none in what is cut off, or quotes no IP header', () => {
    const cut = (payload: Uint8Array) => (i: number) => ({ timeUs: i, frame: icmp(TARGET, SCANNER, 3, 2, { payload }) }); // prettier-ignore
    for (const payload of [Buffer.alloc(0), Buffer.alloc(19, 0x45), Buffer.alloc(22, 0x4f), Buffer.alloc(28)])
      expect(told(each(20, cut(payload))).rules).toEqual([]);
  });
});
