/**
 * The hot loop of live capture: copies the packets of one ring block as records into a batch buffer, with the VLAN tag
 * put back that the kernel took out, and the length cut to the snapshot length after that.
 *
 * A block always fits where its own length fits: a packet's header in the ring is at least 48 bytes, a record's is 16
 * and the tag is 4. So there is no check per packet, and a block is never split between two batches.
 *
 * Measured on one core of a virtual machine: 0.10 µs for a 60-byte packet, 0.14 µs for a 200-byte one. Copying by
 * `set(subarray())` costs 27 ns whatever the length up to 200 bytes; a byte loop costs that at 36 bytes and 45 ns at 60.
 */
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  writeU32,
} from '@tapline/shared/packet/record.ts';
import {
  BLOCK_BYTES,
  BLOCK_FIRST_PACKET,
  BLOCK_PACKET_COUNT,
  BLOCK_STATUS,
  PACKET_CAPTURED_BYTES,
  PACKET_NANOSECONDS,
  PACKET_NEXT,
  PACKET_OFFSETS,
  PACKET_ORIGINAL_BYTES,
  PACKET_SECONDS,
  PACKET_STATUS,
  PACKET_VLAN_TCI,
  PACKET_VLAN_TPID,
  RING_BLOCK_BYTES,
  TP_STATUS_KERNEL,
  TP_STATUS_USER,
  TP_STATUS_VLAN_TPID_VALID,
  TP_STATUS_VLAN_VALID,
  TPID_8021Q,
  VLAN_TAG_BYTES,
  VLAN_TAG_OFFSET,
} from './ring-format.ts';

export class RingReader {
  /** Packets copied since the start. */
  packets = 0;
  /** Of those, packets that are shorter in the batch than on the wire. */
  truncatedPackets = 0;

  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #statuses: Int32Array;
  readonly #snapBytes: number;
  readonly #tagged: boolean;
  /** Start of the block whose turn it is: the kernel fills them in order. */
  #block = 0;

  /** `ring` is whole blocks, every one of them the kernel's. */
  constructor(ring: ArrayBuffer, linkType: number, snapBytes: number) {
    this.#bytes = new Uint8Array(ring);
    this.#words = new Uint32Array(ring);
    this.#statuses = new Int32Array(ring);
    this.#snapBytes = snapBytes;
    // Without a link-layer header there is no place for a tag.
    this.#tagged = linkType === LINKTYPE_ETHERNET;
  }

  /** Bytes of room that the next block needs in a batch, or 0 while the kernel still has it. */
  readyBytes(): number {
    // Atomic, because what the kernel wrote before it set the status must be seen after we saw it, on arm64 too.
    const status = Atomics.load(this.#statuses, (this.#block + BLOCK_STATUS) >> 2);
    if ((status & TP_STATUS_USER) === 0) return 0;
    return this.#words[(this.#block + BLOCK_BYTES) >> 2] as number;
  }

  /** Packets in the block that `readyBytes` announced. */
  readyPackets(): number {
    return this.#words[(this.#block + BLOCK_PACKET_COUNT) >> 2] as number;
  }

  /** Appends the ready block's records to `batch` at `to`, gives the block back to the kernel, returns the end. */
  copyBlock(batch: Uint8Array, to: number): number {
    const end = this.#copyPackets(batch, to, this.readyPackets());
    Atomics.store(this.#statuses, (this.#block + BLOCK_STATUS) >> 2, TP_STATUS_KERNEL);
    this.#block += RING_BLOCK_BYTES;
    if (this.#block === this.#bytes.byteLength) this.#block = 0;
    return end;
  }

  #copyPackets(batch: Uint8Array, start: number, packetCount: number): number {
    const bytes = this.#bytes;
    const words = this.#words;
    const snapBytes = this.#snapBytes;
    const tagged = this.#tagged;
    let packet = this.#block + (words[(this.#block + BLOCK_FIRST_PACKET) >> 2] as number);
    let to = start;
    let truncated = 0;
    for (let left = packetCount; left > 0; left--) {
      let capturedBytes = words[(packet + PACKET_CAPTURED_BYTES) >> 2] as number;
      let originalBytes = words[(packet + PACKET_ORIGINAL_BYTES) >> 2] as number;
      const status = words[(packet + PACKET_STATUS) >> 2] as number;
      const frame = packet + ((words[(packet + PACKET_OFFSETS) >> 2] as number) & 0xffff);
      writeU32(batch, to, words[(packet + PACKET_SECONDS) >> 2] as number);
      writeU32(batch, to + RECORD_NANOSECONDS, words[(packet + PACKET_NANOSECONDS) >> 2] as number);
      const body = to + RECORD_HEADER_BYTES;
      if ((status & TP_STATUS_VLAN_VALID) !== 0 && tagged && capturedBytes >= VLAN_TAG_OFFSET) {
        const tpid =
          (status & TP_STATUS_VLAN_TPID_VALID) !== 0
            ? (words[(packet + PACKET_VLAN_TPID) >> 2] as number) & 0xffff
            : TPID_8021Q;
        const tci = words[(packet + PACKET_VLAN_TCI) >> 2] as number;
        for (let i = 0; i < VLAN_TAG_OFFSET; i++) batch[body + i] = bytes[frame + i] as number;
        batch[body + 12] = tpid >>> 8;
        batch[body + 13] = tpid;
        batch[body + 14] = tci >>> 8;
        batch[body + 15] = tci;
        batch.set(bytes.subarray(frame + VLAN_TAG_OFFSET, frame + capturedBytes), body + 16);
        capturedBytes += VLAN_TAG_BYTES;
        originalBytes += VLAN_TAG_BYTES;
        if (capturedBytes > snapBytes) capturedBytes = snapBytes;
      } else {
        batch.set(bytes.subarray(frame, frame + capturedBytes), body);
      }
      writeU32(batch, to + RECORD_CAPTURED_BYTES, capturedBytes);
      writeU32(batch, to + RECORD_ORIGINAL_BYTES, originalBytes);
      if (capturedBytes < originalBytes) truncated++;
      to = body + capturedBytes;
      packet += words[(packet + PACKET_NEXT) >> 2] as number;
    }
    this.packets += packetCount;
    this.truncatedPackets += truncated;
    return to;
  }
}
