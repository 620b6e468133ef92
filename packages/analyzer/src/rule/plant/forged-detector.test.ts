/** Forged GOOSE and sampled values: what a second publisher does is told, and what restarts, losses, redundant paths, loops and replacements do is not. */
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { FORGER, GOOSE_GROUP, PUBLISHER, SV_GROUP, goose, samples } from './publisher-testing.ts';

const SECOND = 1_000_000;

/** Frames so far apart. */
function every(us: number, frames: readonly Buffer[], fromUs = 0): Packet[] {
  return frames.map((frame, i) => ({ timeUs: fromUs + i * us, frame }));
}

function inOrder(...packets: readonly Packet[][]): Packet[] {
  return packets.flat().sort((a, b) => a.timeUs - b.timeUs);
}

const count = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));

function loud(packets: readonly Packet[]): string[] {
  const rig = new Rig().add(packets).finish();
  return [...rig.alerts.values()]
    .filter(({ severity }) => severity !== 'low')
    .map(({ rule, severity, source, destination }) => `${rule} ${severity} ${source} ${destination}`);
}

describe('GOOSE', () => {
  const real = (from: number, frames: number, state = 1): Packet[] =>
    every(SECOND, count(frames, (i) => goose(state, from + i, state, state & 1)), from * SECOND); // prettier-ignore
  const told = [`forged-publisher medium ${PUBLISHER} ${GOOSE_GROUP}`];

  it('of two publishers with one MAC address is told', () => {
    const forged = every(SECOND, count(10, (i) => goose(2, i, 99, 0)), 5.5 * SECOND); // prettier-ignore
    expect(loud(inOrder(real(0, 20), forged))).toEqual(told);
  });

  it('with a high stNum that is put in now and then is told, and the real one goes on', () => {
    const forged = [4.5, 9.5].map((s) => ({ timeUs: s * SECOND, frame: goose(1000, 0, 99, 0) }));
    expect(loud(inOrder(real(0, 20), forged))).toEqual(told);
  });

  it('with the same numbers and other data is told', () => {
    const forged = [4.1, 6.1].map((s) => ({ timeUs: s * SECOND, frame: goose(1, Math.floor(s), 1, 0) }));
    expect(loud(inOrder(real(0, 10), forged))).toEqual(told);
    const changed = [4.1, 6.1].map((s) => ({ timeUs: s * SECOND, frame: goose(1, Math.floor(s) + 1, 1, 0) }));
    expect(loud(inOrder(real(0, 10), changed))).toEqual(told);
  });

  it('with other positions for a few frames, and no state of their own, is told', () => {
    const frames = count(30, (i) => goose(1, i, 1, i % 10 >= 7 ? 0 : 1));
    expect(loud(every(SECOND, frames))).toEqual(told);
  });

  it('whose measured values, times and quality change within a state is not', () => {
    const measured = [(i: number) => `870508${(0x41200000 + i * 999).toString(16)}`, (i: number) => `91080000000${i % 10}00000000`, (i: number) => `840303000${(i % 2) * 8}`]; // prettier-ignore
    for (const one of measured)
      expect(
        loud(
          every(
            SECOND,
            count(30, (i) => goose(1, i, 1, 1, PUBLISHER, one(i))),
          ),
        ),
      ).toEqual([]);
  });

  it('that repeats a state with what the next one says, a moment before, is not', () => {
    const states = count(12, (state) => count(4, (i) => goose(state + 1, i, 7, (state + (i === 3 ? 1 : 0)) & 1))); // prettier-ignore
    expect(loud(every(20_000, states.flat()))).toEqual([]);
  });

  it('whose next number somebody else sends first, each time, is told', () => {
    const forged = every(SECOND, count(8, (i) => goose(1, 10 + i, 1, 1)), 9.8 * SECOND); // prettier-ignore
    expect(loud(inOrder(real(0, 20), forged))).toEqual(told);
  });

  it('that never counts well, sends each number twice at once, or is stuck, is not', () => {
    expect(
      loud(
        every(
          SECOND,
          count(40, (i) => goose(1, i >> 1, 1, 1)),
        ),
      ),
    ).toEqual([]);
    expect(loud(inOrder(real(0, 20), every(SECOND, count(20, (i) => goose(1, i, 1, 1)), 50_000)))).toEqual([]); // prettier-ignore
    expect(loud(every(SECOND, count(60, (i) => goose(1, i < 10 ? i : Math.floor(i / 10), 1, 1))))).toEqual([]); // prettier-ignore
  });

  it('of a foreign MAC address beside the real one is told', () => {
    const forged = every(SECOND, count(4, (i) => goose(2, i, 99, 0, FORGER)), 5.5 * SECOND); // prettier-ignore
    const [alert] = loud(inOrder(real(0, 20), forged));
    expect(alert).toMatch(/^forged-publisher medium/);
  });

  it('whose states change, quickly too, is not', () => {
    const states = count(12, (state) => count(4, (i) => goose(state + 1, i, state, state & 1))).flat();
    expect(loud(every(300_000, states))).toEqual([]);
    expect(loud(every(2000, states))).toEqual([]);
  });

  it('that begins again, once or for good, is not', () => {
    const again = count(5, (i) => goose(1, i, 77, 1));
    expect(loud([...real(0, 10), ...every(SECOND, again, 12 * SECOND)])).toEqual([]);
    const often = count(8, (n) => count(6, (i) => goose(1, i, n, 1))).flat();
    expect(loud(every(SECOND, often))).toEqual([]);
  });

  it('over two redundant paths, of which one is late, is not', () => {
    const frames = count(10, (state) => count(3, (i) => goose(state + 1, i, state, state & 1))).flat();
    const one = every(5000, frames);
    const other = every(5000, frames, 700);
    expect(loud(inOrder(one, other))).toEqual([]);
    expect(loud(inOrder(one, every(5000, frames, 5700)))).toEqual([]);
  });

  it('in a capture that loses frames, or that is played in a loop, is not', () => {
    const day = [...real(0, 15), ...every(SECOND, count(15, (i) => goose(2, i, 2, 0)), 15 * SECOND)]; // prettier-ignore
    expect(loud(day.filter((_, i) => i % 3 !== 0))).toEqual([]);
    const loop = count(6, (n) => day.map(({ timeUs, frame }) => ({ timeUs: timeUs + n * 30 * SECOND, frame }))); // prettier-ignore
    expect(loud(loop.flat())).toEqual([]);
  });

  it('of a device that takes the place of another is not', () => {
    const other = every(SECOND, count(10, (i) => goose(1, i, 55, 1, FORGER)), 21 * SECOND); // prettier-ignore
    expect(loud([...real(0, 20), ...other])).toEqual([]);
  });
});

describe('sampled values', () => {
  const MS = 1000;
  const real = (from: number, to: number, fromUs = 0): Packet[] =>
    every(MS, count(to - from, (i) => samples((from + i) % 4000, from + i)), fromUs); // prettier-ignore
  const told = [`forged-publisher medium ${PUBLISHER} ${SV_GROUP}`];

  it('with a count that was sent, and other data, are told', () => {
    const forged = [50.5, 60.5].map((ms) => ({ timeUs: ms * MS, frame: samples(Math.floor(ms) - 15, 9999) }));
    expect(loud(inOrder(real(0, 100), forged))).toEqual(told);
  });

  it('of a second count beside the real one are told', () => {
    const forged = every(MS, count(20, (i) => samples(3000 + i, 9999)), 40.5 * MS); // prettier-ignore
    expect(loud(inOrder(real(0, 100), forged))).toEqual(told);
    const before = every(MS, count(20, (i) => samples(100 + i, 9999)), 40.5 * MS); // prettier-ignore
    expect(loud(inOrder(real(2000, 2100), before))).toEqual(told);
  });

  it('of a foreign MAC address beside the real one are told', () => {
    const forged = every(MS, count(20, (i) => samples(40 + i, 9999, FORGER)), 40.5 * MS); // prettier-ignore
    const [alert] = loud(inOrder(real(0, 100), forged));
    expect(alert).toMatch(/^forged-publisher medium/);
  });

  it('that begin again each second, or because their unit restarts, are not', () => {
    expect(loud(real(3900, 12_100))).toEqual([]);
    expect(loud([...real(1000, 1400), ...real(0, 400, 10 * SECOND), ...real(700, 900, 20 * SECOND)])).toEqual([]); // prettier-ignore
  });

  it('over redundant paths, late, lost and out of order, are not', () => {
    const one = real(100, 500);
    expect(loud(inOrder(one, real(100, 500, 2.5 * MS)))).toEqual([]);
    expect(loud(one.filter((_, i) => i % 7 !== 0 && !(i > 100 && i < 180)))).toEqual([]);
    const swapped = one.map((packet, i) => ({ ...packet, frame: (one[i ^ 1] as Packet).frame }));
    expect(loud(swapped)).toEqual([]);
    const lossy = inOrder(one.filter((_, i) => i % 5 !== 0), real(100, 500, 2.5 * MS).filter((_, i) => i % 3 !== 0)); // prettier-ignore
    expect(loud(lossy)).toEqual([]);
  });

  it('that are played in a loop, however short, are not', () => {
    const part = real(500, 560);
    const loop = count(200, (n) =>
      part.map(({ timeUs, frame }) => ({ timeUs: timeUs + n * 60 * MS, frame })),
    );
    expect(loud(loop.flat())).toEqual([]);
  });

  it('of many streams in one frame, and of many publishers, are kept apart', () => {
    const streams = count(6, (n) => every(MS, count(100, (i) => samples(i * (n + 1), i, PUBLISHER, `MU${n}`)), n * 10)); // prettier-ignore
    expect(loud(inOrder(...streams))).toEqual([]);
  });
});

describeWithCorpus('in real captures', () => {
  it.each([
    ['attacks/iec61850-qutzss/GOOSE_8531a.pcap.gz', 'goose', '20:17:01:16:f0:11'],
    ['attacks/iec61850-qutzss/SV_9111a.pcap.gz', 'sampled-values', '20:17:01:16:f2:54'],
  ])('%s is told', async (name, protocol, source) => {
    const { alerts } = await analyzeCapture(name);
    const forged = alerts.filter(({ rule }) => rule === 'forged-publisher');
    expect(forged).toMatchObject([{ severity: 'medium', protocol, source, technique: 'T0856' }]);
  });

  it.each(['ot/iec61850/SV_Normal_Traffic.pcap.gz', 'ot/iec61850/GOOSE.pcap', 'ot/iec61850/ABB3.pcap.gz'])(
    '%s is not',
    async (name) => {
      const { alerts } = await analyzeCapture(name);
      expect(alerts.filter(({ severity }) => severity !== 'low')).toEqual([]);
    },
  );
});
