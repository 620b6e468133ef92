/**
 * Memory for packets that wait for their write. Buffers come in powers of two, are lent and given back, and all of them
 * together stay within one budget; a segment that waits for nothing holds nothing. So ten thousand slow sources cost
 * 10,000 × 2 KiB while they have a packet pending, and two hundred fast ones get 64 KiB each.
 *
 * One pool may serve several archives. It never blocks: it says no, and the archive writes out what it has. Besides the
 * budget it keeps up to a quarter of it in buffers that were given back, because allocating costs more than filling.
 */

/** Smallest: a file header and one full Ethernet frame, or a dozen polls of a PLC. */
export const BUFFER_BYTES_MIN = 2048;

const CLASS_MIN = 11; // 2^11 = BUFFER_BYTES_MIN
const CLASS_COUNT = 20; // up to 1 GiB; the largest record needs 512 KiB, a segment that the disk refuses as much as is allowed

export class PacketBuffer {
  readonly bytes: Buffer;
  /** The same memory, for unaligned 8-byte moves. */
  readonly view: DataView;
  readonly byteLength: number;

  constructor(byteLength: number) {
    // Not zeroed, and not a slice of Node's shared pool: every byte is written before it is read.
    this.bytes = Buffer.allocUnsafeSlow(byteLength);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, byteLength);
    this.byteLength = byteLength;
  }
}

export class BufferPool {
  readonly bytesMax: number;
  /** Lent out. */
  bytesUsed = 0;
  #bytesFree = 0;
  readonly #free: PacketBuffer[][] = Array.from({ length: CLASS_COUNT }, () => []);

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /**
   * A buffer of at least `byteLength` bytes, or null when that would break the budget. With `force` it breaks it: for
   * the one buffer without which nothing moves at all, which is given back within the same call.
   */
  take(byteLength: number, force = false): PacketBuffer | null {
    const index = classOf(byteLength);
    const size = 2 ** (CLASS_MIN + index);
    if (!force && this.bytesUsed + size > this.bytesMax) return null;
    this.bytesUsed += size;
    const free = this.#free[index]?.pop();
    if (free !== undefined) {
      this.#bytesFree -= size;
      return free;
    }
    return new PacketBuffer(size);
  }

  /** More than half of the budget is lent out. */
  get isShort(): boolean {
    return this.bytesUsed * 2 > this.bytesMax;
  }

  give(buffer: PacketBuffer): void {
    this.bytesUsed -= buffer.byteLength;
    if (this.#bytesFree + buffer.byteLength > this.bytesMax / 4) this.#trim();
    this.#bytesFree += buffer.byteLength;
    this.#free[classOf(buffer.byteLength)]?.push(buffer);
  }

  /** Hands free buffers of the wrong sizes back to the system, and with them the right ones. */
  #trim(): void {
    for (const buffers of this.#free) buffers.length = 0;
    this.#bytesFree = 0;
  }
}

function classOf(byteLength: number): number {
  return Math.max(0, 32 - Math.clz32(byteLength - 1) - CLASS_MIN);
}
