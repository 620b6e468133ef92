/** For the simulator's tests: a capture in memory, and an independent, slow reading of its frames. */
import { RECORD_HEADER_BYTES } from '@tapline/shared/packet/record.ts';
import { simulatePlant, type Simulation, type SimulationOptions } from './simulate-plant.ts';

/** Monday, 5 January 2026, 06:00 UTC. */
export const START_NS = 1_767_592_800_000_000_000n;

export interface SeenPacket {
  /** From 1, as in Wireshark. */
  readonly number: number;
  readonly atNs: bigint;
  readonly frame: Uint8Array;
}

/** Runs a simulation to its end and keeps every packet. */
export function capture(options: Partial<SimulationOptions>): {
  simulation: Simulation;
  packets: SeenPacket[];
} {
  const simulation = simulatePlant({ seed: 1, startNs: START_NS, durationMs: 30_000, ...options });
  const packets: SeenPacket[] = [];
  for (const batch of simulation) {
    const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset);
    for (let at = 0; at < batch.byteLength;) {
      const atNs = BigInt(view.getUint32(at, true)) * 1_000_000_000n + BigInt(view.getUint32(at + 4, true));
      const end = at + RECORD_HEADER_BYTES + view.getUint32(at + 8, true);
      packets.push({
        number: packets.length + 1,
        atNs,
        frame: batch.bytes.slice(at + RECORD_HEADER_BYTES, end),
      });
      at = end;
    }
  }
  return { simulation, packets };
}

export interface SeenTcp {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly syn: boolean;
  readonly ack: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  readonly payloadBytes: number;
}

/** The TCP segment in a frame, or null. */
export function tcpOf(frame: Uint8Array): SeenTcp | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint16(12) !== 0x0800 || view.getUint8(23) !== 6) return null;
  const flags = view.getUint8(47);
  return {
    source: dotted(frame, 26),
    destination: dotted(frame, 30),
    sourcePort: view.getUint16(34),
    destinationPort: view.getUint16(36),
    sequence: view.getUint32(38),
    acknowledgment: view.getUint32(42),
    fin: (flags & 1) !== 0,
    syn: (flags & 2) !== 0,
    rst: (flags & 4) !== 0,
    ack: (flags & 16) !== 0,
    payloadBytes: view.getUint16(16) - 20 - (view.getUint8(46) >> 4) * 4,
  };
}

/** The IPv4 addresses a frame is about: of its IP header, or of its ARP message. */
export function addressesOf(frame: Uint8Array): readonly string[] {
  const etherType = ((frame[12] as number) << 8) | (frame[13] as number);
  if (etherType === 0x0800) return [dotted(frame, 26), dotted(frame, 30)];
  if (etherType === 0x0806) return [dotted(frame, 28), dotted(frame, 38)];
  return [];
}

function dotted(frame: Uint8Array, offset: number): string {
  return frame.subarray(offset, offset + 4).join('.');
}
