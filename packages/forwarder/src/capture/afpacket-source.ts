/**
 * Live capture through the kernel's mapped ring: one thread and one ring for each interface (`afpacket-worker.ts`), their
 * batches handed out here in the order they come.
 *
 * The books: for each interface, kernel received = handed out + kernel dropped + abandoned, to the packet, once
 * `batches()` has ended; and abandoned is 0 unless its reader left or the source was closed under it. While it runs, the
 * difference is what lies in the ring and in the batch buffers.
 */
import { Worker } from 'node:worker_threads';
import { assert, unreachable } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { compileLive } from '@tapline/shared/system/libpcap.ts';
import { keepProgram } from '@tapline/shared/filter/batch-filter.ts';
import {
  COUNTER_DROPPED,
  COUNTER_FREEZES,
  COUNTER_RECEIVED,
  SHARED_BYTES,
  WAKE_OFFSET,
  type FromWorker,
  type ToWorker,
  type WorkerOptions,
} from './afpacket-protocol.ts';
import { BatchQueue } from './batch-queue.ts';
import type {
  AfPacketOptions,
  CaptureCounters,
  CaptureDependencies,
  CaptureEvents,
  CaptureInterface,
  CaptureSource,
} from './capture-source.ts';
import { DropReporter } from './drop-reporter.ts';
import { interfaceDrops } from './interface-drops.ts';
import { frameBytesOf } from './record-count.ts';
import { RING_BLOCK_BYTES, RING_BYTES_DEFAULT, RING_BYTES_MIN } from './ring-format.ts';

type FullBuffer = Extract<FromWorker, { kind: 'batch' }> & { readonly ring: Ring };

export class AfPacketSource implements CaptureSource {
  readonly interfaces: CaptureInterface[] = [];

  readonly #options: AfPacketOptions;
  readonly #events: CaptureEvents;
  readonly #queue = new BatchQueue<FullBuffer>();
  #rings: Ring[] = [];
  #interfaceDropsBefore = 0;
  #packets = 0;
  #bytes = 0;
  #iterated = false;

  constructor(options: AfPacketOptions, dependencies: CaptureDependencies) {
    assert(options.interfaces.length > 0, 'a live capture names an interface');
    this.#options = options;
    this.#events = dependencies.events;
  }

  async open(): Promise<void> {
    const { interfaces, filter = '', snapBytes = PACKET_BYTES_MAX } = this.#options;
    this.#interfaceDropsBefore = interfaceDrops(interfaces);
    try {
      for (const [interfaceId, name] of interfaces.entries()) {
        const program = filter === '' ? keepProgram(snapBytes) : compileLive(name, filter, snapBytes);
        const ring = new Ring(this.#ringOptions(name, program), interfaceId, this.#queue, this.#events);
        this.#rings.push(ring);
        this.interfaces.push({ name, linkType: await ring.opened });
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async *batches(signal: AbortSignal): AsyncGenerator<Batch> {
    assert(!this.#iterated, 'a source is read once');
    this.#iterated = true;
    const drain = (): void => {
      for (const ring of this.#rings) ring.send({ kind: 'drain' });
    };
    signal.addEventListener('abort', drain, { once: true });
    if (signal.aborted) drain();
    try {
      for (;;) {
        const full = this.#queue.shift();
        if (full !== undefined) {
          yield this.#lend(full);
          full.ring.giveBack(full.buffer);
          continue;
        }
        for (const ring of this.#rings) ring.throwFailure();
        if (this.#rings.every((ring) => ring.hasEnded)) return;
        await this.#queue.wait();
      }
    } finally {
      signal.removeEventListener('abort', drain);
    }
  }

  counters(): CaptureCounters {
    const sum = (slot: number): number => this.#rings.reduce((total, ring) => total + ring.counter(slot), 0);
    const ended = this.#rings.every((ring) => ring.hasEnded);
    const kernelDroppedPackets = sum(COUNTER_DROPPED);
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      truncatedPackets: this.#rings.reduce((total, ring) => total + ring.truncatedPackets, 0),
      filteredPackets: 0,
      kernelDroppedPackets,
      kernelFreezes: sum(COUNTER_FREEZES),
      interfaceDroppedPackets: Math.max(
        0,
        interfaceDrops(this.#options.interfaces) - this.#interfaceDropsBefore,
      ),
      abandonedPackets: ended ? sum(COUNTER_RECEIVED) - kernelDroppedPackets - this.#packets : 0,
      interruptions: this.#rings.reduce((total, ring) => total + ring.interruptions, 0),
    };
  }

  progress(): null {
    return null;
  }

  async close(): Promise<void> {
    for (const ring of this.#rings) ring.send({ kind: 'close' });
    await Promise.all(this.#rings.map((ring) => ring.exited));
  }

  #lend({ buffer, byteLength, packetCount, truncatedPackets, ring }: FullBuffer): Batch {
    const bytes = new Uint8Array(buffer);
    const { linkType } = this.interfaces[ring.interfaceId] as CaptureInterface;
    const batch = { bytes, byteLength, packetCount, linkType, interfaceId: ring.interfaceId };
    this.#packets += packetCount;
    this.#bytes += frameBytesOf(batch);
    ring.truncatedPackets = truncatedPackets;
    return batch;
  }

  #ringOptions(interfaceName: string, program: Uint8Array): WorkerOptions {
    const { ringBytes = RING_BYTES_DEFAULT, promiscuous = true, direction = 'both' } = this.#options;
    const wholeBlocks = Math.ceil(ringBytes / RING_BLOCK_BYTES) * RING_BLOCK_BYTES;
    return {
      interfaceName,
      program,
      promiscuous,
      ringBytes: Math.max(RING_BYTES_MIN, wholeBlocks),
      ignoreOutgoing: direction === 'in',
      snapBytes: this.#options.snapBytes ?? PACKET_BYTES_MAX,
      shared: new SharedArrayBuffer(SHARED_BYTES),
    };
  }
}

/** The main thread's end of one ring. */
class Ring {
  readonly interfaceId: number;
  /** Resolves with the link type; rejects with the worker's refusal. */
  readonly opened: Promise<number>;
  readonly exited: Promise<void>;
  interruptions = 0;
  truncatedPackets = 0;
  hasEnded = false;

  readonly #name: string;
  readonly #worker: Worker;
  readonly #queue: BatchQueue<FullBuffer>;
  readonly #events: CaptureEvents;
  readonly #counters: Float64Array;
  readonly #wake: Int32Array;
  readonly #drops: DropReporter;
  readonly #answer = Promise.withResolvers<number>();
  #lostAt = 0;
  #failure: Error | null = null;

  constructor(
    options: WorkerOptions,
    interfaceId: number,
    queue: BatchQueue<FullBuffer>,
    events: CaptureEvents,
  ) {
    this.interfaceId = interfaceId;
    this.#name = options.interfaceName;
    this.#queue = queue;
    this.#events = events;
    this.#counters = new Float64Array(options.shared, 0, WAKE_OFFSET / 8);
    this.#wake = new Int32Array(options.shared, WAKE_OFFSET, 1);
    this.#drops = new DropReporter(options.interfaceName, events);
    // No flags from our command line: the worker needs none, and a test runner's loader would not work in it.
    this.#worker = new Worker(new URL('./afpacket-worker.ts', import.meta.url), {
      workerData: options,
      execArgv: [],
    });
    this.opened = this.#answer.promise;
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end(this.hasEnded ? null : new Error(`the capture thread of ${this.#name} ended by itself`));
        resolve();
      });
    });
    this.#worker.on('message', (message: FromWorker) => {
      this.#take(message);
    });
    this.#worker.on('error', (error: Error) => {
      this.#end(error);
    });
  }

  counter(slot: number): number {
    return this.#counters[slot] as number;
  }

  send(order: ToWorker, transfer: ArrayBuffer[] = []): void {
    if (this.hasEnded) return;
    this.#worker.postMessage(order, transfer);
    Atomics.store(this.#wake, 0, 1);
    Atomics.notify(this.#wake, 0);
  }

  giveBack(buffer: ArrayBuffer): void {
    this.send({ kind: 'buffer', buffer }, [buffer]);
  }

  /** A thread ends by itself only through a bug, which goes up. */
  throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  #take(message: FromWorker): void {
    switch (message.kind) {
      case 'opened':
        this.#answer.resolve(message.linkType);
        return;
      case 'refused':
        this.#answer.reject(new OperatingError(message.code, message.message, message.context));
        this.#end(null);
        return;
      case 'batch':
        this.#queue.push({ ...message, ring: this });
        this.#drops.note(this.counter(COUNTER_DROPPED));
        return;
      case 'lost':
        this.interruptions++;
        this.#lostAt = performance.now();
        this.#events.interfaceLost(this.#name, message.reason);
        return;
      case 'recovered':
        this.#events.interfaceRecovered(this.#name, Math.round(performance.now() - this.#lostAt));
        return;
      case 'ended':
        this.#drops.flush(this.counter(COUNTER_DROPPED));
        this.#end(null);
        return;
      default:
        unreachable(message);
    }
  }

  #end(failure: Error | null): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.#failure = failure;
    if (failure !== null) this.#answer.reject(failure);
    this.#queue.poke();
  }
}
