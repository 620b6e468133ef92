/** What the detectors must not take for an attack, and that what they remember is bounded. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { arp, udp, type Packet } from '../packet/frame-testing.ts';
import { KeyedWindows, addMember, forgetMember, memberCount, membersOf } from './keyed-window.ts';
import { connection, dns, knock, modbus, randomLabel } from './traffic-testing.ts';

const SECOND = 1_000_000;

function each(count: number, make: (i: number) => Packet | Packet[]): Packet[] {
  return Array.from({ length: count }, (_, i) => make(i)).flat();
}

function rulesOfPackets(rules: object, packets: readonly Packet[]): string[] {
  return new Rig({ rules }).add(packets).finish().rules;
}

describe('a beacon', () => {
  const call = (server: string, i: number, timeUs: number): Packet[] =>
    connection(`10.0.0.1:${5000 + i}`, `${server}:8443`, [['>', 'hello'], ['<', 'world']], timeUs); // prettier-ignore

  it('of datagrams that nobody answers is a thing to know, wherever they go, and of reports it is none', () => {
    const sent = (port: number): Packet[] => each(40, (i) => ({ timeUs: i * 10 * SECOND, frame: udp(`10.0.0.1:${5000 + i}`, `10.0.0.9:${port}`, { payload: 10 }) })); // prettier-ignore
    const told = (port: number): string | undefined => new Rig({ rules: { beaconing: { intervals: 4 } } }).add(sent(port)).finish().alert('beaconing')?.severity; // prettier-ignore
    expect(told(6667)).toBe('low');
    expect(told(2055)).toBeUndefined();
  });

  it('inside the plant is polling', () => {
    const packets = each(12, (i) => call('10.0.0.9', i, i * 60 * SECOND));
    expect(rulesOfPackets({ beaconing: { intervals: 4 } }, packets)).not.toContain('beaconing');
  });

  it('that is uneven is a person', () => {
    const at = [0, 31, 90, 100, 260, 300, 470, 480, 700, 780];
    const packets = at.flatMap((second, i) => call('203.0.113.5', i, second * SECOND));
    expect(rulesOfPackets({ beaconing: { intervals: 4 } }, packets)).not.toContain('beaconing');
  });
});

describe('DNS', () => {
  const ask = (i: number, name: string): Packet => ({ timeUs: i * 1000, frame: udp('10.0.0.1:5353', '10.0.0.53:53', { payload: dns(i, name) }) }); // prettier-ignore

  it('for names that people made is no tunnel, and neither are many names of many domains', () => {
    const rules = { dns_tunnel: { queries: 5, label_length: 20 } };
    expect(rulesOfPackets(rules, each(50, (i) => ask(i, `www${i}.plant.example`)))).not.toContain('dns-tunnel'); // prettier-ignore
    expect(rulesOfPackets(rules, each(50, (i) => ask(i, `${randomLabel(i)}.zone${i}.example`)))).not.toContain('dns-tunnel'); // prettier-ignore
    expect(rulesOfPackets(rules, each(50, (i) => ask(i, `${randomLabel(1)}.zone.example`)))).not.toContain('dns-tunnel'); // prettier-ignore
  });

  it('for names that do not exist, one after another, is told', () => {
    const packets = each(30, (i) => [
      ask(i, `q${randomLabel(i).slice(0, 9)}.dga${i}.example`),
      { timeUs: i * 1000 + 100, frame: udp('10.0.0.53:53', '10.0.0.1:5353', { payload: dns(i, `q.dga${i}x.example${i}`, true) }) },
    ]); // prettier-ignore
    const rig = new Rig().add(packets).finish();
    expect(rig.alert('dns-generated-names')).toMatchObject({ source: '10.0.0.1', destination: '10.0.0.53' });
  });
});

describe('an address', () => {
  it('that moves once has a new device', () => {
    const packets = each(6, (i) => ({
      timeUs: i * SECOND,
      frame: arp(1, i < 3 ? '02:00:00:00:00:0a' : '02:00:00:00:00:0b', '10.0.0.2', '00:00:00:00:00:00', '10.0.0.9'), // prettier-ignore
    }));
    expect(rulesOfPackets({}, packets)).not.toContain('arp-spoofing');
  });
});

describe('a sensitive port', () => {
  const spoken = (from: string): Packet[] => connection(`${from}:5000`, '10.0.0.2:502', [['>', modbus(1, 3, 0, 1, 0, 1)], ['<', modbus(1, 3, 2, 0, 7)]], 0); // prettier-ignore

  it('is used by those on the list, and knocked at in vain by anybody', () => {
    expect(rulesOfPackets({}, spoken('10.0.0.1'))).not.toContain('sensitive-access');
    expect(rulesOfPackets({}, spoken('8.8.8.8'))).toContain('sensitive-access');
    expect(rulesOfPackets({ sensitive_access: { allow: ['8.8.8.0/24'] } }, spoken('8.8.8.8'))).not.toContain('sensitive-access'); // prettier-ignore
    expect(rulesOfPackets({ sensitive_access: { allow: ['8.8.8.0/24'] } }, spoken('10.0.0.1'))).toContain('sensitive-access'); // prettier-ignore
    expect(rulesOfPackets({}, [knock('8.8.8.8:5000', '10.0.0.2:502', 0)])).not.toContain('sensitive-access');
  });
});

describe('a counting window', () => {
  it('begins with its first event and is over when its time is', () => {
    const windows = new KeyedWindows(10);
    windows.add('a', 100);
    expect(windows.add('a', 110).count).toBe(2);
    expect(windows.peek('a', 111)).toBeUndefined();
    expect(windows.add('a', 111)).toMatchObject({ count: 1, startUs: 111 });
  });

  it('keeps so many keys and so many members, the oldest window goes first', () => {
    const windows = new KeyedWindows(1_000_000, 100);
    for (let i = 0; i < 1000; i++) windows.add(`key ${i}`, i);
    expect([windows.windows.size, windows.windows.has('key 899'), windows.windows.has('key 900')]).toEqual([100, false, true]); // prettier-ignore
    for (let i = 0; i < 5000; i++) windows.add('many', 2000, i);
    expect(windows.peek('many', 2000)).toMatchObject({ count: 5000 });
    expect(memberCount(windows.add('many', 2000))).toBe(2048);
  });

  it('counts different members as a set does, also those that are taken back', () => {
    const step = fc.record({ isAdded: fc.boolean(), member: fc.nat(4) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const window = new KeyedWindows(10).at('a', 0);
        const twin = new Set<number>();
        for (const { isAdded, member } of steps) {
          if (isAdded) {
            addMember(window, member);
            twin.add(member);
          } else {
            forgetMember(window, member);
            twin.delete(member);
          }
          expect(memberCount(window)).toBe(twin.size);
          expect([...membersOf(window)].sort()).toEqual([...twin].sort());
        }
      }),
    );
  });
});
