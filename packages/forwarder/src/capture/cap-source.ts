/**
 * The portable driver: live capture through the npm package `cap` (libpcap), for systems without AF_PACKET. One child
 * process for each interface.
 *
 * Its limits, which no care here can lift, against the `afpacket` driver:
 * - `cap` hands out no timestamps: a packet is stamped when the child sees it, in microseconds, some milliseconds late
 *   under load, and packets that waited together get times close together;
 * - it hands out no original length: a frame longer than libpcap's 65,535 bytes is recorded as if it were whole;
 * - it reads no statistics: what libpcap's buffer could not hold is lost without a count. Only what found no room between
 *   the child and us is counted;
 * - it makes one call into JavaScript for each packet: a few hundred thousand small packets a second are too many;
 * - it aborts when the interface goes down, and takes with it up to BATCH_LINGER_MS of packets, uncounted. The child is
 *   started again until the interface is back.
 */
import { fork, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { assert, unreachable } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { BatchQueue } from './batch-queue.ts';
import { CapPipeReader, type PipedBatch } from './cap-pipe.ts';
import { CAP_PIPE, type CapChildOptions, type FromCapChild, type ToCapChild } from './cap-protocol.ts';
import type {
  CapOptions,
  CaptureCounters,
  CaptureDependencies,
  CaptureEvents,
  CaptureInterface,
  CaptureSource,
} from './capture-source.ts';
import { DropReporter } from './drop-reporter.ts';
import { interfaceDrops } from './interface-drops.ts';
import { frameBytesOf, truncatedIn } from './record-count.ts';

const BUFFER_BYTES_DEFAULT = 64 * 1024 * 1024;
/** Batches that may wait here; then the pipe fills up, and behind it the child drops and counts. × 1 MiB. */
const WAITING_MAX = 8;
/** A dead child is replaced after this long, then twice as long, up to the second number. */
const RESTART_MS_FIRST = 250;
const RESTART_MS_MAX = 5000;
/** How long a child may take to hand out what it has before it is killed. */
const DRAIN_MS_MAX = 5000;

type WaitingBatch = PipedBatch & { readonly child: CapChild };

export class CapSource implements CaptureSource {
  readonly interfaces: CaptureInterface[] = [];

  readonly #options: CapOptions;
  readonly #events: CaptureEvents;
  readonly #queue = new BatchQueue<WaitingBatch>();
  readonly #children: CapChild[] = [];
  #interfaceDropsBefore = 0;
  #packets = 0;
  #bytes = 0;
  #truncatedPackets = 0;
  #iterated = false;

  constructor(options: CapOptions, dependencies: CaptureDependencies) {
    assert(options.interfaces.length > 0, 'a live capture names an interface');
    this.#options = options;
    this.#events = dependencies.events;
  }

  async open(): Promise<void> {
    const { interfaces, filter = '', snapBytes = PACKET_BYTES_MAX } = this.#options;
    const { bufferBytes = BUFFER_BYTES_DEFAULT } = this.#options;
    this.#interfaceDropsBefore = interfaceDrops(interfaces);
    try {
      for (const [interfaceId, interfaceName] of interfaces.entries()) {
        const options = { interfaceName, filter, snapBytes, bufferBytes };
        const child = new CapChild(options, interfaceId, this.#queue, this.#events);
        this.#children.push(child);
        this.interfaces.push({ name: interfaceName, linkType: await child.opened });
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
      for (const child of this.#children) child.drain();
    };
    signal.addEventListener('abort', drain, { once: true });
    if (signal.aborted) drain();
    try {
      for (;;) {
        const waiting = this.#queue.shift();
        if (waiting !== undefined) {
          waiting.child.taken();
          yield this.#lend(waiting);
        } else if (this.#children.every((child) => child.hasEnded)) return;
        else await this.#queue.wait();
      }
    } finally {
      signal.removeEventListener('abort', drain);
    }
  }

  counters(): CaptureCounters {
    const waiting = this.#children.reduce((total, child) => total + child.receivedPackets, 0) - this.#packets;
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      truncatedPackets: this.#truncatedPackets,
      filteredPackets: 0,
      kernelDroppedPackets: this.#children.reduce((total, child) => total + child.droppedPackets, 0),
      kernelFreezes: 0,
      interfaceDroppedPackets: Math.max(
        0,
        interfaceDrops(this.#options.interfaces) - this.#interfaceDropsBefore,
      ),
      abandonedPackets: this.#children.every((child) => child.hasEnded) ? waiting : 0,
      interruptions: this.#children.reduce((total, child) => total + child.interruptions, 0),
    };
  }

  progress(): null {
    return null;
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
  }

  #lend({ bytes, packetCount, child }: WaitingBatch): Batch {
    const { linkType } = this.interfaces[child.interfaceId] as CaptureInterface;
    const { interfaceId } = child;
    const batch = { bytes, byteLength: bytes.byteLength, packetCount, linkType, interfaceId };
    this.#packets += packetCount;
    this.#bytes += frameBytesOf(batch);
    this.#truncatedPackets += truncatedIn(batch);
    return batch;
  }
}

/** One interface's process, and its successors after it died. */
class CapChild {
  readonly interfaceId: number;
  /** Resolves with the link type; rejects with the first child's refusal. */
  readonly opened: Promise<number>;
  interruptions = 0;
  receivedPackets = 0;
  hasEnded = false;

  readonly #options: CapChildOptions;
  readonly #queue: BatchQueue<WaitingBatch>;
  readonly #events: CaptureEvents;
  readonly #drops: DropReporter;
  readonly #answer = Promise.withResolvers<number>();
  readonly #gone = Promise.withResolvers<void>();
  #process: ChildProcess | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  #restartMs = RESTART_MS_FIRST;
  #wasOpen = false;
  #stopping = false;
  #lostAt = -1;
  #waiting = 0;
  #droppedByOthers = 0;
  #droppedByThis = 0;

  constructor(
    options: CapChildOptions,
    interfaceId: number,
    queue: BatchQueue<WaitingBatch>,
    events: CaptureEvents,
  ) {
    this.#options = options;
    this.interfaceId = interfaceId;
    this.#queue = queue;
    this.#events = events;
    this.#drops = new DropReporter(options.interfaceName, events);
    this.opened = this.#answer.promise;
    this.#start();
  }

  get droppedPackets(): number {
    return this.#droppedByOthers + this.#droppedByThis;
  }

  /** The reader took a batch of ours: there is room for another. */
  taken(): void {
    if (--this.#waiting < WAITING_MAX) this.#pipe?.resume();
  }

  /** Takes in nothing new; what the child has still comes. */
  drain(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#process === null) return this.#end();
    const order: ToCapChild = { kind: 'drain' };
    this.#process.send(order, () => undefined);
    setTimeout(() => this.#process?.kill('SIGKILL'), DRAIN_MS_MAX).unref();
  }

  async kill(): Promise<void> {
    this.#stopping = true;
    if (this.#process === null) this.#end();
    else {
      this.#process.kill('SIGKILL');
      // A pipe that waits for a reader who left would never report its end.
      this.#pipe?.resume();
    }
    await this.#gone.promise;
  }

  get #pipe(): Readable | null {
    return (this.#process?.stdio[CAP_PIPE] as Readable | null | undefined) ?? null;
  }

  #start(): void {
    this.#restartTimer = null;
    const child = fork(
      fileURLToPath(new URL('./cap-child.ts', import.meta.url)),
      [JSON.stringify(this.#options)],
      {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'ipc'],
      },
    );
    this.#process = child;
    const reader = new CapPipeReader((batch) => {
      this.#take(batch);
    });
    this.#pipe?.on('data', (chunk: Buffer) => {
      reader.push(chunk);
    });
    child.on('message', (message: FromCapChild) => {
      this.#hear(message);
    });
    let refusal = '';
    child.on('error', (error) => (refusal = error.message));
    // `close`, not `exit`: by then the pipe has been read to its end.
    child.on('close', (code, signal) => {
      this.#lose(refusal || (signal ?? `exit ${String(code)}`));
    });
  }

  #hear(message: FromCapChild): void {
    switch (message.kind) {
      case 'opened':
        this.#wasOpen = true;
        this.#restartMs = RESTART_MS_FIRST;
        this.#answer.resolve(message.linkType);
        if (this.#lostAt >= 0) {
          const { interfaceName } = this.#options;
          this.#events.interfaceRecovered(interfaceName, Math.round(performance.now() - this.#lostAt));
          this.#lostAt = -1;
        }
        return;
      case 'refused':
        // After a restart this only means that the interface is not back yet.
        this.#answer.reject(new OperatingError(message.code, message.message, message.context));
        return;
      default:
        unreachable(message);
    }
  }

  #take(batch: PipedBatch): void {
    this.#droppedByThis = batch.droppedPackets;
    this.#drops.note(this.droppedPackets);
    this.receivedPackets += batch.packetCount;
    this.#waiting++;
    if (this.#waiting >= WAITING_MAX) this.#pipe?.pause();
    this.#queue.push({ ...batch, child: this });
  }

  #lose(reason: string): void {
    this.#process = null;
    this.#droppedByOthers += this.#droppedByThis;
    this.#droppedByThis = 0;
    if (this.#stopping || !this.#wasOpen) return this.#end();
    if (this.#lostAt < 0) {
      this.interruptions++;
      this.#lostAt = performance.now();
      this.#events.interfaceLost(this.#options.interfaceName, reason);
    }
    this.#restartTimer = setTimeout(() => {
      this.#start();
    }, this.#restartMs);
    this.#restartMs = Math.min(RESTART_MS_MAX, this.#restartMs * 2);
  }

  #end(): void {
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    this.#drops.flush(this.droppedPackets);
    this.hasEnded = true;
    this.#answer.reject(
      new OperatingError('CAPTURE_FAILED', `the capture process of ${this.#options.interfaceName} ended`),
    );
    this.#gone.resolve();
    this.#queue.poke();
  }
}
