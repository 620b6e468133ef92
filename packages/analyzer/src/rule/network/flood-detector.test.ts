/** What is a flood and what is not, and which flows are part of it. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { icmp, tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import { giveVerdicts } from '../../report/verdicts.ts';
import { connection, dns, knock, refused } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const VICTIM = '10.0.0.2';

function each(count: number, make: (i: number) => Packet | Packet[]): Packet[] {
  return Array.from({ length: count }, (_, i) => make(i)).flat();
}

function rulesOfPackets(rules: object, packets: readonly Packet[]): string[] {
  return new Rig({ rules }).add(packets).finish().rules;
}

const inOrder = (packets: readonly Packet[]): Packet[] => [...packets].sort((a, b) => a.timeUs - b.timeUs);

describe('a flood', () => {
  it('of connections that are finished is no SYN flood', () => {
    const packets = each(40, (i) => connection(`10.0.0.1:${5000 + i}`, '10.0.0.2:9999', [['>', 'hello'], ['<', 'world']], i * 10_000)); // prettier-ignore
    expect(rulesOfPackets({ syn_flood: { half_open: 10 } }, packets)).not.toContain('syn-flood');
  });

  it('of connections that are hung up on before a word was said is no SYN flood, but one of connections', () => {
    const hungUp = (i: number): Packet[] => {
      const [client, server] = [`10.0.0.1:${5000 + i}`, '10.0.0.2:20000'];
      const flags = [[client, server, 'S'], [server, client, 'SA'], [client, server, 'A'], [server, client, 'FA'], [client, server, 'FA']] as const; // prettier-ignore
      return flags.map(([from, to, letters], n) => ({ timeUs: i * 10_000 + n * 1000, frame: tcp(from, to, letters, { sequence: n }) })); // prettier-ignore
    };
    const rules = rulesOfPackets({ syn_flood: { half_open: 10 }, connection_flood: { connections: 30 } }, each(40, hungUp)); // prettier-ignore
    expect(rules).not.toContain('syn-flood');
    expect(rules).toContain('connection-flood');
  });

  it('of openings is one, whatever is sent behind each of them without having heard the answer', () => {
    const blind = (i: number): Packet[] => {
      const [client, server] = [`10.0.${i >> 6}.${i & 63}:5000`, '10.0.0.2:80'];
      const flags = [[client, server, 'S'], [server, client, 'SA'], [client, server, 'A'], [server, client, 'R']] as const; // prettier-ignore
      return flags.map(([from, to, letters], n) => ({ timeUs: i * 10_000 + n * 1000, frame: tcp(from, to, letters) })); // prettier-ignore
    };
    expect(rulesOfPackets({ syn_flood: { half_open: 30 } }, each(60, blind))).toContain('syn-flood');
  });

  it('that is slower than its window is none', () => {
    const packets = each(40, (i) => knock(`10.0.0.1:${5000 + i}`, '10.0.0.2:80', i * 2 * SECOND));
    expect(rulesOfPackets({ syn_flood: { half_open: 10 } }, packets)).not.toContain('syn-flood');
  });

  it('of datagrams that are answered is none', () => {
    const packets = each(200, (i) => ({
      timeUs: i * 1000,
      frame: i % 2 === 0 ? udp('10.0.0.1:5000', '10.0.0.2:9999') : udp('10.0.0.2:9999', '10.0.0.1:5000'),
    }));
    expect(rulesOfPackets({ udp_flood: { packets: 50 } }, packets)).not.toContain('udp-flood');
  });

  it('of echo replies is none: somebody asked for them', () => {
    const packets = each(200, (i) => ({ timeUs: i * 1000, frame: icmp('10.0.0.2', '10.0.0.1', 0) }));
    expect(rulesOfPackets({ icmp_flood: { packets: 50 } }, packets)).not.toContain('icmp-flood');
  });

  it('of answers that were asked for is no reflection', () => {
    const packets = each(100, (i) => [
      { timeUs: i * 1000, frame: udp(`10.0.0.2:${50_000 + i}`, `9.9.9.${i % 6}:53`, { payload: dns(i, 'plant.example') }) },
      { timeUs: i * 1000 + 100, frame: udp(`9.9.9.${i % 6}:53`, `10.0.0.2:${50_000 + i}`, { payload: 900 }) },
    ]); // prettier-ignore
    expect(rulesOfPackets({ reflection: { packets: 8 } }, packets)).not.toContain('reflection');
  });
});

describe('connections that look half open', () => {
  const opened = each(200, (i) => knock(`10.1.${i >> 4}.${i & 15}:5000`, '10.0.0.2:80', i * 1000));
  const accepted = (count: number, server: string): Packet[] =>
    each(count, (i) => ({ timeUs: i * 1000, frame: tcp(`${server}:80`, `10.2.0.${i}:6000`, 'SA') }));

  it('are a flood, and none where others are accepted that nobody was seen to open', () => {
    const half = ['spoofed-flood', 'syn-flood'];
    const told = (packets: Packet[]): string[] => rulesOfPackets({}, packets.sort((a, b) => a.timeUs - b.timeUs)).filter((rule) => half.includes(rule)); // prettier-ignore
    expect(told([...opened])).toEqual(['syn-flood']);
    expect(told([...opened, ...accepted(30, '10.0.0.2')])).toEqual([]);
    expect(told([...opened, ...accepted(30, '10.0.0.3')])).toEqual([]);
    expect(told([...opened, ...accepted(2, '10.0.0.2')])).toEqual(['syn-flood']);
  });
});

describe('of unreachables', () => {
  const errors = (count: number): Packet[] => each(count, (i) => ({ timeUs: i * 10, frame: icmp('10.0.0.1', VICTIM, 3, 3, { payload: 28 }) })); // prettier-ignore

  it('many are a flood of their own, and those that answer a scan are none', () => {
    expect(rulesOfPackets({}, errors(1000))).toContain('icmp-flood');
    expect(rulesOfPackets({}, errors(999))).not.toContain('icmp-flood');
  });
});

describe('one client', () => {
  const knocks = (count: number, gapUs = 55_000): Packet[] => each(count, (i) => knock(`10.0.0.1:${5000 + i}`, `${VICTIM}:443`, i * gapUs)); // prettier-ignore

  it('in front of a server that is gone tries again and again', () => {
    expect(rulesOfPackets({}, knocks(170)).filter((rule) => rule.includes('flood'))).toEqual([]);
  });

  it('that opens three times as much as others, or as much at once, is a flood', () => {
    expect(rulesOfPackets({}, knocks(180))).toContain('syn-flood');
    expect(rulesOfPackets({}, knocks(60, 10_000))).toContain('syn-flood');
  });
});

describe('of a flood of one service', () => {
  const flood = each(300, (i) =>
    knock(`8.8.${i >> 8}.${i & 255}:4000`, `${VICTIM}:80`, 60 * SECOND + i * 1000),
  );
  // A client that waits for another service of the same host, before, during and after.
  const waiting = each(120, (i) => refused(`10.0.0.7:${5000 + i}`, `${VICTIM}:9010`, i * SECOND));
  const spoken = connection(`10.0.0.8:5000`, `${VICTIM}:80`, [['>', 'hello'], ['<', 'world']], 60 * SECOND + 100_500); // prettier-ignore
  const rig = new Rig().add(inOrder([...flood, ...waiting, ...spoken])).finish();
  giveVerdicts(rig.flows, rig.alerts.values());

  it('there is one alert', () => {
    expect(rig.rules.filter((rule) => /flood|scan/.test(rule))).toEqual(['syn-flood']);
  });

  it('only what was not finished is part, and only at that service', () => {
    const malicious = rig.flows.filter(({ verdict }) => verdict === 'malicious');
    expect(malicious).toHaveLength(300);
    expect(new Set(malicious.map(({ client }) => client.slice(0, 4)))).toEqual(new Set(['8.8.']));
  });
});

describe('connections that are spread', () => {
  it('over the ports of one host are its flood', () => {
    const packets = each(200, (i) => knock(`8.8.0.${i}:4000`, `${VICTIM}:${1000 + i}`, i * 1000));
    const rig = new Rig().add(packets).finish();
    expect(rig.alert('syn-flood')).toMatchObject({ source: '', destination: VICTIM, port: -1 });
  });

  it('over hosts and ports are a flood of made-up addresses', () => {
    const packets = each(200, (i) => knock(`8.8.0.${i}:4000`, `10.0.1.${i}:${1000 + i}`, i * 1000));
    expect(rulesOfPackets({}, packets)).toContain('spoofed-flood');
  });
});
