/** What one sensor has: the merge that puts its packets in order, and the engine that they go through. */
import { Engine, type EngineEvents, type EngineOptions } from './engine.ts';
import { LiveMerge, type LiveMergeOptions, type LiveMergeState } from './merge/live-merge.ts';

/** Plain data. */
export interface StationState {
  readonly sensor: string;
  readonly engine: unknown;
  readonly merge: LiveMergeState;
}

export class SensorStation {
  readonly sensor: string;
  readonly engine: Engine;
  readonly merge: LiveMerge;

  constructor(options: EngineOptions, merge: LiveMergeOptions, events: EngineEvents) {
    this.sensor = options.sensor;
    const engine = new Engine(options, events);
    this.engine = engine;
    this.merge = new LiveMerge(merge, (run) => {
      engine.add(run);
    });
  }

  snapshot(): StationState {
    return { sensor: this.sensor, engine: this.engine.snapshot(), merge: this.merge.snapshot() };
  }

  restore(state: StationState, nowMs: number): void {
    this.engine.restore(state.engine);
    this.merge.restore(state.merge, nowMs);
  }

  /** The input is over: what is held goes through the engine, flows end, alerts are told as they stand. */
  finish(): void {
    this.merge.flush();
    this.engine.finish();
  }
}
