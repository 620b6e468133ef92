/** For tests: who speaks on the wire of the control detector's tests, and what it says of it. */
import type { Severity } from '../../alert/finding.ts';
import { Rig } from '../../engine-testing.ts';
import { type Packet } from '../../packet/frame-testing.ts';

export const SECOND = 1_000_000;
export const SWITCH = '02:00:00:00:00:10';
export const OTHER = '02:00:00:00:00:11';
export const STRANGER = '02:00:00:00:00:66';
/** Of a maker of network cards, and of one of switches. */
export const CARD = '00:1b:21:00:00:66';
export const CISCO = '00:00:0c:00:00:01';

export function each(count: number, gapUs: number, frame: (i: number) => Buffer, fromUs = 0): Packet[] {
  return Array.from({ length: count }, (_, i) => ({ timeUs: fromUs + i * gapUs, frame: frame(i) }));
}

/** How loud the rule was at its loudest; null when it was silent. */
export function told(rule: string, packets: readonly Packet[], rules: object = {}): Severity | null {
  const rig = new Rig({ rules }).add([...packets].sort((a, b) => a.timeUs - b.timeUs)).finish();
  const severities = [...rig.alerts.values()].filter((alert) => alert.rule === rule).map(({ severity }) => severity); // prettier-ignore
  return severities.includes('medium') ? 'medium' : (severities[0] ?? null);
}
