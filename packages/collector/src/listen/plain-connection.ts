/**
 * One connection of a plain sender. What it carries is told by config, or by its first bytes:
 *
 *   packet   `tcp-plain`: its bytes, up to its close, are one packet
 *   stream   back-to-back IP packets, cut by their own lengths (`ip-stream.ts`): an IP header that proves itself comes first
 *
 * A connection that breaks, stalls or brings more than it may is ended and counted, because half a packet is none. Memory: one
 * packet and one chunk.
 */
import type { Socket } from 'node:net';
import { LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { IpStreamCutter, beginsWithIp } from './ip-stream.ts';
import type { PlainDropReason, PlainIntake } from './plain-intake.ts';

export type PlainTcp = 'auto' | 'packet' | 'stream';

/** What `beginsWithIp` needs at most. */
const DECIDING_BYTES = 60;

export interface PlainConnectionDependencies {
  readonly intake: PlainIntake;
  readonly clock: TunnelClock;
  readonly mode: PlainTcp;
  /** How long a packet may take, or a stream be silent. */
  readonly timeoutMs: number;
}

/** Takes the connection over; `firstBytes` were already read from it, `hasEnded` when they were all. */
export function receivePlainConnection(
  socket: Socket,
  peer: string,
  firstBytes: Uint8Array,
  hasEnded: boolean,
  dependencies: PlainConnectionDependencies,
): void {
  const { intake, clock, timeoutMs, mode } = dependencies;
  let chunks: Uint8Array[] = [];
  let byteLength = 0;
  let stream: IpStreamCutter | null = mode === 'stream' ? new IpStreamCutter(takePacket) : null;
  let isDecided = mode !== 'auto';
  let isOver = false;
  let toldGarbage = 0;
  let cancel = clock.after(timeoutMs, stalled);

  function takePacket(bytes: Uint8Array): void {
    intake.takeAs(peer, LINKTYPE_RAW, bytes, bytes.byteLength);
  }

  function finish(dropped: PlainDropReason | null): void {
    if (isOver) return;
    isOver = true;
    cancel();
    socket.destroy();
    if (stream !== null) {
      const isWhole = stream.end();
      tellGarbage(stream);
      if (!isWhole || (dropped !== null && dropped !== 'incomplete')) intake.drop(dropped ?? 'incomplete');
    } else if (dropped === null) intake.take(peer, Buffer.concat(chunks, byteLength));
    // A connection without a byte is a port scan, not half a packet.
    else if (byteLength > 0) intake.drop(dropped);
  }

  function stalled(): void {
    finish('incomplete');
  }

  function take(chunk: Uint8Array): void {
    if (stream !== null) {
      takeOfStream(stream, chunk);
      return;
    }
    byteLength += chunk.byteLength;
    if (byteLength > PACKET_BYTES_MAX) finish('too-large');
    else chunks.push(chunk);
    if (!isDecided && byteLength >= DECIDING_BYTES) decide();
  }

  function takeOfStream(cutter: IpStreamCutter, chunk: Uint8Array): void {
    cancel();
    cancel = clock.after(timeoutMs, stalled);
    cutter.push(chunk);
    tellGarbage(cutter);
  }

  function tellGarbage(cutter: IpStreamCutter): void {
    intake.drop('garbage', cutter.garbageRuns - toldGarbage);
    toldGarbage = cutter.garbageRuns;
  }

  function decide(): void {
    isDecided = true;
    const bytes = Buffer.concat(chunks, byteLength);
    if (!beginsWithIp(bytes)) return;
    chunks = [];
    stream = new IpStreamCutter(takePacket);
    takeOfStream(stream, bytes);
  }

  function ended(): void {
    finish(stream === null && byteLength === 0 ? 'incomplete' : null);
  }

  take(firstBytes);
  socket.on('data', (chunk: Buffer) => {
    if (!isOver) take(chunk);
  });
  socket.on('end', ended);
  for (const event of ['error', 'close']) socket.on(event, stalled);
  if (hasEnded) ended();
  else socket.resume();
}
