/**
 * Makes blocks of datagrams out of frames: gives each frame its group number and prefix, cuts it into shards, adds
 * parity, interleaves, numbers and seals. It owns the numbers of the epoch, none of which may be used twice.
 */
import { randomBytes } from 'node:crypto';
import { assert } from '@tapline/shared/base/assert.ts';
import {
  CIPHER_NONE,
  DATAGRAM_HEADER_BYTES,
  GROUP_PREFIX_BYTES,
  epochText,
  trailerBytes,
  writeDatagramChecksum,
  writeDatagramHeader,
} from '@tapline/shared/tunnel/datagram.ts';
import {
  encodeGroup,
  groupShape,
  type GroupPrefix,
  type GroupShape,
  type ParityRatio,
} from '@tapline/shared/tunnel/datagram-group.ts';
import { DatagramSeal, cipherNumber, type CipherName } from '@tapline/shared/tunnel/datagram-seal.ts';
import { encodeParity } from '@tapline/shared/tunnel/reed-solomon.ts';
import { interleave } from './interleave.ts';

/** A frame on its way, and what it stands for. */
export interface OutgoingFrame {
  readonly bytes: Uint8Array;
  /** Of a BATCH or GAP; 0 for every other type. */
  readonly sequence: number;
  /** Packets inside: 0 for a GAP, whose packets were counted as dropped. */
  readonly packetCount: number;
  /** What the receiver is missing when the frame does not arrive: a BATCH's packets, or those a GAP speaks of. */
  readonly standsFor: {
    readonly packets: number;
    readonly bytes: number;
    readonly oldestNs: bigint;
    readonly newestNs: bigint;
  } | null;
}

export interface OutgoingDatagram {
  readonly bytes: Buffer;
  /** The frame it is a shard of. */
  readonly frame: OutgoingFrame;
  /** How many datagrams of the group must arrive, and how many there are. */
  readonly dataShards: number;
  readonly shards: number;
}

export interface GroupEncoderOptions {
  /** Bytes that an IP packet may have on the whole path. */
  readonly mtu: number;
  /** IP and UDP header: 28 or 48. */
  readonly overheadBytes: number;
  readonly ratio: ParityRatio;
  readonly seal: { readonly keyId: number; readonly secret: Uint8Array; readonly cipher: CipherName } | null;
  /** For tests; drawn at random where absent. */
  readonly epochRandom?: number;
}

export class GroupEncoder {
  /** 16 hex digits. */
  readonly epoch: string;
  readonly shardBytesMax: number;
  readonly #ratio: ParityRatio;
  readonly #cipher: number;
  readonly #keyId: number;
  readonly #seal: DatagramSeal | null;
  readonly #epochSeconds: number;
  readonly #epochRandom: number;
  #number = 0;
  #group = 0;
  #prefix: GroupPrefix = { sequence: 0, packets: 0, bytes: 0, oldestNs: 0n, newestNs: 0n };

  /** `wallMs` is the time of the start, by which a receiver tells a newer epoch from an older. */
  constructor(options: GroupEncoderOptions, wallMs: number) {
    const { mtu, overheadBytes, ratio, seal } = options;
    this.#ratio = ratio;
    this.#cipher = seal === null ? CIPHER_NONE : cipherNumber(seal.cipher);
    this.#keyId = seal?.keyId ?? 0;
    this.#seal = seal === null ? null : new DatagramSeal(seal.secret, this.#cipher);
    this.#epochSeconds = Math.floor(wallMs / 1000) >>> 0;
    this.#epochRandom = options.epochRandom ?? randomBytes(4).readUInt32LE();
    this.epoch = epochText(this.#epochSeconds, this.#epochRandom);
    this.shardBytesMax = mtu - overheadBytes - DATAGRAM_HEADER_BYTES - trailerBytes(this.#cipher);
    assert(this.shardBytesMax > 0, 'the MTU leaves no room for a shard');
  }

  /** Length of a frame that fills the nominal number of data shards. */
  get frameBytesAim(): number {
    return this.#ratio.data * this.shardBytesMax - GROUP_PREFIX_BYTES;
  }

  /** Whether a frame of this length fits a group at all. */
  fits(frameBytes: number): boolean {
    return groupShape(GROUP_PREFIX_BYTES + frameBytes, this.shardBytesMax, this.#ratio) !== null;
  }

  /** The datagrams of these frames in the order in which they are to be sent. All frames fit. */
  encodeBlock(frames: readonly OutgoingFrame[]): OutgoingDatagram[] {
    const groups = frames.map((frame) => this.#makeGroup(frame));
    const places = interleave(groups.map(({ shape }) => shape.dataShards + shape.parityShards));
    return places.map(({ group, shard }, at) => {
      const { frame, number, groupBytes, shape, data, parity } = groups[group] as Group;
      const { dataShards, parityShards, shardBytes } = shape;
      const bytes = Buffer.allocUnsafe(DATAGRAM_HEADER_BYTES + shardBytes + trailerBytes(this.#cipher));
      const datagram = this.#number++;
      writeDatagramHeader(bytes, {
        cipher: this.#cipher,
        keyId: this.#keyId,
        epochSeconds: this.#epochSeconds,
        epochRandom: this.#epochRandom,
        number: datagram,
        group: number,
        following: places.length - 1 - at,
        groupBytes,
        shard,
        dataShards,
        parityShards,
      });
      const source = shard < dataShards ? data : parity;
      const from = (shard < dataShards ? shard : shard - dataShards) * shardBytes;
      bytes.set(source.subarray(from, from + shardBytes), DATAGRAM_HEADER_BYTES);
      if (this.#seal === null) writeDatagramChecksum(bytes);
      else this.#seal.seal(bytes, datagram);
      return { bytes, frame, dataShards, shards: dataShards + parityShards };
    });
  }

  /** A frame that will not be sent after all: what comes next tells the receiver what it held. */
  skip(frame: OutgoingFrame): void {
    const { standsFor } = frame;
    if (standsFor === null) return;
    const before = this.#prefix;
    assert(frame.sequence === before.sequence + 1, 'frames are sent in their sequence');
    const { packets, bytes, oldestNs, newestNs } = standsFor;
    this.#prefix = {
      sequence: frame.sequence,
      packets: before.packets + packets,
      bytes: before.bytes + bytes,
      oldestNs: before.sequence === 0 || oldestNs < before.oldestNs ? oldestNs : before.oldestNs,
      newestNs: newestNs > before.newestNs ? newestNs : before.newestNs,
    };
  }

  #makeGroup(frame: OutgoingFrame): Group {
    const groupBytes = GROUP_PREFIX_BYTES + frame.bytes.byteLength;
    const shape = groupShape(groupBytes, this.shardBytesMax, this.#ratio);
    assert(shape !== null, 'a frame is too large for a group');
    const { dataShards, parityShards, shardBytes } = shape;
    const data = encodeGroup(this.#prefix, frame.bytes, dataShards * shardBytes);
    this.skip(frame);
    const parity = encodeParity(data, dataShards, parityShards, shardBytes);
    return { frame, number: ++this.#group, groupBytes, shape, data, parity };
  }
}

interface Group {
  readonly frame: OutgoingFrame;
  readonly number: number;
  readonly groupBytes: number;
  readonly shape: GroupShape;
  readonly data: Uint8Array;
  readonly parity: Uint8Array;
}
