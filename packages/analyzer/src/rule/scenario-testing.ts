/** For tests: what a scenario of a rule is, and who plays in it. */
import type { Packet } from '../packet/frame-testing.ts';

export interface Scenario {
  /** As the alert has it. */
  readonly rule: string;
  /** Thresholds that it is about; the shipped ones may change. */
  readonly rules: object;
  /** The first event that raises the alert, counted from 1. */
  readonly threshold: number;
  /** Of its frames, where they are not Ethernet. */
  readonly linkType?: number;
  readonly event: (index: number) => Packet[];
  readonly source: string;
  readonly destination: string;
  readonly technique: string;
}

export const SECOND = 1_000_000;
export const ATTACKER = '10.0.0.66';
export const VICTIM = '10.0.0.2';
export const MAC_A = '02:00:00:00:00:0a';
export const MAC_B = '02:00:00:00:00:0b';
