/**
 * Cuts a stream of chunks into tunnel frames, wherever the chunks were cut.
 *
 * - Total memory: one frame at most, and nothing at all before a header was checked. While `batchesExpected` is false
 *   (a stranger before its handshake) that is 64 KiB.
 * - A frame that lies whole in a chunk is a view of the chunk. One that spans chunks is put together in a buffer that
 *   is kept for the next while it is small (KEPT_BYTES_MAX); so a frame is lent until `push` or `next` is called again.
 * - Any error is final: a stream that lied once has no frame boundaries any more. Later calls throw the same error.
 */
import { assert } from '../base/assert.ts';
import {
  CONTROL_PAYLOAD_BYTES_MAX,
  FRAME_HEADER_BYTES,
  broken,
  frameBytesOf,
  openFrame,
  type Frame,
} from './frame.ts';

/** 1,000 sensors × 128 KiB = 125 MiB. A frame beyond it gets a buffer for itself. */
const KEPT_BYTES_MAX = 128 * 1024;
const FIRST_BYTES = 4 * 1024;
const NOTHING = new Uint8Array(0);

export class FrameDecoder {
  /** False until the peer's handshake was accepted: then only payloads up to 64 KiB are taken. */
  batchesExpected: boolean;

  #chunk: Uint8Array = NOTHING;
  #chunkOffset = 0;
  #kept: Uint8Array = NOTHING;
  /** Where the frame that spans chunks is put together: `#kept`, or a buffer of its own. */
  #pending: Uint8Array = NOTHING;
  #pendingBytes = 0;
  /** Length of the frame in `#pending`, 0 while its header is incomplete. */
  #frameBytes = 0;
  #failure: Error | null = null;

  constructor(batchesExpected: boolean) {
    this.batchesExpected = batchesExpected;
  }

  /** Whether the stream stands between two frames: where an end is a clean one. */
  get atBoundary(): boolean {
    return this.#pendingBytes === 0 && this.#chunkOffset === this.#chunk.byteLength;
  }

  /** Hands in the next bytes. They stay the decoder's until `next()` has returned null. */
  push(chunk: Uint8Array): void {
    assert(this.#chunkOffset === this.#chunk.byteLength, 'the decoder still has frames of the last chunk');
    this.#chunk = chunk;
    this.#chunkOffset = 0;
  }

  /** The next whole frame, or null when more bytes are needed. Throws `OperatingError('TUNNEL_PROTOCOL')`. */
  next(): Frame | null {
    if (this.#failure !== null) throw this.#failure;
    try {
      const bytes = this.#nextBytes();
      return bytes === null ? null : openFrame(bytes);
    } catch (error) {
      this.#failure = error as Error;
      this.#chunk = this.#kept = this.#pending = NOTHING;
      this.#chunkOffset = this.#pendingBytes = this.#frameBytes = 0;
      throw error;
    }
  }

  #nextBytes(): Uint8Array | null {
    if (this.#pendingBytes > 0) return this.#continuePending();
    const chunk = this.#chunk;
    const offset = this.#chunkOffset;
    const available = chunk.byteLength - offset;
    if (available >= FRAME_HEADER_BYTES) {
      const frameBytes = this.#checkedFrameBytes(chunk, offset);
      if (available >= frameBytes) {
        this.#chunkOffset = offset + frameBytes;
        return chunk.subarray(offset, offset + frameBytes);
      }
    }
    return available === 0 ? null : this.#continuePending();
  }

  #continuePending(): Uint8Array | null {
    if (this.#frameBytes === 0) {
      if (this.#kept.byteLength === 0) this.#kept = Buffer.allocUnsafeSlow(FIRST_BYTES);
      if (this.#pendingBytes === 0) this.#pending = this.#kept;
      if (!this.#fill(FRAME_HEADER_BYTES)) return null;
      this.#frameBytes = this.#checkedFrameBytes(this.#pending, 0);
      this.#makeRoom(this.#frameBytes);
    }
    if (!this.#fill(this.#frameBytes)) return null;
    const frame = this.#pending.subarray(0, this.#frameBytes);
    this.#pending = NOTHING;
    this.#pendingBytes = this.#frameBytes = 0;
    return frame;
  }

  #checkedFrameBytes(bytes: Uint8Array, offset: number): number {
    const frameBytes = frameBytesOf(bytes, offset);
    if (!this.batchesExpected && frameBytes > FRAME_HEADER_BYTES + CONTROL_PAYLOAD_BYTES_MAX)
      throw broken('length', 'a large frame came before the handshake', { frameBytes });
    return frameBytes;
  }

  /** Copies from the chunk until `#pending` holds `target` bytes; false when the chunk ended before. */
  #fill(target: number): boolean {
    const taken = Math.min(target - this.#pendingBytes, this.#chunk.byteLength - this.#chunkOffset);
    if (taken > 0) {
      const end = this.#chunkOffset + taken;
      this.#pending.set(this.#chunk.subarray(this.#chunkOffset, end), this.#pendingBytes);
      this.#chunkOffset = end;
      this.#pendingBytes += taken;
    }
    return this.#pendingBytes === target;
  }

  #makeRoom(frameBytes: number): void {
    if (frameBytes <= this.#pending.byteLength) return;
    // Doubling, so that a slow rise of batch sizes does not allocate every time.
    const bytes = frameBytes > KEPT_BYTES_MAX ? frameBytes : 2 ** Math.ceil(Math.log2(frameBytes));
    const larger = Buffer.allocUnsafeSlow(bytes);
    larger.set(this.#pending.subarray(0, this.#pendingBytes));
    this.#pending = larger;
    if (frameBytes <= KEPT_BYTES_MAX) this.#kept = larger;
  }
}
