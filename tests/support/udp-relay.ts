/**
 * A bad link for datagrams: a relay in user space that drops, doubles, delays and damages what goes through it, by a
 * seed. (Kernels without netem know no other.) It carries one way only: nothing it receives from the target goes anywhere.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const QUIET_MS = 20;

export interface LinkFaults {
  /** Whether datagram `index` (from 0) is lost; asked once for each. */
  readonly drop?: (index: number, bytes: Buffer) => boolean;
  /** Shares of the datagrams: 0 to 1. */
  readonly duplicate?: number;
  readonly corrupt?: number;
  /** Held back until so many others have passed. */
  readonly reorder?: { readonly share: number; readonly by: number };
  readonly random?: () => number;
}

export class UdpRelay {
  passed = 0;
  dropped = 0;
  corrupted = 0;
  /** Copies of all that came, where asked for. */
  readonly recording: Buffer[] = [];
  readonly #faults: LinkFaults;
  readonly #isRecording: boolean;
  readonly #in: Socket = createSocket('udp4');
  readonly #out: Socket = createSocket('udp4');
  readonly #held: { bytes: Buffer; due: number }[] = [];
  #count = 0;
  #quiet: NodeJS.Timeout | undefined;
  #target = 0;

  constructor(faults: LinkFaults, isRecording = false) {
    this.#faults = faults;
    this.#isRecording = isRecording;
    this.#in.on('message', (bytes) => {
      this.#take(bytes);
    });
  }

  /** Resolves with the port to send to. */
  async open(targetPort: number): Promise<number> {
    this.#target = targetPort;
    this.#in.bind(0, '127.0.0.1');
    await once(this.#in, 'listening');
    this.#in.setRecvBufferSize(8 * 1024 * 1024);
    return this.#in.address().port;
  }

  /** Sends to another port from now on: the collector was started again. */
  setTarget(port: number): void {
    this.#target = port;
  }

  async close(): Promise<void> {
    for (const { bytes } of this.#held.splice(0)) this.#pass(bytes);
    this.#in.close();
    await new Promise((resolve) => setTimeout(resolve, 10));
    this.#out.close();
  }

  /** Sends a datagram of a recording, or one that was made up. */
  inject(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#out.send(bytes, this.#target, '127.0.0.1', () => {
        resolve();
      });
    });
  }

  #take(bytes: Buffer): void {
    const { drop, duplicate = 0, corrupt = 0, reorder, random = Math.random } = this.#faults;
    const index = this.#count++;
    if (this.#isRecording) this.recording.push(Buffer.from(bytes));
    for (const held of this.#held.filter(({ due }) => due <= index)) {
      this.#held.splice(this.#held.indexOf(held), 1);
      this.#pass(held.bytes);
    }
    if (drop?.(index, bytes) === true) {
      this.dropped++;
      return;
    }
    if (corrupt > 0 && random() < corrupt) {
      bytes = Buffer.from(bytes);
      const at = Math.floor(random() * bytes.byteLength);
      bytes[at] = (bytes[at] as number) ^ (1 + Math.floor(random() * 255));
      this.corrupted++;
    }
    if (duplicate > 0 && random() < duplicate) this.#pass(bytes);
    if (reorder !== undefined && random() < reorder.share) {
      this.#held.push({ bytes, due: index + 1 + Math.floor(random() * reorder.by) });
      this.#passHeldWhenQuiet();
    } else this.#pass(bytes);
  }

  /** A link delays; it does not wait for others to come. */
  #passHeldWhenQuiet(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      for (const { bytes } of this.#held.splice(0)) this.#pass(bytes);
    }, QUIET_MS);
  }

  #pass(bytes: Buffer): void {
    this.passed++;
    this.#out.send(bytes, this.#target, '127.0.0.1');
  }
}
