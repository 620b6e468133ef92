/** Devices that fall silent, and those that only seem to. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { type Packet } from '../../packet/frame-testing.ts';
import { SECOND, HMI, PLC, inOrder, learnt, polls, read } from './baseline-testing.ts';

describe('a device', () => {
  /** Others go on talking: somebody must be heard, or the sensor is deaf. */
  const [other, others] = ['10.0.0.8', '10.0.0.9'];
  const watched = learnt(inOrder(polls(HMI, PLC, 0, 60 * SECOND), polls(other, others, 0, 60 * SECOND)));
  const silence = (rig: Rig) =>
    [...rig.alerts.values()].filter(({ rule }) => rule === 'baseline-silent-device');
  const noise = (fromUs: number, toUs: number): Packet[] => polls(other, others, fromUs, toUs);

  it('that falls silent is told once; when it speaks and falls silent again, again', () => {
    const rig = new Rig({ baseline: watched });
    rig.add(inOrder(polls(HMI, PLC, 0, 30 * SECOND), noise(0, 80 * SECOND)));
    expect(silence(rig)).toEqual([]);
    rig.add(noise(80 * SECOND, 300 * SECOND));
    expect(silence(rig).map(({ source, count }) => [source, count]).sort()).toEqual([[HMI, 1], [PLC, 1]]); // prettier-ignore
    expect(rig.alert('baseline-silent-device')).toMatchObject({ severity: 'medium', technique: 'T0815', port: -1 }); // prettier-ignore
    rig.add(inOrder(polls(HMI, PLC, 300 * SECOND, 330 * SECOND), noise(300 * SECOND, 600 * SECOND)));
    expect(silence(rig).map(({ source, count }) => [source, count]).sort()).toEqual([[HMI, 2], [PLC, 2]]); // prettier-ignore
  });

  it('has been silent for a while before: what is usual is allowed, times the factor', () => {
    const slow = learnt(inOrder(polls(HMI, PLC, 0, 1200 * SECOND, 60 * SECOND), noise(0, 60 * SECOND)));
    expect(slow.hosts.find(({ address }) => address === PLC)?.silence_us).toBeGreaterThan(59 * SECOND);
    const after = (seconds: number, rules: object = {}): Rig => new Rig({ baseline: slow, rules }).add(inOrder(read(HMI, PLC, 0), noise(0, seconds * SECOND))); // prettier-ignore
    expect(silence(after(290))).toEqual([]);
    expect(silence(after(320))).toHaveLength(2);
    expect(silence(after(150, { baseline_silent_device: { factor: 2 } }))).toHaveLength(2);
  });

  it('that was rarely heard has no habit of talking', () => {
    const rare = learnt(inOrder(read(HMI, PLC, 0), noise(0, 60 * SECOND)));
    expect(silence(new Rig({ baseline: rare }).add(inOrder(read(HMI, PLC, 0), noise(0, 600 * SECOND))))).toEqual([]); // prettier-ignore
  });

  it('is not silent while nobody was heard: a hole in the capture is no alert for each host of the plant', () => {
    const rig = new Rig({ baseline: watched });
    rig.add(inOrder(polls(HMI, PLC, 0, 30 * SECOND), noise(0, 30 * SECOND)));
    rig.add(inOrder(noise(4000 * SECOND, 4030 * SECOND), polls(HMI, PLC, 4005 * SECOND, 4030 * SECOND)));
    expect(silence(rig)).toEqual([]);
    rig.add(noise(4030 * SECOND, 4200 * SECOND));
    expect(silence(rig)).toHaveLength(2);
  });

  it('is not silenced by a packet from the future, nor kept from being missed', () => {
    const future = polls(other, others, 400 * 86_400 * SECOND, 400 * 86_400 * SECOND + 1);
    const rig = new Rig({ baseline: watched });
    rig.add(inOrder(polls(HMI, PLC, 0, 30 * SECOND), noise(0, 30 * SECOND)));
    rig.add(future.slice(0, 1));
    rig.add(inOrder(polls(HMI, PLC, 31 * SECOND, 60 * SECOND), noise(31 * SECOND, 60 * SECOND)));
    expect(silence(rig)).toEqual([]);
    rig.add(noise(60 * SECOND, 300 * SECOND));
    expect(silence(rig)).toHaveLength(2);
  });
});
