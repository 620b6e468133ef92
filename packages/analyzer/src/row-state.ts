/** What a checkpoint holds of the row as a whole; after it comes one section for each sensor. */
import type { DecodedCheckpoint } from './checkpoint/checkpoint.ts';
import type { AnalyzerConfig } from './config.ts';
import type { TrafficState } from './count/traffic-table.ts';
import type { FlowText } from './flow-log.ts';
import type { StationState } from './sensor-station.ts';
import type { TailState } from './tail/archive-tail.ts';
import type { StreamState } from './tail/stream-input.ts';

/** Plain data. */
export interface RowState {
  /** What is read: a checkpoint of another input is of no use. */
  readonly input: string;
  readonly tail: TailState | null;
  readonly stream: StreamState | null;
  readonly count: TrafficState;
  readonly alertsBySeverity: Readonly<Record<string, number>>;
  readonly flowsWritten: number;
  /** Flows that end with this checkpoint: they are written when it is on the disk. */
  readonly flowTexts: readonly FlowText[];
}

export type Resumed =
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'resumed'; readonly row: RowState; readonly stations: readonly StationState[] };

/** What the checkpoint gives to go on with, if it is of this input. */
export function resumedFrom(checkpoint: DecodedCheckpoint | null, config: AnalyzerConfig): Resumed {
  if (checkpoint === null) return { kind: 'none' };
  if (checkpoint.kind === 'refused') return checkpoint;
  const [row, ...stations] = checkpoint.sections as [RowState, ...StationState[]];
  if (row.input !== inputOf(config))
    return { kind: 'refused', reason: `it is of another input: ${row.input}` };
  return { kind: 'resumed', row, stations };
}

/** What is read, in words. */
export function inputOf({ input }: AnalyzerConfig): string {
  if (input.stdin) return `stdin as ${input.sensor}`;
  if (input.tcp !== undefined) return `tcp:${input.tcp.host}:${input.tcp.port} as ${input.sensor}`;
  return input.files?.join(', ') ?? input.directory;
}
