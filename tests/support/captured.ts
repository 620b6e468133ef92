/**
 * Packets out of batches and capture files as plain values, for comparing; and batches out of frames, for feeding.
 * Slow on purpose: nothing here is shared with the code it checks but the record format itself.
 */
import { assert } from '@tapline/shared/base/assert.ts';
import { BatchBuilder, type Batch } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';

export interface SeenPacket {
  readonly timeNs: bigint;
  readonly originalBytes: number;
  readonly frame: Buffer;
  readonly interfaceId: number;
}

/** Copies of the packets of a lent batch. */
export function packetsOf(batch: Batch): SeenPacket[] {
  const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset, batch.byteLength);
  const packets: SeenPacket[] = [];
  for (let at = 0; at < batch.byteLength;) {
    const capturedBytes = view.getUint32(at + 8, true);
    packets.push({
      timeNs: BigInt(view.getUint32(at, true)) * 1_000_000_000n + BigInt(view.getUint32(at + 4, true)),
      originalBytes: view.getUint32(at + 12, true),
      frame: Buffer.from(batch.bytes.slice(at + 16, at + 16 + capturedBytes)),
      interfaceId: batch.interfaceId,
    });
    at += 16 + capturedBytes;
  }
  assert(packets.length === batch.packetCount, 'a batch says how many packets it has');
  return packets;
}

export async function packetsOfAll(batches: AsyncIterable<Batch>): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for await (const batch of batches) packets.push(...packetsOf(batch));
  return packets;
}

export async function packetsOfFile(path: string): Promise<SeenPacket[]> {
  return packetsOfAll((await openCapture(path)).batches());
}

/** What must be equal when two captures saw the same: not the time, which each took for itself. */
export function contentOf(packets: readonly SeenPacket[]): string[] {
  return packets.map(({ originalBytes, frame }) => `${originalBytes} ${frame.toString('hex')}`);
}

/** A batch of frames, a microsecond apart. */
export function batchOf(frames: readonly Buffer[], linkType = LINKTYPE_ETHERNET): Batch {
  const builder = new BatchBuilder(linkType);
  for (const [index, frame] of frames.entries()) {
    assert(builder.hasRoom(frame.byteLength), 'a test asks for what fits one batch');
    builder.append(1_700_000_000, index * 1000, frame.byteLength, frame, 0, frame.byteLength);
  }
  return builder.take();
}

/** Writes frames as a capture file, for tcpreplay and tcpdump to read. */
export async function writeFrames(path: string, frames: readonly Buffer[]): Promise<void> {
  const file = await PcapFile.create(path, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  const perBatch = 50;
  for (let at = 0; at < frames.length; at += perBatch)
    await file.write(batchOf(frames.slice(at, at + perBatch)));
  await file.close();
}

/** The frame with an 802.1Q tag behind its MAC addresses. */
export function withVlan(frame: Buffer, vlanId: number, tpid = 0x8100): Buffer {
  const tag = Buffer.alloc(4);
  tag.writeUInt16BE(tpid, 0);
  tag.writeUInt16BE(vlanId, 2);
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]);
}
