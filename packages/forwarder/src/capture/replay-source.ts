/**
 * Packets from capture files and from pipes, through the one reader of `shared`, filtered and cut here, at the speed the
 * user asked for.
 *
 * What must stay true: packets keep their recorded timestamps and their order; a damaged file never hides the files
 * behind it, nor is it hidden: what stood before the damage is handed out, the event is raised, the next file follows,
 * and when all are read the first damage is thrown.
 */
import { access, constants, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { openCapture, type CaptureFile } from '@tapline/shared/pcap/capture-file.ts';
import { BatchFilter } from '@tapline/shared/filter/batch-filter.ts';
import type {
  CaptureCounters,
  CaptureDependencies,
  CaptureInterface,
  CaptureProgress,
  CaptureSource,
} from './capture-source.ts';
import { frameBytesOf, truncatedIn } from './record-count.ts';
import { ReplayPacer } from './replay-pacer.ts';

export interface ReplayInput {
  readonly name: string;
  /** Fails at the start for what can be known then. Returns the bytes to read, 0 for a pipe. */
  check(): Promise<number>;
  open(): Promise<CaptureFile>;
  /** Ends an `open` that waits for a pipe. */
  interrupt(): void;
}

export interface ReplayOptions {
  readonly filter?: string;
  readonly snapBytes?: number;
  readonly speed?: number | 'max';
  readonly loop?: boolean;
}

export function fileInput(path: string): ReplayInput {
  return {
    name: path,
    async check() {
      try {
        await access(path, constants.R_OK);
        return (await stat(path)).size;
      } catch (error) {
        throw new OperatingError(
          'CAPTURE_FAILED',
          `cannot read ${path}: ${messageOf(error)}`,
          { file: path },
          error,
        );
      }
    },
    open: () => openCapture(path),
    interrupt: () => undefined,
  };
}

/** A capture that somebody writes while we read, like `tcpdump -w -`. Its header may come late, so nothing waits for it at the start. */
export function streamInput(stream: Readable): ReplayInput {
  return {
    name: '-',
    check: async () => 0,
    open: () => openCapture('-', { stream }),
    interrupt: () => void stream.destroy(),
  };
}

export class ReplaySource implements CaptureSource {
  readonly interfaces: CaptureInterface[] = [];

  readonly #inputs: readonly ReplayInput[];
  readonly #options: ReplayOptions;
  readonly #dependencies: CaptureDependencies;
  readonly #filter: BatchFilter;
  readonly #pacer: ReplayPacer | null;
  /** Of the input whose turn it is: its interface numbers to ours. */
  #interfaceIds: number[] = [];
  #file: CaptureFile | null = null;
  #totalBytes = 0;
  #finishedBytes = 0;
  #packets = 0;
  #bytes = 0;
  #truncatedPackets = 0;
  #iterated = false;
  #damage: OperatingError | null = null;

  constructor(inputs: readonly ReplayInput[], options: ReplayOptions, dependencies: CaptureDependencies) {
    const { filter = '', snapBytes = PACKET_BYTES_MAX, speed = 'max' } = options;
    this.#inputs = inputs;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#filter = new BatchFilter({ expression: filter, snapBytes });
    this.#pacer = speed === 'max' ? null : new ReplayPacer(speed);
  }

  async open(): Promise<void> {
    this.#filter.check();
    for (const input of this.#inputs) this.#totalBytes += await input.check();
  }

  async *batches(signal: AbortSignal): AsyncGenerator<Batch> {
    assert(!this.#iterated, 'a source is read once');
    this.#iterated = true;
    do {
      this.#finishedBytes = 0;
      for (const input of this.#inputs) {
        if (signal.aborted) return;
        yield* this.#replay(input, signal);
        this.#finishedBytes += this.#file?.inputBytesTotal ?? 0;
        this.#file = null;
      }
      if (this.#damage !== null) throw this.#damage;
    } while (this.#options.loop === true && !signal.aborted);
  }

  counters(): CaptureCounters {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      truncatedPackets: this.#truncatedPackets,
      filteredPackets: this.#filter.filteredPackets,
      kernelDroppedPackets: 0,
      kernelFreezes: 0,
      interfaceDroppedPackets: 0,
      abandonedPackets: 0,
      interruptions: 0,
    };
  }

  progress(): CaptureProgress | null {
    if (this.#totalBytes === 0) return null;
    const readBytes = this.#finishedBytes + (this.#file?.inputBytes ?? 0);
    return { readBytes: Math.min(readBytes, this.#totalBytes), totalBytes: this.#totalBytes };
  }

  async close(): Promise<void> {
    for (const input of this.#inputs) input.interrupt();
    await this.#file?.close();
  }

  async *#replay(input: ReplayInput, signal: AbortSignal): AsyncGenerator<Batch> {
    const interrupt = (): void => {
      this.#interrupt(input);
    };
    signal.addEventListener('abort', interrupt, { once: true });
    this.#interfaceIds = [];
    this.#pacer?.restart();
    try {
      this.#file = await input.open();
      if (signal.aborted) return;
      for await (const batch of this.#file.batches()) {
        const kept = this.#filter.apply(this.#renumber(this.#file, input.name, batch));
        if (kept === null) continue;
        if (this.#pacer === null) yield this.#count(kept);
        else for await (const slice of this.#pacer.slices(kept, signal)) yield this.#count(slice);
        if (signal.aborted) return;
      }
    } catch (error) {
      // An input that we tore off ourselves ends in the middle of something: that is no damage.
      if (signal.aborted) return;
      if (!(error instanceof OperatingError) || error.code !== 'PCAP_INVALID') throw error;
      this.#damage ??= error;
      this.#dependencies.events.fileDamaged(input.name, error);
    } finally {
      signal.removeEventListener('abort', interrupt);
      await this.#file?.close();
    }
  }

  /** A pipe may be waited for in two places: for its header while it is opened, and for its packets. */
  #interrupt(input: ReplayInput): void {
    if (this.#file === null) input.interrupt();
    else void this.#file.close();
  }

  #renumber(file: CaptureFile, inputName: string, batch: Batch): Batch {
    let interfaceId = this.#interfaceIds[batch.interfaceId];
    if (interfaceId === undefined) {
      const name = file.interfaces[batch.interfaceId]?.name ?? inputName;
      interfaceId = this.#interfaceOf(name, batch.linkType);
      this.#interfaceIds[batch.interfaceId] = interfaceId;
    }
    return interfaceId === batch.interfaceId ? batch : { ...batch, interfaceId };
  }

  /** Inputs that name the same interface share its number; a loop over files adds none. */
  #interfaceOf(name: string, linkType: number): number {
    const known = this.interfaces.findIndex((item) => item.name === name && item.linkType === linkType);
    return known >= 0 ? known : this.interfaces.push({ name, linkType }) - 1;
  }

  #count(batch: Batch): Batch {
    this.#packets += batch.packetCount;
    this.#bytes += frameBytesOf(batch);
    this.#truncatedPackets += truncatedIn(batch);
    return batch;
  }
}
