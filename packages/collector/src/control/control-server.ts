/**
 * What `export --edge`, `tapline-extcap` and `export --follow` talk to: the control socket of a running collector. Its file belongs to
 * the archive's owner and group; nobody else reaches it.
 */
import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from '@tapline/shared/base/errors.ts';
import {
  CONTROL_NAME,
  LINE_BYTES_MAX,
  controlRequest,
  encodePiece,
  type ControlRequest,
} from '@tapline/shared/control/control-protocol.ts';

/** Not read yet by whoever asked: then the sensor gets no more credit. */
const WINDOW_BYTES = 4 * 1024 * 1024;
const REQUEST_MS = 10_000;
const CONNECTIONS_MAX = 64;

export interface ControlHandlers {
  sensors(): readonly { readonly sensor: string; readonly connected: boolean }[];
  /** Joins the socket to a live stream; throws with a sentence for whoever asked. */
  stream(request: Extract<ControlRequest, { command: 'stream' }>, socket: Socket): void;
  /** Null: the sensor was never here. */
  edge(sensor: string): EdgeAccess | null;
}

/** The part of a sensor's `EdgeDesk` that is used here. */
export interface EdgeAccess {
  ask(
    request: {
      readonly query: Readonly<Record<string, unknown>>;
      readonly linkType: number | null;
      readonly skip: number;
    },
    creditBytes: number,
    handlers: {
      packets(answer: { readonly linkType: number; readonly records: Uint8Array }): void;
      done(result: { readonly packets: number; readonly error?: string | undefined }): void;
      connected(isConnected: boolean): void;
    },
  ): number;
  grant(id: number, bytes: number): void;
  cancel(id: number): void;
}

export class ControlServer {
  readonly #path: string;
  readonly #handlers: ControlHandlers;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  constructor(root: string, handlers: ControlHandlers) {
    this.#path = `${root}/${CONTROL_NAME}`;
    this.#handlers = handlers;
  }

  /** Rejects with what the system says, e.g. that the path is too long for a socket. */
  async open(): Promise<void> {
    // Of a run that was killed. One that runs holds the archive's lock, and this one would not have come so far.
    if (existsSync(this.#path)) unlinkSync(this.#path);
    const server = (this.#server = createServer((socket) => {
      this.#accept(socket);
    }));
    server.maxConnections = CONNECTIONS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#path, resolve);
    });
    server.on('error', () => undefined);
    chmodSync(this.#path, 0o660);
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setTimeout(REQUEST_MS, () => socket.destroy());
    let bytes = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf(0x0a);
      if (end < 0) {
        if (bytes.byteLength > LINE_BYTES_MAX) socket.destroy();
        return;
      }
      socket.off('data', read);
      socket.setTimeout(0);
      this.#serve(socket, bytes.toString('utf8', 0, end));
    };
    socket.on('data', read);
  }

  #serve(socket: Socket, line: string): void {
    try {
      const request = controlRequest.parse(JSON.parse(line));
      switch (request.command) {
        case 'sensors':
          socket.end(`${JSON.stringify({ ok: true, sensors: this.#handlers.sensors() })}\n`);
          return;
        case 'stream':
          this.#handlers.stream(request, socket);
          return;
        case 'edge':
          this.#serveEdge(request, socket);
      }
    } catch (error) {
      socket.end(`${JSON.stringify({ error: messageOf(error).slice(0, 2000) })}\n`);
    }
  }

  #serveEdge(request: Extract<ControlRequest, { command: 'edge' }>, socket: Socket): void {
    const edge = this.#handlers.edge(request.sensor);
    if (edge === null) throw new Error(`no sensor ${request.sensor} has come since this collector started`);
    socket.write('{"ok":true}\n');
    let linkTypeTold = false;
    let owed = 0;
    const id = edge.ask(request, WINDOW_BYTES, {
      packets: ({ linkType, records }) => {
        if (!linkTypeTold) socket.write(encodePiece('H', { linkType }));
        linkTypeTold = true;
        owed += records.byteLength;
        if (socket.write(encodePiece('P', records))) {
          edge.grant(id, owed);
          owed = 0;
        }
      },
      done: (result) => socket.end(encodePiece('E', { packets: result.packets, error: result.error })),
      connected: (connected) => socket.write(encodePiece('H', { connected })),
    });
    socket.on('drain', () => {
      if (owed > 0) edge.grant(id, owed);
      owed = 0;
    });
    socket.on('close', () => {
      edge.cancel(id);
    });
    socket.resume();
  }
}
