/**
 * The names of the files that packets were read from, by number: what a flow and an alert say about where their packets lie. A number is never given
 * twice. The name of a file that is gone is kept for a while, because flows that are still open speak of it.
 */

/** Of files that are gone: × about 100 bytes = 3 MiB. The longest flow is of an hour, and an hour has one file a source. */
const GONE_MAX = 32_768;

/** Plain data. */
export interface FileNamesState {
  readonly next: number;
  readonly names: readonly (readonly [number, string])[];
  readonly gone: readonly number[];
}

export class FileNames {
  #next = 0;
  #names = new Map<number, string>();
  #gone: number[] = [];

  add(name: string): number {
    const file = this.#next++;
    this.#names.set(file, name);
    return file;
  }

  /** The file goes on under another name. */
  rename(file: number, name: string): void {
    this.#names.set(file, name);
  }

  /** '' for one that is long gone. */
  nameOf(file: number): string {
    return this.#names.get(file) ?? '';
  }

  forget(file: number): void {
    this.#gone.push(file);
    if (this.#gone.length < 2 * GONE_MAX) return;
    for (const old of this.#gone.splice(0, GONE_MAX)) this.#names.delete(old);
  }

  snapshot(): FileNamesState {
    return { next: this.#next, names: [...this.#names], gone: [...this.#gone] };
  }

  restore(state: FileNamesState): void {
    this.#next = state.next;
    this.#names = new Map(state.names);
    this.#gone = [...state.gone];
  }
}
