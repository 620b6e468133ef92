/**
 * Every rule on the simulated plant: its scenario is played in the middle of an ordinary day, between controllers, operators and an office that know nothing of it.
 * It is told as it is told alone, of those who did it; and nobody else is accused.
 */
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { describe, expect, it } from 'vitest';
import { plantPackets } from '../../../../tests/support/simulated-plant.ts';
import { severityRank } from '../alert/finding.ts';
import { Rig } from '../engine-testing.ts';
import type { Packet } from '../packet/frame-testing.ts';
import type { Scenario } from './scenario-testing.ts';
import { SCENARIOS } from './scenarios-testing.ts';

/** The day goes on for so long before the scenario begins. */
const BEFORE_US = 20_000_000;
const PLANT_SECONDS = 60;
const PLANT: readonly Packet[] = plantPackets(7, PLANT_SECONDS);
/** There is no radio in it, and a mirror's missing half is not in front of it. */
const PLAYED = SCENARIOS.filter(({ rule, linkType = LINKTYPE_ETHERNET }) => linkType === LINKTYPE_ETHERNET && rule !== 'one-sided-mirror'); // prettier-ignore
/** What is told as a share of everything has more to outdo here than alone. */
const TIMES: Readonly<Record<string, number>> = { 'spoofed-flood': 40 };
/** Who is told besides is somebody of the plant: its own bridge is pushed from the root. */
const DISPLACED: Readonly<Record<string, string>> = { 'stp-root': '00:80:63:01:00:02' };

function played({ rule, event, threshold }: Scenario): Packet[] {
  const events = Array.from({ length: threshold * (TIMES[rule] ?? 1) }, (_, i) => event(i)).flat();
  return events.map((packet) => ({ ...packet, timeUs: packet.timeUs + BEFORE_US }));
}

function told(rig: Rig, rule: string): string[] {
  return [...rig.alerts.values()]
    .filter((alert) => alert.rule === rule)
    .map(({ source, destination }) => `${source} ${destination}`);
}

function loud(rig: Rig): string[] {
  return [...rig.alerts.values()]
    .filter(({ severity }) => severityRank(severity) >= severityRank('medium'))
    .map(({ rule, source }) => `${rule} of ${source}`);
}

describe('on the simulated plant', () => {
  it('an ordinary day raises nothing that asks for a person', () => {
    expect(loud(new Rig().add(PLANT).finish())).toEqual([]);
  });

  it('one-sided-mirror is told of a mirror that shows only what comes from the controllers', () => {
    // Controllers are 10.1.0.101 and above; .121 is the input and output of one of them.
    const isFromController = ({ frame }: Packet): boolean => frame[27] === 1 && (frame[29] as number) > 100 && frame[29] !== 121; // prettier-ignore
    const rig = new Rig().add(PLANT.filter(isFromController));
    // No connection has ended yet.
    expect(told(rig, 'one-sided-mirror')).toEqual([' ']);
  });

  it.each(PLAYED)('$rule is told of who did it', (scenario) => {
    const { rule, rules, source, destination } = scenario;
    const packets = [...PLANT, ...played(scenario)].sort((a, b) => a.timeUs - b.timeUs);
    const rig = new Rig({ rules }).add(packets).finish();
    expect(told(rig, rule)).toContain(`${source} ${DISPLACED[rule] ?? destination}`);
    const alone = new Rig({ rules }).add(played(scenario)).finish();
    const plain = new Rig({ rules }).add(PLANT).finish();
    const expected = new Set([...loud(alone), ...loud(plain)]);
    expect(loud(rig).filter((one) => !expected.has(one))).toEqual([]);
  });
});
