/**
 * One `tcp-plain` connection: its bytes, up to its close, are one packet. At most PACKET_BYTES_MAX of them are kept; a
 * connection that breaks, stalls or brings more is dropped and counted, because half a packet is none.
 */
import type { Socket } from 'node:net';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { PlainDropReason, PlainIntake } from './plain-intake.ts';

/** Takes the connection over; `firstBytes` were already read from it, `hasEnded` when they were all. */
export function receivePlainConnection(
  socket: Socket,
  peer: string,
  firstBytes: Uint8Array,
  hasEnded: boolean,
  dependencies: { readonly intake: PlainIntake; readonly clock: TunnelClock; readonly timeoutMs: number },
): void {
  const { intake, clock, timeoutMs } = dependencies;
  const chunks: Uint8Array[] = [firstBytes];
  let byteLength = firstBytes.byteLength;
  let isOver = false;
  const finish = (dropped: PlainDropReason | null): void => {
    if (isOver) return;
    isOver = true;
    cancel();
    socket.destroy();
    if (dropped === null)
      intake.take(peer, chunks.length === 1 ? firstBytes : Buffer.concat(chunks, byteLength));
    // A connection without a byte is a port scan, not half a packet.
    else if (byteLength > 0) intake.drop(dropped);
  };
  const cancel = clock.after(timeoutMs, () => {
    finish('incomplete');
  });
  socket.on('data', (chunk: Buffer) => {
    byteLength += chunk.byteLength;
    if (byteLength > PACKET_BYTES_MAX) finish('too-large');
    else chunks.push(chunk);
  });
  socket.on('end', () => {
    finish(byteLength === 0 ? 'incomplete' : null);
  });
  socket.on('error', () => {
    finish('incomplete');
  });
  socket.on('close', () => {
    finish('incomplete');
  });
  if (hasEnded) finish(byteLength === 0 ? 'incomplete' : null);
  else socket.resume();
}
