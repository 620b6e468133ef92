/** The stations of all sensors: each is made when its sensor is heard first, with what its baseline knows of it. */
import type { Log } from '@tapline/shared/observe/log.ts';
import { baselineOf, type Baseline } from './asset/baseline.ts';
import type { EngineEvents } from './engine.ts';
import { FlowBudget } from './flow/flow-budget.ts';
import type { Rules } from './rule/rule-file.ts';
import { SensorStation } from './sensor-station.ts';

export interface SensorStationsOptions {
  readonly baseline: Baseline | null;
  /** How long a packet may wait for older ones of its sensor. */
  readonly windowMs: number;
  /** Name of a file by its number in runs. */
  readonly fileName: (file: number) => string;
}

export class SensorStations {
  readonly #options: SensorStationsOptions;
  readonly #log: Log;
  readonly #eventsOf: (sensor: string) => EngineEvents;
  readonly #stations = new Map<string, SensorStation>();
  readonly #flowBudget = new FlowBudget();
  #rules: Rules;

  constructor(
    options: SensorStationsOptions,
    rules: Rules,
    eventsOf: (sensor: string) => EngineEvents,
    log: Log,
  ) {
    this.#options = options;
    this.#rules = rules;
    this.#eventsOf = eventsOf;
    this.#log = log;
  }

  [Symbol.iterator](): IterableIterator<SensorStation> {
    return this.#stations.values();
  }

  of(sensor: string): SensorStation {
    const known = this.#stations.get(sensor);
    if (known !== undefined) return known;
    const { windowMs, fileName } = this.#options;
    const baseline = this.#baselineOf(sensor);
    const engine = { sensor, rules: this.#rules, flowBudget: this.#flowBudget, ...(baseline === undefined ? {} : { baseline }), fileName }; // prettier-ignore
    const station = new SensorStation(engine, { windowMs }, this.#eventsOf(sensor));
    this.#stations.set(sensor, station);
    return station;
  }

  /** Other thresholds, from here on; what was counted stays. */
  setRules(rules: Rules): void {
    this.#rules = rules;
    for (const { engine } of this.#stations.values()) engine.setRules(rules);
  }

  #baselineOf(sensor: string): ReturnType<typeof baselineOf> {
    const { baseline } = this.#options;
    if (baseline === null) return undefined;
    const known = baselineOf(baseline, sensor);
    if (known === undefined)
      this.#log.warn({ sensor, known: Object.keys(baseline.sensors).slice(0, 10) }, 'The baseline knows nothing of this sensor; nothing deviates there.'); // prettier-ignore
    return known;
  }
}
