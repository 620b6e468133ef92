/**
 * What a process of the plant may touch: the clock, the wire, chance, and other processes. One world per capture; an
 * attack acts in a view of it whose every frame is noted in the attack's label.
 */
import { Prng } from '@tapline/shared/base/prng.ts';
import { Wire } from './ethernet-builder.ts';
import type { LabelTally } from './labels.ts';
import { MILLISECOND, type Process, type Scheduler } from './scheduler.ts';
import type { Tally, Tap } from './tap.ts';

export interface WorldOptions {
  readonly seed: number;
  /** Nanoseconds since 1970 of the start of the capture. */
  readonly startNs: bigint;
  readonly durationNs: number;
}

export class World {
  readonly options: WorldOptions;
  /** What each protocol put on the wire, in the order of first use. */
  readonly tallies: Map<string, Tally>;
  readonly #scheduler: Scheduler;
  readonly #tap: Tap;
  readonly #label: LabelTally | null;
  readonly #wires = new Map<string, Wire>();

  constructor(
    options: WorldOptions,
    dependencies: { scheduler: Scheduler; tap: Tap },
    view: { tallies: Map<string, Tally>; label: LabelTally | null } = { tallies: new Map(), label: null },
  ) {
    this.options = options;
    this.#scheduler = dependencies.scheduler;
    this.#tap = dependencies.tap;
    this.tallies = view.tallies;
    this.#label = view.label;
  }

  /** The same world, in which everything sent belongs to `label`. */
  labelled(label: LabelTally): World {
    return new World(
      this.options,
      { scheduler: this.#scheduler, tap: this.#tap },
      { tallies: this.tallies, label },
    );
  }

  /** Whether what is sent here belongs to an attack. */
  get isAttack(): boolean {
    return this.#label !== null;
  }

  /** Nanoseconds since the start of the capture. */
  get nowNs(): number {
    return this.#scheduler.nowNs;
  }

  /** Milliseconds since 1970 in the plant: what its hosts write into their messages. */
  get epochMs(): number {
    return Number(this.options.startNs) / MILLISECOND + this.#scheduler.nowNs / MILLISECOND;
  }

  /** The wire for a protocol's frames. */
  wire(protocol: string): Wire {
    const known = this.#wires.get(protocol);
    if (known !== undefined) return known;
    let tally = this.tallies.get(protocol);
    if (tally === undefined) this.tallies.set(protocol, (tally = { packets: 0, bytes: 0 }));
    const wire = new Wire(this.#scheduler, this.#tap, tally, this.#label);
    this.#wires.set(protocol, wire);
    return wire;
  }

  /** A stream of chance for one named part of the plant. */
  random(stream: string): Prng {
    return new Prng(this.options.seed, stream);
  }

  start(process: Process, delayNs = 0): void {
    this.#scheduler.start(process, delayNs);
  }
}
