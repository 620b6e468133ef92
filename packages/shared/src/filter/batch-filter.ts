/**
 * Filter and snapshot length for batches of whole frames: from files, pipes and the portable driver, where no kernel has
 * filtered. What stays is copied together into a batch of our own; the lender's bytes are never touched.
 *
 * The program is libpcap's (`compileOffline`), one for each link type that turns up; its result is the number of bytes to
 * keep, so one pass does both jobs. A link type that libpcap cannot filter ends the capture with FILTER_INVALID: passing
 * its packets or dropping them would both be a guess.
 */
import { OperatingError } from '../base/errors.ts';
import type { Batch } from '../packet/batch.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../packet/link-type.ts';
import {
  PACKET_BYTES_MAX,
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_ORIGINAL_BYTES,
  readU32,
  writeU32,
} from '../packet/record.ts';
import { compileOffline } from '../system/libpcap.ts';
import { BpfInterpreter } from './bpf-interpreter.ts';

/** The last is IEEE 802.11, which has words of its own (`wlan addr1`). */
const USUAL_LINK_TYPES = [LINKTYPE_ETHERNET, LINKTYPE_RAW, 105];

export interface BatchFilterOptions {
  /** libpcap's language; empty lets everything through. */
  readonly expression: string;
  /** Longest frame to keep, in bytes. */
  readonly snapBytes: number;
}

export class BatchFilter {
  /** Packets the filter did not let through. */
  filteredPackets = 0;

  readonly #options: BatchFilterOptions;
  readonly #machines = new Map<number, BpfInterpreter>();
  #kept = new Uint8Array(0);

  constructor(options: BatchFilterOptions) {
    this.#options = options;
  }

  /**
   * A wrong filter stops the start, before any packet has told its link type: throws FILTER_INVALID when the expression
   * makes sense for none of the usual ones.
   */
  check(): void {
    if (this.#options.expression === '') return;
    let firstError: unknown = null;
    for (const linkType of USUAL_LINK_TYPES) {
      try {
        this.#machine(linkType);
        return;
      } catch (error) {
        if (!(error instanceof OperatingError) || error.code !== 'FILTER_INVALID') throw error;
        firstError ??= error;
      }
    }
    throw firstError as Error;
  }

  /** What is left of `batch`, lent until the next call; the same batch when nothing can change; null when nothing is left. */
  apply(batch: Batch): Batch | null {
    if (this.#passesAll()) return batch.packetCount > 0 ? batch : null;
    if (this.#kept.byteLength < batch.byteLength) this.#kept = new Uint8Array(batch.byteLength);
    return this.#compact(batch, this.#machine(batch.linkType), this.#kept);
  }

  /** Copies runs of whole records at once; a record that is cut gets a copy of its own. */
  #compact(batch: Batch, machine: BpfInterpreter, kept: Uint8Array): Batch | null {
    const { bytes, byteLength: end } = batch;
    let to = 0;
    let packetCount = 0;
    let runStart = 0;
    for (let at = 0; at < end;) {
      const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
      const frame = at + RECORD_HEADER_BYTES;
      const next = frame + capturedBytes;
      const wanted = machine.run(bytes, frame, capturedBytes, readU32(bytes, at + RECORD_ORIGINAL_BYTES));
      // A frame of no bytes can be wanted (`less 100`) and has nothing to cut.
      if (wanted >= capturedBytes && wanted !== 0) packetCount++;
      else {
        kept.set(bytes.subarray(runStart, at), to);
        to += at - runStart;
        runStart = next;
        if (wanted !== 0) {
          kept.set(bytes.subarray(at, frame + wanted), to);
          writeU32(kept, to + RECORD_CAPTURED_BYTES, wanted);
          to += RECORD_HEADER_BYTES + wanted;
          packetCount++;
        }
      }
      at = next;
    }
    kept.set(bytes.subarray(runStart, end), to);
    to += end - runStart;
    this.filteredPackets += batch.packetCount - packetCount;
    if (packetCount === 0) return null;
    const { linkType, interfaceId } = batch;
    return { bytes: kept, byteLength: to, packetCount, linkType, interfaceId };
  }

  #passesAll(): boolean {
    return this.#options.expression === '' && this.#options.snapBytes >= PACKET_BYTES_MAX;
  }

  #machine(linkType: number): BpfInterpreter {
    let machine = this.#machines.get(linkType);
    if (machine === undefined) {
      const { expression, snapBytes } = this.#options;
      const program =
        expression === '' ? keepProgram(snapBytes) : compileOffline(linkType, expression, snapBytes);
      machine = new BpfInterpreter(program);
      this.#machines.set(linkType, machine);
    }
    return machine;
  }
}

/** The program of no filter at all: `ret #snapBytes`. Spares an installation without filters the need for libpcap. */
export function keepProgram(snapBytes: number): Uint8Array {
  const program = new Uint8Array(8);
  new Uint16Array(program.buffer)[0] = 0x06;
  new Uint32Array(program.buffer)[1] = snapBytes;
  return program;
}
