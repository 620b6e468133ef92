/**
 * How many flows the tables of all sensors may hold together: what bounds the memory of the process, where each table's own limit bounds a sensor. What
 * must stay true: a table has its share whatever the others do; beyond it, it grows while there is room. So one flooded sensor keeps as much as a single
 * one may, and a hundred flooded ones take nothing from a quiet one.
 */

/** × about 2 KiB = 512 MiB; shares that are taken when it is full can double it, no more. */
export const FLOWS_MAX_TOGETHER = 262_144;

export class FlowBudget {
  readonly #flowsMax: number;
  #tables = 0;
  #open = 0;

  constructor(flowsMax = FLOWS_MAX_TOGETHER) {
    this.#flowsMax = flowsMax;
  }

  /** Of all tables. */
  get open(): number {
    return this.#open;
  }

  /** One more table has a share. */
  join(): void {
    this.#tables++;
  }

  /** Whether a table that holds `own` flows may hold one more. */
  allows(own: number): boolean {
    return this.#open < this.#flowsMax || own < this.#flowsMax / this.#tables;
  }

  /** So many flows began; fewer than none: ended. */
  count(flows: number): void {
    this.#open += flows;
  }
}
