/**
 * A wire between two namespaces that does what bad links do: it delays, loses, reorders, doubles and changes frames, or is
 * cut. A process of its own, told what to do over IPC; for kernels whose traffic control cannot do it.
 *
 *   namespace A ─ TAP ═▶ this process ═▶ TAP ─ namespace B
 *
 * A TAP device hands over whole frames with their checksums computed, so a changed one is caught where it would be on a real
 * link: by TCP, or by whoever trusted it.
 */
import { closeSync, openSync, read, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as after } from 'node:timers';
import { Prng } from '@tapline/shared/base/prng.ts';

/** linux/if_tun.h */
const TUNSETIFF = 0x4004_54ca;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const FRAME_BYTES_MAX = 10_000;

/** Shares are per frame, 0 to 1. */
export interface Impairment {
  readonly isCut: boolean;
  readonly delayMs: number;
  /** Each frame's delay differs by up to so much: what comes later may arrive earlier. */
  readonly jitterMs: number;
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
}

export const PERFECT: Impairment = {
  isCut: false,
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  corrupt: 0,
};

class Wire {
  impairment: Impairment = PERFECT;
  readonly #random: Prng;

  constructor(random: Prng) {
    this.#random = random;
  }

  pump(from: number, to: number): void {
    const buffer = Buffer.alloc(FRAME_BYTES_MAX);
    const next = (): void => {
      read(from, buffer, 0, buffer.byteLength, null, (error, byteCount) => {
        if (error !== null) process.exit(0);
        this.#pass(Buffer.from(buffer.subarray(0, byteCount)), to);
        next();
      });
    };
    next();
  }

  #pass(frame: Buffer, to: number): void {
    const { isCut, loss, duplicate, corrupt } = this.impairment;
    if (isCut || this.#random.chance(loss)) return;
    if (this.#random.chance(corrupt)) {
      const at = this.#random.below(frame.byteLength);
      frame[at] = (frame[at] ?? 0) ^ (1 << this.#random.below(8));
    }
    this.#deliver(frame, to);
    if (this.#random.chance(duplicate)) this.#deliver(frame, to);
  }

  #deliver(frame: Buffer, to: number): void {
    const { delayMs, jitterMs } = this.impairment;
    const waitMs = delayMs + this.#random.float() * jitterMs;
    if (waitMs < 0.5) write(to, frame);
    else after(write, waitMs, to, frame);
  }
}

/** An end that is down, or a queue that is full, loses frames as a link does. */
function write(to: number, frame: Buffer): void {
  try {
    writeSync(to, frame);
  } catch {
    // Lost.
  }
}

/** A TAP device in this process's namespace; the caller moves it where it belongs. */
function openTap(name: string): number {
  const require = createRequire(new URL('../../packages/forwarder/package.json', import.meta.url));
  const koffi = require('koffi') as {
    load(name: null): { func(definition: string): (...words: unknown[]) => number };
  };
  const ioctl = koffi.load(null).func('int ioctl(int, unsigned long, void *)');
  const descriptor = openSync('/dev/net/tun', 'r+');
  const request = Buffer.alloc(40);
  request.write(name);
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
  if (ioctl(descriptor, TUNSETIFF, request) === 0) return descriptor;
  closeSync(descriptor);
  throw new Error(`cannot make the TAP device ${name}`);
}

if (process.send !== undefined) {
  const [seed = '1', a = '', b = ''] = process.argv.slice(2);
  const wire = new Wire(new Prng(Number(seed), 'wire'));
  const [left, right] = [openTap(a), openTap(b)];
  wire.pump(left, right);
  wire.pump(right, left);
  process.on('message', (impairment: Impairment) => {
    wire.impairment = impairment;
  });
  process.on('disconnect', () => {
    process.exit(0);
  });
  process.send('ready');
}
