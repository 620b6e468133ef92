/**
 * How commands talk to a daemon that runs: a UNIX socket in its archive's directory, which its group may use. One request a connection.
 *
 *   client ─▶ one line of JSON: the request
 *   server ─▶ one line of JSON: {"ok": true, …} or {"error": "…"}
 *          ─▶ for `stream`: a PCAP stream, to the end of the connection
 *          ─▶ for `edge`: pieces, to the end of the connection
 *
 * A piece (little-endian): 1 byte kind, 4 bytes length, and so many bytes.
 *
 *   P   packets: whole records, nanoseconds, of the link type that the first H told
 *   H   JSON: {"connected": true|false} or {"linkType": n}
 *   E   JSON: the end, {"packets": n, "error"?: "…"}
 */
import { connect, type Socket } from 'node:net';
import { z } from 'zod';
import { OperatingError, messageOf } from '../base/errors.ts';

export const CONTROL_NAME = '.tapline-control.sock';
/** The longest request or first line. */
export const LINE_BYTES_MAX = 128 * 1024;
const PIECE_HEADER_BYTES = 5;
const PIECE_BYTES_MAX = 2 * 1024 * 1024;

export const controlRequest = z.discriminatedUnion('command', [
  z.strictObject({ command: z.literal('sensors') }),
  z.strictObject({
    command: z.literal('stream'),
    sensor: z.string().max(64).optional(),
    filter: z.string().max(65_536).default(''),
    linkType: z.enum(['ethernet', 'raw']),
    precision: z.enum(['ns', 'us']).default('ns'),
    /** Begin with what was stored in so many milliseconds before now. */
    spanMs: z
      .int()
      .min(0)
      .max(31 * 86_400_000)
      .default(0),
  }),
  z.strictObject({
    command: z.literal('edge'),
    sensor: z.string().max(64),
    query: z.record(z.string().max(32), z.unknown()),
    linkType: z.int().min(0).max(0xffff).nullable(),
    skip: z.int().nonnegative(),
  }),
]);
export type ControlRequest = z.infer<typeof controlRequest>;
export type ControlRequestText = z.input<typeof controlRequest>;

export function encodePiece(kind: 'P' | 'H' | 'E', payload: Uint8Array | object): Buffer {
  const body = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
  const piece = Buffer.alloc(PIECE_HEADER_BYTES + body.byteLength);
  piece.write(kind, 0, 'latin1');
  piece.writeUInt32LE(body.byteLength, 1);
  piece.set(body, PIECE_HEADER_BYTES);
  return piece;
}

export interface Piece {
  readonly kind: string;
  readonly payload: Buffer;
}

/** A connection to a running daemon, after its first line. */
export interface ControlConnection {
  readonly answer: Readonly<Record<string, unknown>>;
  readonly socket: Socket;
  /** What followed the first line in the same piece. */
  readonly rest: Buffer;
}

/** Asks. Rejects with ARCHIVE_FAILED when nobody answers, or the answer is no. */
export async function askDaemon(root: string, request: ControlRequestText): Promise<ControlConnection> {
  const path = `${root}/${CONTROL_NAME}`;
  const socket = connect(path);
  const chunks: Buffer[] = [];
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      const end = bytes.indexOf(0x0a);
      if (end < 0 && bytes.byteLength < LINE_BYTES_MAX) continue;
      const answer = JSON.parse(bytes.toString('utf8', 0, end)) as Record<string, unknown>;
      if (typeof answer['error'] === 'string') throw new Error(answer['error']);
      return { answer, socket, rest: bytes.subarray(end + 1) };
    }
    throw new Error('it closed the connection');
  } catch (error) {
    socket.destroy();
    const isAway = /ENOENT|ECONNREFUSED/.test(messageOf(error));
    throw new OperatingError(
      'ARCHIVE_FAILED',
      isAway
        ? `no daemon runs on the archive ${root}: this needs it`
        : `the daemon of ${root} says: ${messageOf(error)}`,
      { root },
      error,
    );
  }
}

/** The pieces of an answer, to the end of the connection. Throws for what is none. */
export async function* piecesOf({ socket, rest }: ControlConnection): AsyncGenerator<Piece> {
  let bytes = rest;
  const take = function* (): Generator<Piece> {
    while (bytes.byteLength >= PIECE_HEADER_BYTES) {
      const length = bytes.readUInt32LE(1);
      if (length > PIECE_BYTES_MAX) throw new Error('the daemon sent what is no answer');
      if (bytes.byteLength < PIECE_HEADER_BYTES + length) return;
      yield { kind: bytes.toString('latin1', 0, 1), payload: bytes.subarray(PIECE_HEADER_BYTES, PIECE_HEADER_BYTES + length) }; // prettier-ignore
      bytes = bytes.subarray(PIECE_HEADER_BYTES + length);
    }
  };
  yield* take();
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    yield* take();
  }
}
