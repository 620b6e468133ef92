/**
 * Reads the blocks of a pcapng file and turns its packet blocks, in place, into records. Sections may change the byte
 * order, and each has its own interfaces; `interfaces` is the row of all of them.
 *
 * Order and interfaces. The packets of a file leave in the order of the file, always: a router seen from two sides puts
 * one source on two interfaces, and sorting packets into a batch per interface would mix up that source's packets.
 * A batch has one interface, so it ends where the interface changes; but where interfaces alternate (runs shorter than
 * RUN_PACKETS_MIN) that would make batches of one packet. Such runs, if of one link type, share a batch under a *mixed*
 * interface, added to the row when first needed: same link type, name `several`. A change of link type always ends the batch.
 *
 * Bounded whatever the file says: blocks we must see whole have a limit, others are skipped as they stream by.
 */
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  writeU32,
} from '../packet/record.ts';
import type { CaptureInterface, CaptureRemarks, RecordParser } from './format.ts';
import {
  BLOCK_BYTES_MIN,
  BLOCK_INTERFACE,
  BLOCK_PACKET,
  BLOCK_PACKET_OLD,
  BLOCK_PACKET_SIMPLE,
  BLOCK_SECTION,
  BYTE_ORDER_MAGIC,
  INTERFACES_MAX,
  readFieldU16,
  readFieldU32,
} from './format.ts';
import { parseInterface } from './pcapng-interface.ts';
import type { TimeUnit } from './record-time.ts';

/** Largest section, interface or packet block: the largest packet and 64 KiB − 64 of options. */
export const BLOCK_BYTES_MAX = PACKET_BYTES_MAX + 65_536;

/** From this length on a run of one interface is a batch of its own: 32 × ~100 ns outweigh what handing out a batch costs. */
export const RUN_PACKETS_MIN = 32;

const PACKET_HEADER_BYTES = 28;
const SIMPLE_HEADER_BYTES = 12;
const TRAILER_BYTES = 4;

interface Described {
  readonly linkType: number;
  readonly snapBytes: number;
  readonly time: TimeUnit;
}

export class PcapngParser implements RecordParser {
  /** Grows while reading: interface description blocks of all sections, and mixed interfaces. */
  readonly interfaces: CaptureInterface[] = [];
  linkType = 0;
  interfaceId = 0;
  batchStart = 0;
  batchEnd = 0;
  packetCount = 0;
  damage: string | null = null;

  #bigEndian = false;
  /** Per entry of `interfaces`. */
  readonly #described: Described[] = [];
  /** Where the interfaces of the current section start, by their number in it. */
  #sectionInterfaces: number[] = [];
  readonly #mixedByLinkType = new Map<number, number>();
  /** Rest of a block that is being skipped, without its trailer, and the length the trailer must repeat; -1: none. */
  #skipBytes = -1;
  #skipTotalBytes = 0;
  readonly #remarks: CaptureRemarks;

  constructor(remarks: CaptureRemarks) {
    this.#remarks = remarks;
  }

  parse(bytes: Uint8Array, start: number, end: number): number {
    this.batchStart = start;
    this.batchEnd = start;
    this.packetCount = 0;
    let at = start;
    for (;;) {
      const next = this.#skipBytes >= 0 ? this.#skip(bytes, at, end) : this.#parseBlock(bytes, at, end);
      // Nothing consumed: more input is needed, the batch is complete, or damage is set.
      if (next === at) return at;
      at = next;
    }
  }

  endDamage(bytes: Uint8Array, start: number, end: number): string | null {
    const present = end - start;
    if (this.#skipBytes >= 0)
      return `the file ends inside a block: ${this.#skipTotalBytes - this.#skipBytes - TRAILER_BYTES + present} of its ${this.#skipTotalBytes} bytes are there`;
    if (present === 0) return null;
    if (present < BLOCK_BYTES_MIN) return `the file ends inside a block header: ${present} bytes are there`;
    const totalBytes = readFieldU32(bytes, start + 4, this.#bigEndian);
    return `the file ends inside a block: ${present} of its ${totalBytes} bytes are there`;
  }

  #parseBlock(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < BLOCK_BYTES_MIN) return at;
    const type = readFieldU32(bytes, at, this.#bigEndian);
    if (type === BLOCK_SECTION && !this.#readByteOrder(bytes, at)) return at;
    const totalBytes = readFieldU32(bytes, at + 4, this.#bigEndian);
    if (totalBytes < BLOCK_BYTES_MIN)
      return this.#fail(at, `a block length of ${totalBytes} is below the least, 12`);
    if (totalBytes % 4 !== 0) return this.#fail(at, `a block length of ${totalBytes} is not a multiple of 4`);
    if (!isRead(type)) {
      this.#remarks.blocksSkipped++;
      this.#skipTotalBytes = totalBytes;
      this.#skipBytes = totalBytes - BLOCK_BYTES_MIN;
      return at + BLOCK_BYTES_MIN - TRAILER_BYTES;
    }
    if (totalBytes > BLOCK_BYTES_MAX)
      return this.#fail(at, `a block length of ${totalBytes} is beyond the limit, ${BLOCK_BYTES_MAX}`);
    if (end - at < totalBytes) return at;
    const trailer = readFieldU32(bytes, at + totalBytes - TRAILER_BYTES, this.#bigEndian);
    if (trailer !== totalBytes)
      return this.#fail(at, `a block says ${totalBytes} bytes at its start and ${trailer} at its end`);
    return this.#readBlock(type, bytes, at, totalBytes);
  }

  #readBlock(type: number, bytes: Uint8Array, at: number, totalBytes: number): number {
    switch (type) {
      case BLOCK_PACKET:
        return this.#readPacket(readFieldU32(bytes, at + 8, this.#bigEndian), bytes, at, totalBytes);
      case BLOCK_PACKET_OLD:
        return this.#readPacket(readFieldU16(bytes, at + 8, this.#bigEndian), bytes, at, totalBytes);
      case BLOCK_PACKET_SIMPLE:
        return this.#readSimplePacket(bytes, at, totalBytes);
      case BLOCK_INTERFACE:
        return this.#readInterface(bytes, at, totalBytes);
      default:
        return this.#readSection(bytes, at, totalBytes);
    }
  }

  #skip(bytes: Uint8Array, at: number, end: number): number {
    const step = Math.min(this.#skipBytes, end - at);
    if (step > 0) {
      this.#skipBytes -= step;
      return at + step;
    }
    if (end - at < TRAILER_BYTES) return at;
    const trailer = readFieldU32(bytes, at, this.#bigEndian);
    if (trailer !== this.#skipTotalBytes)
      return this.#fail(
        at,
        `a block says ${this.#skipTotalBytes} bytes at its start and ${trailer} at its end`,
      );
    this.#skipBytes = -1;
    return at + TRAILER_BYTES;
  }

  #readByteOrder(bytes: Uint8Array, at: number): boolean {
    if (readFieldU32(bytes, at + 8, false) === BYTE_ORDER_MAGIC) this.#bigEndian = false;
    else if (readFieldU32(bytes, at + 8, true) === BYTE_ORDER_MAGIC) this.#bigEndian = true;
    else {
      this.damage = `a section header has no byte-order magic but ${readFieldU32(bytes, at + 8, true)
        .toString(16)
        .padStart(8, '0')}`;
      return false;
    }
    return true;
  }

  #readSection(bytes: Uint8Array, at: number, totalBytes: number): number {
    if (totalBytes < 28) return this.#fail(at, `a section header of ${totalBytes} bytes is shorter than 28`);
    const major = readFieldU16(bytes, at + 12, this.#bigEndian);
    const minor = readFieldU16(bytes, at + 14, this.#bigEndian);
    // 1.2 was written by a few tools and means 1.0.
    if (major !== 1) return this.#fail(at, `pcapng version ${major}.${minor} is not known`);
    if (minor !== 0 && minor !== 2) this.#remarks.versionUnknown++;
    this.#sectionInterfaces = [];
    return at + totalBytes;
  }

  #readInterface(bytes: Uint8Array, at: number, totalBytes: number): number {
    if (this.interfaces.length >= INTERFACES_MAX)
      return this.#fail(at, `more than ${INTERFACES_MAX} interfaces are described`);
    const parsed = parseInterface(bytes, at, totalBytes, this.#bigEndian);
    if (typeof parsed === 'string') return this.#fail(at, parsed);
    this.#sectionInterfaces.push(this.interfaces.length);
    this.interfaces.push(parsed.captureInterface);
    const { linkType, snapBytes } = parsed.captureInterface;
    this.#described.push({
      linkType,
      snapBytes: snapBytes === 0 ? PACKET_BYTES_MAX : snapBytes,
      time: parsed.time,
    });
    return at + totalBytes;
  }

  /** An enhanced or old packet block: they differ in how the interface is written. */
  #readPacket(interfaceNumber: number, bytes: Uint8Array, at: number, totalBytes: number): number {
    const bigEndian = this.#bigEndian;
    const room = totalBytes - PACKET_HEADER_BYTES - TRAILER_BYTES;
    if (room < 0) return this.#fail(at, `a packet block of ${totalBytes} bytes is shorter than 32`);
    const id = this.#sectionInterfaces[interfaceNumber];
    const described = id === undefined ? undefined : this.#described[id];
    if (id === undefined || described === undefined) return this.#failInterface(at, interfaceNumber);
    const capturedBytes = readFieldU32(bytes, at + 20, bigEndian);
    const originalBytes = readFieldU32(bytes, at + 24, bigEndian);
    if (capturedBytes > room || capturedBytes > PACKET_BYTES_MAX)
      return this.#fail(
        at,
        `a captured length of ${capturedBytes} bytes does not fit its block of ${totalBytes}`,
      );
    if (!this.#join(id, described.linkType)) return at;

    // The record's header overwrites the block's, so everything is read before anything is written.
    const high = readFieldU32(bytes, at + 12, bigEndian);
    const low = readFieldU32(bytes, at + 16, bigEndian);
    described.time.store(bytes, this.batchEnd, high, low, this.#remarks);
    if (capturedBytes > described.snapBytes) this.#remarks.longerThanSnap++;
    this.#append(bytes, at + PACKET_HEADER_BYTES, capturedBytes, originalBytes);
    return at + totalBytes;
  }

  /** No time, no captured length, the first interface: what is left out follows from the block and the snap length. */
  #readSimplePacket(bytes: Uint8Array, at: number, totalBytes: number): number {
    const room = totalBytes - SIMPLE_HEADER_BYTES - TRAILER_BYTES;
    if (room < 0) return this.#fail(at, `a simple packet block of ${totalBytes} bytes is shorter than 16`);
    const id = this.#sectionInterfaces[0];
    const described = id === undefined ? undefined : this.#described[id];
    if (id === undefined || described === undefined) return this.#failInterface(at, 0);
    const originalBytes = readFieldU32(bytes, at + 8, this.#bigEndian);
    const capturedBytes = Math.min(originalBytes, described.snapBytes);
    if (capturedBytes > room || capturedBytes > PACKET_BYTES_MAX)
      return this.#fail(at, `a packet of ${capturedBytes} bytes does not fit its block of ${totalBytes}`);
    if (!this.#join(id, described.linkType)) return at;

    this.#remarks.timeMissing++;
    const frame = at + SIMPLE_HEADER_BYTES;
    // The one block whose frame starts before its record's frame would: move it first, the header lands on its old place.
    bytes.copyWithin(this.batchEnd + RECORD_HEADER_BYTES, frame, frame + capturedBytes);
    writeU32(bytes, this.batchEnd, 0);
    writeU32(bytes, this.batchEnd + RECORD_NANOSECONDS, 0);
    this.#append(bytes, this.batchEnd + RECORD_HEADER_BYTES, capturedBytes, originalBytes);
    return at + totalBytes;
  }

  /** Whether a packet of interface `id` may go into the batch; if so, the batch has an interface that covers it. */
  #join(id: number, linkType: number): boolean {
    if (this.packetCount === 0) {
      this.interfaceId = id;
      this.linkType = linkType;
      return true;
    }
    if (id === this.interfaceId) return true;
    if (linkType !== this.linkType) return false;
    const mixed = this.#mixedByLinkType.get(linkType);
    if (mixed !== undefined && this.interfaceId === mixed) return true;
    if (this.packetCount >= RUN_PACKETS_MIN) return false;
    this.interfaceId = mixed ?? this.#addMixed(linkType);
    return true;
  }

  #addMixed(linkType: number): number {
    const id = this.interfaces.length;
    this.interfaces.push({ linkType, name: 'several', snapBytes: 0, precision: 'ns' });
    this.#mixedByLinkType.set(linkType, id);
    // Never looked up by a packet; keeps the two rows in step.
    const any = this.#described[this.interfaceId];
    if (any !== undefined) this.#described.push(any);
    return id;
  }

  /** Completes the record whose time was stored, and closes the gap between it and its frame. */
  #append(bytes: Uint8Array, frame: number, capturedBytes: number, originalBytes: number): void {
    const to = this.batchEnd;
    writeU32(bytes, to + RECORD_CAPTURED_BYTES, capturedBytes);
    writeU32(bytes, to + RECORD_ORIGINAL_BYTES, originalBytes);
    if (originalBytes < capturedBytes) this.#remarks.originalShorter++;
    const target = to + RECORD_HEADER_BYTES;
    if (target !== frame) bytes.copyWithin(target, frame, frame + capturedBytes);
    this.batchEnd = target + capturedBytes;
    this.packetCount++;
  }

  #failInterface(at: number, interfaceNumber: number): number {
    const count = this.#sectionInterfaces.length;
    return this.#fail(at, `a packet names interface ${interfaceNumber}, but its section describes ${count}`);
  }

  #fail(at: number, reason: string): number {
    this.damage = reason;
    return at;
  }
}

function isRead(type: number): boolean {
  return (
    type === BLOCK_PACKET ||
    type === BLOCK_PACKET_SIMPLE ||
    type === BLOCK_PACKET_OLD ||
    type === BLOCK_INTERFACE ||
    type === BLOCK_SECTION
  );
}
