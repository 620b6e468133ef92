/** What a rule is told, and how it tells what it found. A detector sees packets in order of time and keeps plain, bounded data. */
import type { Finding } from '../alert/finding.ts';
import type { Flow } from '../flow/flow.ts';
import type { PacketView } from '../packet/packet-view.ts';
import type { Operation } from '../protocol/dissector.ts';
import type { KeyedWindows } from './keyed-window.ts';

export type Report = (finding: Finding, flow: Flow | null) => void;

export interface Detector {
  /** Every packet, after it was added to its flow (null: it is of none). */
  packet?(view: PacketView, flow: Flow | null, isFromClient: boolean): void;
  flowStarted?(flow: Flow, view: PacketView): void;
  /** The server's side of the conversation did something that shows that it takes part. Once a flow. */
  flowAnswered?(flow: Flow, nowUs: number): void;
  /** `values[flow.row …]` are the flow's numbers. */
  flowEnded?(flow: Flow, values: Float64Array, nowUs: number): void;
  operation?(flow: Flow, operation: Operation, nowUs: number): void;
  fact?(flow: Flow, key: string, value: string, nowUs: number): void;
  violation?(flow: Flow, protocol: string, reason: string, nowUs: number): void;
  /** Everything that is kept: windows by name, and other plain data. */
  readonly state: Record<string, unknown>;
}

/** Puts a snapshot back into a detector's state: contents of windows and maps, not the objects that detectors hold. */
export function restoreState(state: Record<string, unknown>, snapshot: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(snapshot)) {
    const mine = state[name];
    if (isWindows(mine) && isWindows(value)) mine.windows = value.windows;
    else if (mine instanceof Map && value instanceof Map) {
      mine.clear();
      for (const [key, one] of value) mine.set(key, one);
    }
  }
}

function isWindows(value: unknown): value is KeyedWindows {
  return typeof value === 'object' && value !== null && 'windows' in value;
}

export const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmp6'],
  [132, 'sctp'],
]);

/** The transport's name: `tcp`, `ip-89`, `ethernet`. */
export function protocolName(protocol: number): string {
  return protocol === -1 ? 'ethernet' : (PROTOCOL_NAMES.get(protocol) ?? `ip-${protocol}`);
}
