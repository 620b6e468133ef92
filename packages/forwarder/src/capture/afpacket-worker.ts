/**
 * The thread of one ring: waits for blocks in `poll`, copies them into batch buffers and posts those to the main thread.
 * It never returns to its event loop; orders are fetched between two polls. `afpacket-source.ts` is the other end.
 *
 * When a batch is posted: when the next block does not fit any more, or when the ring is empty and the main thread has
 * fewer than POSTED_MAX to do. So a quiet network's packets wait for RING_RETIRE_MS only, and the slower the main thread,
 * the fuller the batches it gets.
 *
 * What must stay true: a block goes back to the kernel only after its bytes were copied; every packet the kernel counted as
 * received is posted, or dropped by the kernel, or reported as left behind at the end.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { assert, unreachable } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { BATCH_BYTES_MAX } from '@tapline/shared/packet/batch.ts';
import {
  BATCH_BUFFERS_MAX,
  COUNTER_DROPPED,
  COUNTER_FREEZES,
  COUNTER_RECEIVED,
  WAKE_OFFSET,
  type FromWorker,
  type ToWorker,
  type WorkerOptions,
} from './afpacket-protocol.ts';
import { PacketSocket } from './packet-socket.ts';
import { RingReader } from './ring-loop.ts';

/** Bound on how late an order is seen and on how long an idle thread sleeps. */
const POLL_MS = 50;
/** While a batch waits for the main thread to have time for it. */
const POLL_POSTPONED_MS = 5;
const STATISTICS_INTERVAL_MS = 250;
/** How often a lost interface is looked for. */
const RECOVERY_INTERVAL_MS = 250;
/** Batches beyond this many wait in the worker and grow instead. */
const POSTED_MAX = 2;
/** The filter that rejects everything is in force for packets that the kernel is handling right now after this long at the latest. */
const DRAIN_SETTLE_MS = 10;
/** Many times RING_RETIRE_MS: then the kernel's count cannot be reached any more. Restarts with every block and buffer. */
const DRAIN_PATIENCE_MS = 2000;

assert(parentPort !== null, 'runs as a worker');
const port = parentPort;
const options = workerData as WorkerOptions;
const counters = new Float64Array(options.shared, 0, WAKE_OFFSET / 8);
const wake = new Int32Array(options.shared, WAKE_OFFSET, 1);
const tell = (message: FromWorker, transfer: ArrayBuffer[] = []): void => {
  port.postMessage(message, transfer);
};

class RingThread {
  readonly #socket: PacketSocket;
  readonly #reader: RingReader;
  readonly #statistics = { received: 0, dropped: 0, freezes: 0 };
  readonly #free: ArrayBuffer[] = Array.from(
    { length: BATCH_BUFFERS_MAX },
    () => new ArrayBuffer(BATCH_BYTES_MAX),
  );
  #batch: Uint8Array<ArrayBuffer> | null = null;
  #batchBytes = 0;
  #batchPackets = 0;
  #statisticsAt = 0;
  #lostAt = -1;
  #soughtAt = 0;
  #state: 'capture' | 'drain' | 'close' = 'capture';
  #drainedAt = 0;
  #progressAt = 0;

  constructor(socket: PacketSocket) {
    this.#socket = socket;
    this.#reader = new RingReader(socket.ring, socket.linkType, options.snapBytes);
  }

  run(): void {
    for (;;) {
      this.#takeOrders();
      if (this.#state === 'close') break;
      const starved = this.#empty();
      const now = performance.now();
      if (now - this.#statisticsAt >= STATISTICS_INTERVAL_MS) this.#readStatistics(now);
      if (this.#state === 'drain' && !starved && this.#isDrained(now)) break;
      if (this.#lostAt >= 0) this.#seek(now);
      this.#wait(starved);
    }
    if (this.#state === 'drain' && this.#batchPackets > 0) this.#post();
    this.#readStatistics(performance.now());
    tell({ kind: 'ended', leftPackets: this.#missing() });
  }

  /** Moves every ready block into batches. True when it had to stop because no buffer was free. */
  #empty(): boolean {
    for (;;) {
      const blockBytes = this.#reader.readyBytes();
      if (blockBytes === 0) break;
      if (this.#batch !== null && this.#batchBytes + blockBytes > BATCH_BYTES_MAX) this.#post();
      if (this.#batch === null) {
        const buffer = this.#free.pop();
        if (buffer === undefined) return true;
        this.#batch = new Uint8Array(buffer);
      }
      this.#batchPackets += this.#reader.readyPackets();
      this.#batchBytes = this.#reader.copyBlock(this.#batch, this.#batchBytes);
      this.#progressAt = performance.now();
    }
    if (this.#batchPackets > 0 && this.#posted() < POSTED_MAX) this.#post();
    return false;
  }

  #posted(): number {
    return BATCH_BUFFERS_MAX - this.#free.length - (this.#batch === null ? 0 : 1);
  }

  #post(): void {
    if (this.#batch === null) return;
    const { buffer } = this.#batch;
    const { truncatedPackets } = this.#reader;
    const byteLength = this.#batchBytes;
    tell({ kind: 'batch', buffer, byteLength, packetCount: this.#batchPackets, truncatedPackets }, [buffer]);
    this.#batch = null;
    this.#batchBytes = 0;
    this.#batchPackets = 0;
  }

  #wait(starved: boolean): void {
    if (starved) {
      // The socket stays readable as long as we leave blocks in it: sleep on the return of a buffer instead.
      Atomics.wait(wake, 0, 0, POLL_MS);
      return;
    }
    const drainPollMs = this.#state === 'drain' ? DRAIN_SETTLE_MS : POLL_MS;
    const timeoutMs = this.#batchPackets > 0 ? POLL_POSTPONED_MS : drainPollMs;
    if (this.#socket.poll(timeoutMs) === 'error') this.#lose(this.#socket.takeError());
  }

  #takeOrders(): void {
    Atomics.store(wake, 0, 0);
    for (;;) {
      const order = (receiveMessageOnPort(port) as { message: ToWorker } | undefined)?.message;
      if (order === undefined) return;
      switch (order.kind) {
        case 'buffer':
          this.#free.push(order.buffer);
          this.#progressAt = performance.now();
          break;
        case 'drain':
          this.#state = 'drain';
          this.#drainedAt = this.#progressAt = performance.now();
          this.#socket.rejectAll();
          break;
        case 'close':
          this.#state = 'close';
          return;
        default:
          unreachable(order);
      }
    }
  }

  /** Everything the kernel counted has come out: the only sure sign, as the last block is ours only after its timeout. */
  #isDrained(now: number): boolean {
    if (now - this.#drainedAt < DRAIN_SETTLE_MS) return false;
    this.#readStatistics(now);
    return this.#missing() === 0 || now - this.#progressAt > DRAIN_PATIENCE_MS;
  }

  #missing(): number {
    const received = counters[COUNTER_RECEIVED] as number;
    return received - (counters[COUNTER_DROPPED] as number) - this.#reader.packets;
  }

  #readStatistics(now: number): void {
    this.#statisticsAt = now;
    this.#socket.takeStatistics(this.#statistics);
    const { received, dropped, freezes } = this.#statistics;
    if (received === 0 && freezes === 0) return;
    counters[COUNTER_RECEIVED] = (counters[COUNTER_RECEIVED] as number) + received;
    counters[COUNTER_DROPPED] = (counters[COUNTER_DROPPED] as number) + dropped;
    counters[COUNTER_FREEZES] = (counters[COUNTER_FREEZES] as number) + freezes;
  }

  /** The socket reports an error once; afterwards it is silent until the interface is back or we bind it anew. */
  #lose(reason: string): void {
    if (reason === '' || this.#lostAt >= 0) return;
    this.#lostAt = performance.now();
    this.#soughtAt = 0;
    tell({ kind: 'lost', reason });
  }

  #seek(now: number): void {
    if (now - this.#soughtAt < RECOVERY_INTERVAL_MS) return;
    this.#soughtAt = now;
    if (!this.#socket.isUp()) return;
    try {
      this.#socket.bind();
    } catch (error) {
      if (error instanceof OperatingError) return;
      throw error;
    }
    // Binding to an interface that went down in this moment succeeds, and says so here.
    if (this.#socket.takeError() !== '') return;
    this.#lostAt = -1;
    tell({ kind: 'recovered' });
  }
}

/** The socket, or null after the main thread was told why not. */
function openSocket(): PacketSocket | null {
  try {
    return PacketSocket.open(options);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    const { code, message, context } = error;
    tell({ kind: 'refused', code, message, context });
    return null;
  }
}

const socket = openSocket();
if (socket !== null) {
  tell({ kind: 'opened', linkType: socket.linkType });
  try {
    new RingThread(socket).run();
  } finally {
    socket.close();
  }
}
// The port would keep this thread alive.
port.close();
