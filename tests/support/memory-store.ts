/**
 * A sensor's store in memory that crashes honestly: what was not committed is gone, and the marks are those of the last
 * commit that resolved.
 */
import type { GapEntry } from '../../packages/collector/src/session/gap-list.ts';
import type { EpochMark } from '../../packages/collector/src/session/resume-point.ts';
import type { SensorStore } from '../../packages/collector/src/session/sensor-store.ts';
import type { Batch } from '../../packages/shared/src/packet/batch.ts';
import { numbersOf } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';

export class MemoryDisk {
  readonly numbers: number[] = [];
  readonly gaps: GapEntry[] = [];
  marks: readonly EpochMark[] = [];
  /** How long a commit takes. */
  commitMs = 2;
  /** Set to make commits fail. */
  failure: Error | null = null;
}

export class MemoryStore implements SensorStore {
  readonly marks: readonly EpochMark[];
  readonly #disk: MemoryDisk;
  #numbers: number[] = [];
  #gaps: GapEntry[] = [];
  #isDead = false;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
    this.marks = disk.marks;
  }

  write(batch: Batch): void {
    this.#numbers.push(...numbersOf(batch));
  }

  writeGap(gap: GapEntry): void {
    this.#gaps.push(gap);
  }

  async commit(marks: readonly EpochMark[]): Promise<void> {
    const numbers = this.#numbers.length;
    const gaps = this.#gaps.length;
    await new Promise((resolve) => setTimeout(resolve, this.#disk.commitMs));
    if (this.#disk.failure !== null) throw this.#disk.failure;
    if (this.#isDead) return;
    this.#disk.numbers.push(...this.#numbers.splice(0, numbers));
    this.#disk.gaps.push(...this.#gaps.splice(0, gaps));
    this.#disk.marks = marks;
  }

  readonly diskBytesMax = Infinity;

  diskBytes(): number {
    return 0;
  }

  async close(): Promise<void> {
    this.#isDead = true;
  }

  /** The process dies: whatever is still running has no effect on the disk. */
  crash(): void {
    this.#isDead = true;
  }
}
