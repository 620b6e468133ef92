/**
 * A TCP proxy between two daemons that a test can cut: at a byte count drawn from a seed, or now. A cut is a reset in the
 * middle of whatever was on its way, in both directions.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export interface CuttingProxyOptions {
  readonly targetPort: () => number;
  /** How many forwarded bytes a connection may carry before it is cut; Infinity for never. */
  readonly bytesUntilCut: () => number;
}

export class CuttingProxy {
  cuts = 0;
  readonly #options: CuttingProxyOptions;
  readonly #server: Server;
  readonly #pairs = new Set<() => void>();

  constructor(options: CuttingProxyOptions) {
    this.#options = options;
    this.#server = createServer((client) => {
      this.#join(client);
    });
  }

  async open(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts every connection there is. */
  cut(): void {
    for (const cutPair of [...this.#pairs]) cutPair();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #join(client: Socket): void {
    const target = connect(this.#options.targetPort(), '127.0.0.1');
    let bytesLeft = this.#options.bytesUntilCut();
    const cutPair = (): void => {
      if (!this.#pairs.delete(cutPair)) return;
      this.cuts++;
      client.resetAndDestroy();
      target.destroy();
    };
    this.#pairs.add(cutPair);
    const pipe = (from: Socket, to: Socket): void => {
      from.on('data', (chunk: Buffer) => {
        bytesLeft -= chunk.byteLength;
        // The last piece still gets through, up to the byte: frames are cut in their middle.
        const allowed = bytesLeft < 0 ? chunk.subarray(0, Math.max(0, chunk.byteLength + bytesLeft)) : chunk;
        if (!to.write(allowed)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
        if (bytesLeft < 0) setImmediate(cutPair);
      });
      from.on('end', () => to.end());
      from.on('error', cutPair);
      from.on('close', () => {
        this.#pairs.delete(cutPair);
        to.destroy();
      });
    };
    pipe(client, target);
    pipe(target, client);
  }
}
