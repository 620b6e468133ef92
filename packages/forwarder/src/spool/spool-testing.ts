/** For tests: frames whose packets are numbered, lanes in directories that go away, and a look at their files. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import { encodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import { numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import type { QueuedFrame } from './frame-queue.ts';
import { SpoolLane, type SpoolLaneOwner } from './spool-lane.ts';

const directories: string[] = [];

/** After each test. */
export function removeDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

export function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tapline-spool-'));
  directories.push(path);
  return path;
}

/** Packets numbered from the sequence on: what is read back can be told apart. */
export function frame(sequence: number, packets = 3, bytes = 200): QueuedFrame {
  return {
    sequence,
    bytes: encodeBatch(numberedBatch(sequence * 10, packets, bytes), sequence, 'none', 7),
    packetCount: packets,
  };
}

export function lane(
  path: string,
  owner: Partial<SpoolLaneOwner> = {},
  files: Files = systemFiles,
): SpoolLane {
  return new SpoolLane(path, 7, files, {
    makeRoom: () => true,
    changed: () => undefined,
    writeFailed: () => undefined,
    written: () => undefined,
    lost: () => undefined,
    ...owner,
  });
}

export function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

export function segments(path: string): string[] {
  return readdirSync(path).filter((name) => name.endsWith('.spool'));
}
