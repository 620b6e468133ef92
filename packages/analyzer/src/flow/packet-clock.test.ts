/** What time it is when packets disagree: one from the future, captures that pause, clocks that were wrong for long. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig, START_US, type RigOptions } from '../engine-testing.ts';
import { tcp, udp, type Packet } from '../packet/frame-testing.ts';
import type { FlowRecord } from './flow-record.ts';
import { createPacketClock, tellTime } from './packet-clock.ts';

const SECOND = 1_000_000;
const HOUR = 3600 * SECOND;
const YEAR = 365 * 24 * HOUR;

/** The clock after each of the packets. */
function readings(timesUs: readonly number[]): number[] {
  const clock = createPacketClock();
  return timesUs.map((timeUs) => {
    tellTime(clock, timeUs);
    return clock.nowUs;
  });
}

describe('the time that packets agree on', () => {
  it('is the newest packet’s, as long as each is near the one before', () => {
    const near = fc.array(fc.integer({ min: -20 * SECOND, max: 30 * SECOND }), { minLength: 1 });
    fc.assert(
      fc.property(near, (steps) => {
        let newest = START_US;
        const times = steps.map((step) => {
          const timeUs = newest + step;
          newest = Math.max(newest, timeUs);
          return timeUs;
        });
        const clock = readings([START_US, ...times]);
        expect(clock.at(-1)).toBe(Math.max(START_US, ...times));
      }),
    );
  });

  it('is not that of one packet far ahead, whatever comes after it', () => {
    expect(readings([100, 101, YEAR, 102, 103])).toEqual([100, 101, 101, 102, 103]);
  });

  it('is that of the earlier of two packets far ahead: the capture paused, or it is the next file', () => {
    expect(readings([100, HOUR, HOUR + 1, HOUR + 2])).toEqual([100, 100, HOUR, HOUR + 2]);
    // A sensor that hears something once an hour is one packet behind.
    expect(readings([100, HOUR, 2 * HOUR, 3 * HOUR])).toEqual([100, 100, HOUR, 2 * HOUR]);
  });

  it('does not go back for packets that are late, but for a minute of nothing else', () => {
    const late = Array.from({ length: 61 }, (_, i) => HOUR + i * SECOND);
    expect(readings([2 * HOUR, ...late]).at(-1)).toBe(2 * HOUR);
    expect(readings([2 * HOUR, ...late, HOUR + 61 * SECOND]).at(-1)).toBe(HOUR + 61 * SECOND);
    expect(readings([2 * HOUR, ...late, 2 * HOUR, HOUR + 61 * SECOND]).at(-1)).toBe(2 * HOUR);
  });

  it('is never later than what two packets said, and never earlier than what both of two in a row said, of captures in order', () => {
    const steps = fc.array(fc.integer({ min: 0, max: HOUR }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(steps, (gaps) => {
        let timeUs = START_US;
        const times = gaps.map((gap) => (timeUs += gap));
        readings(times).forEach((nowUs, i) => {
          expect(nowUs).toBeLessThanOrEqual(times[i] as number);
          expect(nowUs).toBeGreaterThanOrEqual(times[Math.max(0, i - 1)] as number);
        });
      }),
    );
  });
});

const OPTIONS: RigOptions = { flows: { idleUs: 40 * SECOND, durationUsMax: 4 * HOUR } };
const STRANGER = '10.9.9.9';

function flowsOf(packets: readonly Packet[]): FlowRecord[] {
  return new Rig(OPTIONS).add(packets).finish().flows;
}

/** All but the stranger's, in an order of their own. At the end of the input it is chance whether a silent flow was looked at before. */
function othersOf(flows: readonly FlowRecord[]): object[] {
  return flows
    .filter(({ client }) => client !== STRANGER)
    .sort((a, b) => (a.uid < b.uid ? -1 : 1))
    .map((flow) => ({ ...flow, ending: flow.ending === 'long' }));
}

describe('a packet from the future', () => {
  const end = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 })).map(([host, port]) => `10.0.0.${host}:${port}`); // prettier-ignore
  const frame = fc.oneof(
    fc.tuple(end, end, fc.constantFrom('S', 'SA', 'A', 'FA', 'R', 'PA')).map(([a, b, flags]) => tcp(a, b, flags)), // prettier-ignore
    fc.tuple(end, end).map(([a, b]) => udp(a, b)),
  );
  const gap = fc.oneof(
    { arbitrary: fc.integer({ min: 0, max: 4 * SECOND }), weight: 6 },
    { arbitrary: fc.integer({ min: 4 * SECOND, max: 100 * SECOND }), weight: 2 },
    { arbitrary: fc.integer({ min: HOUR, max: 300 * HOUR }), weight: 1 },
  );
  const sequence = fc.array(fc.record({ gap, frame }), { minLength: 1, maxLength: 60 }).map((steps) => {
    let timeUs = 0;
    return steps.map((step): Packet => ({ timeUs: (timeUs += step.gap), frame: step.frame }));
  });

  it('changes no flow but its own, wherever it comes', () => {
    fc.assert(
      fc.property(sequence, fc.nat(), fc.integer({ min: 31 * SECOND, max: 3 * YEAR }), (packets, place, ahead) => {
        const at = place % (packets.length + 1);
        const timeUs = ((packets[at] ?? packets[at - 1]) as Packet).timeUs + ahead;
        const stranger: Packet = { timeUs, frame: udp(`${STRANGER}:1`, '10.0.0.1:2') };
        const flows = flowsOf(packets.toSpliced(at, 0, stranger));
        expect(othersOf(flows)).toEqual(othersOf(flowsOf(packets)));
        expect(flows.filter(({ client }) => client === STRANGER)).toHaveLength(1);
      }),
      { numRuns: 300 },
    ); // prettier-ignore
  });

  const talk = (fromUs: number, seconds: number): Packet[] =>
    Array.from({ length: seconds }, (_, i) => ({
      timeUs: fromUs + i * SECOND,
      frame: tcp('10.0.0.1:4000', '10.0.0.2:502', 'A'),
    }));
  const quiet: Packet = { timeUs: 0, frame: udp('10.0.0.7:1', '10.0.0.8:2') };
  const stranger: Packet = { timeUs: YEAR, frame: udp(`${STRANGER}:1`, '10.0.0.1:2') };

  it('stops no timeout: flows end by their silence afterwards, and so does its own', () => {
    const rig = new Rig(OPTIONS).add([quiet, stranger, ...talk(0, 60)]);
    expect(rig.flows.map(({ client, ending }) => [client, ending])).toEqual([
      ['10.0.0.7', 'idle'],
      [STRANGER, 'idle'],
    ]);
    expect(rig.engine.flows.size).toBe(1);
  });

  it('stops no timeout for longer than a minute when it is the very first', () => {
    const rig = new Rig(OPTIONS).add([stranger, quiet, ...talk(0, 62)]);
    expect(rig.flows).toEqual([]);
    rig.add(talk(62 * SECOND, 60));
    expect(rig.flows.map(({ client }) => client).sort()).toEqual(['10.0.0.7', STRANGER]);
    expect(rig.engine.flows.size).toBe(1);
  });

  it('is alone in its own time: what others do after it is of theirs', () => {
    const rig = new Rig(OPTIONS).add([quiet, stranger]);
    expect(rig.engine.clockUs).toBe(START_US + YEAR);
    rig.add(talk(SECOND, 1));
    expect(rig.engine.clockUs).toBe(START_US + SECOND);
  });
});

describe('when the capture paused for days', () => {
  it('what was open before ends by its silence, with the second packet', () => {
    const later = (i: number): Packet => ({ timeUs: 50 * HOUR + i * SECOND, frame: udp('10.0.0.1:1', '10.0.0.2:2') }); // prettier-ignore
    const rig = new Rig(OPTIONS).add([{ timeUs: 0, frame: udp('10.0.0.7:1', '10.0.0.8:2') }, later(0)]);
    expect(rig.flows).toEqual([]);
    rig.add([later(1)]);
    expect(rig.flows.map(({ client, ending }) => [client, ending])).toEqual([['10.0.0.7', 'idle']]);
  });

  it('and a checkpoint was taken between the two packets, it is the same', () => {
    const [before, later] = [new Rig(OPTIONS), new Rig(OPTIONS)];
    const packet = (timeUs: number): Packet => ({
      timeUs,
      frame: udp(`10.0.0.1:${timeUs % 7}`, '10.0.0.2:2'),
    });
    before.add([packet(0), packet(50 * HOUR)]);
    later.engine.restore(structuredClone(before.engine.snapshot()));
    later.add([packet(50 * HOUR + 1)]);
    expect(later.flows.map(({ ending }) => ending)).toEqual(['idle']);
  });
});
