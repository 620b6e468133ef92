/**
 * Who may connect to the bus. ZeroMQ asks here (ZAP, RFC 27) for each connection after it has proved possession of its key; without this handler, CURVE
 * would let in whoever knows the server's public key. In the context of the sockets it guards, bound before they are.
 *
 *   request   version | request id | domain | address | identity | mechanism | credentials (32 bytes of public key)
 *   reply     version | request id | 200 or 400 | text | user id | metadata
 */
import { Reply, type Context } from 'zeromq';
import { z85 } from './curve-keys.ts';

const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const VERSION = '1.0';
const KEY_BYTES = 32;

export interface ZapEvents {
  refused(refusal: { readonly peer: string; readonly key: string; readonly reason: string }): void;
}

export class ZapHandler {
  readonly counters = { admitted: 0, refused: 0 };
  readonly #socket: Reply;
  readonly #events: ZapEvents;
  #clients: ReadonlyMap<string, string>;
  #serving: Promise<void> | null = null;

  /** `clients`: public key in Z85 → name. */
  constructor(context: Context, clients: ReadonlyMap<string, string>, events: ZapEvents) {
    this.#clients = clients;
    this.#events = events;
    this.#socket = new Reply({ context, linger: 0 });
  }

  /** For connections from now on; those that stand, stand. */
  setClients(clients: ReadonlyMap<string, string>): void {
    this.#clients = clients;
  }

  async open(): Promise<void> {
    await this.#socket.bind(ZAP_ENDPOINT);
    this.#serving = this.#serve();
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#serving;
  }

  async #serve(): Promise<void> {
    // The library ends the iteration when the socket is closed.
    for await (const frames of this.#socket) {
      const id = frames[1] ?? Buffer.alloc(0);
      const user = this.#userOf(frames);
      const answer = user === null ? ['400', 'not admitted', '', ''] : ['200', 'OK', user, ''];
      await this.#socket.send([VERSION, id, ...answer]);
    }
  }

  /** The name of a client; null: not admitted. */
  #userOf([version, , , address, , mechanism, credentials]: readonly Buffer[]): string | null {
    const isCurve = version?.toString('latin1') === VERSION && mechanism?.toString('latin1') === 'CURVE';
    const key = isCurve && credentials?.byteLength === KEY_BYTES ? z85(credentials) : '';
    const user = key === '' ? undefined : this.#clients.get(key);
    if (user !== undefined) {
      this.counters.admitted++;
      return user;
    }
    this.counters.refused++;
    this.#events.refused({ peer: address?.toString('latin1') ?? '', key, reason: isCurve ? 'its key is not listed' : 'no CURVE' }); // prettier-ignore
    return null;
  }
}
