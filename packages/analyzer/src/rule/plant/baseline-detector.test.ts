/** Deviations from a baseline that was frozen from traffic: what was learnt is silent, and each rule speaks for what was not. */
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig, rulesOf } from '../../engine-testing.ts';
import { icmp, tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import { connection, knock, modbus } from '../traffic-testing.ts';
import {
  SECOND,
  HMI,
  PLC,
  ENGINEERING,
  STRANGER,
  READ,
  day,
  deviations,
  exchange,
  inOrder,
  learnt,
  plant,
  polls,
  read,
  told,
  write,
} from './baseline-testing.ts';

it('an ordinary day is silent when it comes again, at once and a day later', () => {
  expect(deviations(plant, day)).toEqual([]);
  expect(deviations(plant, day.map(({ timeUs, frame }) => ({ timeUs: timeUs + 86_400 * SECOND, frame })))).toEqual([]); // prettier-ignore
});

describe('a new host', () => {
  it('is told once, whatever it does, and not a second time as a new pair', () => {
    const rig = new Rig({ baseline: plant }).add([...read(STRANGER, PLC, 0), ...read(STRANGER, PLC, SECOND)]);
    expect(told(rig)).toEqual(['baseline-new-host', 'baseline-new-operation']);
    expect(rig.alert('baseline-new-host')).toMatchObject({ source: STRANGER, destination: '', severity: 'medium', technique: 'T0848', count: 2 }); // prettier-ignore
  });

  it('is told as a server too, as soon as it answers', () => {
    expect(deviations(plant, [knock(`${HMI}:4000`, `${STRANGER}:80`, 0)])).toEqual(['baseline-new-pair']);
    const talks = connection(`${HMI}:4000`, `${STRANGER}:80`, [['>', 'hello'], ['<', 'world']], 0); // prettier-ignore
    expect(deviations(plant, talks)).toEqual(['baseline-new-host', 'baseline-new-pair']);
  });

  it('is told of a conversation that begins with an answer when it speaks, not when it is only spoken to', () => {
    const answer = { timeUs: 0, frame: tcp(`${PLC}:502`, `${STRANGER}:4000`, 'PA', { payload: 10 }) };
    const question = { timeUs: 1000, frame: tcp(`${STRANGER}:4000`, `${PLC}:502`, 'PA', { payload: 10 }) };
    expect(deviations(plant, [answer])).toEqual(['baseline-new-pair']);
    const rig = new Rig({ baseline: plant }).add([answer, question, { ...question, timeUs: 2000 }]);
    expect(rig.alert('baseline-new-host')).toMatchObject({ source: STRANGER, count: 1 });
  });

  it('outside the plant is a new pair: the Internet has no list of members', () => {
    expect(deviations(plant, [knock(`${HMI}:4000`, '8.8.8.8:80', 0)])).toEqual(['baseline-new-pair']);
    expect(deviations(plant, [knock('8.8.8.8:4000', `${PLC}:80`, 0)])).toEqual(['baseline-new-pair']);
  });

  it('is nobody who is a group', () => {
    expect(deviations(plant, [{ timeUs: 0, frame: udp(`${HMI}:5353`, '224.0.0.251:5353', { payload: 20 }) }])).toEqual([]); // prettier-ignore
    expect(deviations(plant, [{ timeUs: 0, frame: udp(`${HMI}:137`, '10.0.0.255:137', { payload: 20 }) }])).toEqual([]); // prettier-ignore
  });
});

describe('a new pair', () => {
  it('is two known hosts, or a known pair on another port', () => {
    expect(deviations(plant, read(HMI, ENGINEERING, 0))).toContain('baseline-new-pair');
    const rig = new Rig({ baseline: plant }).add([knock(`${HMI}:4000`, `${PLC}:80`, 0)]);
    expect(rig.alert('baseline-new-pair')).toMatchObject({ source: HMI, destination: PLC, port: 80, severity: 'low', technique: 'T0846' }); // prettier-ignore
  });

  it('is also who was tried and never answered while the baseline was learnt', () => {
    const attempts = [knock(`${HMI}:4000`, `${PLC}:80`, 5 * SECOND)];
    expect(deviations(learnt(inOrder(day, attempts)), attempts)).toEqual(['baseline-new-pair']);
  });

  it('is not who sends what nobody answers, as syslog does', () => {
    const syslog = [5, 6, 7].map((second) => ({ timeUs: second * SECOND, frame: udp(`${PLC}:514`, `${HMI}:514`, { payload: 80 }) })); // prettier-ignore
    expect(deviations(plant, syslog)).toEqual(['baseline-new-pair']);
    expect(deviations(learnt(inOrder(day, syslog)), syslog)).toEqual([]);
  });
});

describe('a new operation', () => {
  it('that only reads is a remark', () => {
    const rig = new Rig({ baseline: plant }).add(exchange(HMI, PLC, 0, [READ, 0, 99, 0, 1], [READ, 2, 0, 1]));
    expect(told(rig)).toEqual(['baseline-new-operation']);
    expect(rig.alert('baseline-new-operation')).toMatchObject({ source: HMI, destination: PLC, severity: 'low' }); // prettier-ignore
  });

  it('that changes something is more, even of who writes every day', () => {
    const rig = new Rig({ baseline: plant }).add(write(ENGINEERING, PLC, 0, 77));
    expect(told(rig)).toEqual(['baseline-new-operation']);
    expect(rig.alert('baseline-new-operation')).toMatchObject({ severity: 'medium', technique: 'T0855' });
  });

  it('of a protocol of offices is none', () => {
    const page = connection(`${HMI}:4000`, `${PLC}:80`, [['>', 'GET / HTTP/1.1\r\nHost: plc\r\n\r\n'], ['<', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n']], 0); // prettier-ignore
    expect(deviations(plant, page)).toEqual(['baseline-new-pair']);
  });

  it('is none where one service has two ports: each knows its own', () => {
    const both = inOrder(read(HMI, PLC, 0), exchange(HMI, PLC, SECOND, [READ, 0, 55, 0, 1], [READ, 2, 0, 1], 503)); // prettier-ignore
    const services = learnt(both).pairs.map(({ service, port }) => `${service} ${port}`);
    expect(services).toEqual(['modbus 502', 'modbus 503']);
    expect(deviations(learnt(both), both)).toEqual([]);
    expect(deviations(learnt(inOrder(both, read(HMI, PLC, 2 * SECOND))), both)).toEqual([]);
  });
});

describe('a first write', () => {
  it('of a host that only read is loud', () => {
    const rig = new Rig({ baseline: plant }).add(write(HMI, PLC, 0));
    expect(told(rig)).toEqual(['baseline-new-write']);
    expect(rig.alert('baseline-new-write')).toMatchObject({ source: HMI, destination: PLC, severity: 'high', technique: 'T0855' }); // prettier-ignore
    expect(rig.alert('baseline-new-write')?.evidence).toContain('only ever read from 10.0.0.2');
  });

  it('of a stranger says that they never talked', () => {
    const rig = new Rig({ baseline: plant }).add(write(STRANGER, PLC, 0));
    expect(rig.alert('baseline-new-write')?.evidence).toContain('never talked with');
  });

  it('goes on as one alert, however many registers follow', () => {
    const many = Array.from({ length: 50 }, (_, i) => write(HMI, PLC, i * SECOND, i)).flat();
    const rig = new Rig({ baseline: plant }).add(many).finish();
    const alerts = [...rig.alerts.values()].filter(({ rule }) => rule === 'baseline-new-write');
    expect(alerts.map(({ count }) => count)).toEqual([50]);
  });

  it('is none of a host that wrote while the baseline was learnt', () => {
    expect(deviations(plant, write(ENGINEERING, PLC, 0))).toEqual([]);
  });
});

describe('a program', () => {
  it('that is touched as it never was is loud, whoever does it', () => {
    const download = connection(`${ENGINEERING}:4000`, `${PLC}:502`, [['>', modbus(7, 90, 0, 0x34)]], 0);
    const rig = new Rig({ baseline: plant }).add(download);
    expect(told(rig)).toEqual(['baseline-program']);
    expect(rig.alert('baseline-program')).toMatchObject({ source: ENGINEERING, destination: PLC, severity: 'high', technique: 'T0843' }); // prettier-ignore
    expect(deviations(learnt(inOrder(day, download)), download)).toEqual([]);
  });
});

describe('what is known of the day so far', () => {
  const quick = polls(HMI, PLC, 0, 15 * 100_000, 100_000);
  const quiet = learnt(
    inOrder(polls(HMI, PLC, 0, 60 * SECOND), polls('10.0.0.8', '10.0.0.9', 0, 60 * SECOND)),
  );
  const gone = inOrder(polls(HMI, PLC, 0, 5 * SECOND), polls('10.0.0.8', '10.0.0.9', 0, 120 * SECOND));

  it.each([
    ['a rhythm', plant, quick],
    ['a silence', quiet, gone],
  ] as const)('survives a snapshot: %s is told as if there had been none', (_, baseline, packets) => {
    const whole = new Rig({ baseline }).add(packets).finish();
    expect(told(whole)).toHaveLength(1);
    for (const share of [0.2, 0.5, 0.6]) {
      const at = Math.floor(share * packets.length);
      const before = new Rig({ baseline }).add(packets.slice(0, at));
      expect(told(before)).toEqual([]);
      const after = new Rig({ baseline });
      after.engine.restore(deserialize(serialize(before.engine.snapshot())));
      expect(told(after.add(packets.slice(at)).finish()), `broken at ${at}`).toEqual(told(whole));
      const forgot = new Rig({ baseline }).add(packets.slice(at)).finish();
      if (share === 0.6) expect(told(forgot)).toEqual([]);
    }
  });

  it('survives other thresholds', () => {
    const rig = new Rig({ baseline: plant }).add(quick.slice(0, 40));
    rig.engine.setRules(rulesOf());
    expect(told(rig.add(quick.slice(40)).finish())).toEqual(['baseline-cycle']);
  });
});

it('every rule can be switched off', () => {
  const everything = inOrder(
    read(STRANGER, PLC, 0),
    [knock(`${HMI}:4000`, `${PLC}:80`, 0)],
    exchange(HMI, PLC, 0, [READ, 0, 99, 0, 1], [READ, 2, 0, 1]),
    write(HMI, PLC, SECOND),
    connection(`${ENGINEERING}:4000`, `${PLC}:502`, [['>', modbus(7, 90, 0, 0x34)]], 0),
    read(HMI, PLC, 2 * SECOND, 9999),
    polls(HMI, PLC, 3 * SECOND, 6 * SECOND, 100_000),
    polls(ENGINEERING, PLC, 6 * SECOND, 120 * SECOND),
  );
  const all = deviations(plant, everything);
  expect(all).toHaveLength(8);
  for (const rule of all) {
    const rules = { [rule.replaceAll('-', '_')]: { enabled: false } };
    expect(deviations(plant, everything, rules)).toEqual(all.filter((name) => name !== rule));
  }
});

it('whatever was learnt raises nothing when it comes again', () => {
  const host = fc.integer({ min: 1, max: 5 }).map((last) => `10.0.0.${last}`);
  const port = fc.constantFrom(502, 503, 80, 2404);
  const event = fc.record({ kind: fc.constantFrom('talk', 'modbus', 'write', 'udp', 'ping', 'middle'), from: host, to: host, port, value: fc.integer({ min: 0, max: 40 }) }); // prettier-ignore
  const packetsOf = ({ kind, from, to, port, value }: { kind: string; from: string; to: string; port: number; value: number }, i: number): Packet[] => {
    const timeUs = i * 300_000;
    if (kind === 'talk') return connection(`${from}:${2000 + i}`, `${to}:${port}`, [['>', 'hello'], ['<', 'world']], timeUs);
    if (kind === 'modbus') return read(from, to, timeUs, value, 502 + (value % 2));
    if (kind === 'write') return write(from, to, timeUs, value, value);
    if (kind === 'udp') return [{ timeUs, frame: udp(`${from}:${2000 + i}`, `${to}:${port}`, { payload: 10 }) }];
    if (kind === 'ping') return [{ timeUs, frame: icmp(from, to, 8, 0, { payload: 8 }) }];
    return [{ timeUs, frame: tcp(`${from}:${port}`, `${to}:${40_000 + i}`, 'PA', { payload: 10 }) }];
  }; // prettier-ignore
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 40 }), (events) => {
      const packets = inOrder(...events.map(packetsOf));
      expect(deviations(learnt(packets), packets)).toEqual([]);
    }),
    {
      numRuns: 150,
      // Lines that share a port, or whose service was named by a later conversation: what one of them knows is known.
      examples: [
        [[{ kind: 'udp', from: '10.0.0.3', to: '10.0.0.2', port: 502, value: 0 }, { kind: 'write', from: '10.0.0.3', to: '10.0.0.2', port: 502, value: 0 }, { kind: 'middle', from: '10.0.0.2', to: '10.0.0.3', port: 502, value: 0 }, { kind: 'talk', from: '10.0.0.1', to: '10.0.0.1', port: 502, value: 0 }]],
        [[{ kind: 'modbus', from: '10.0.0.3', to: '10.0.0.5', port: 502, value: 31 }, { kind: 'talk', from: '10.0.0.3', to: '10.0.0.5', port: 503, value: 0 }, { kind: 'talk', from: '10.0.0.3', to: '10.0.0.5', port: 502, value: 0 }, { kind: 'talk', from: '10.0.0.1', to: '10.0.0.1', port: 502, value: 0 }]],
      ],
    },
  ); // prettier-ignore
});
