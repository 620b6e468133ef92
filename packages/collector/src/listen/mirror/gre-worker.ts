/**
 * The thread of a raw socket for IP protocol 47. It blocks in `poll`, takes what there is, and sends it on in one buffer; so
 * the main thread's work is a message per burst and not a system call per packet.
 */
import { isIPv6 } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';
import { parseAddress } from '@tapline/shared/packet/ip-address.ts';
import { GRE_RECORD_HEADER_BYTES, type GreMessage } from './gre-protocol.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW_NONBLOCK = 3 | 0x800;
const IPPROTO_GRE = 47;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const POLLIN = 1;
const POLL_MS = 200;
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
const PACKET_BYTES_MAX = 65_535;
const BURST_BYTES = 512 * 1024;
const SOCKADDR_BYTES = 28;

const libc = koffi.load(null);
const socket = libc.func('int socket(int, int, int)') as (...words: number[]) => number;
const bind = libc.func('int bind(int, void *, uint32_t)') as (descriptor: number, address: Uint8Array, byteLength: number) => number; // prettier-ignore
const setsockopt = libc.func('int setsockopt(int, int, int, void *, uint32_t)') as (descriptor: number, level: number, option: number, value: Uint32Array, byteLength: number) => number; // prettier-ignore
const poll = libc.func('int poll(void *, unsigned long, int)') as (descriptors: Uint8Array, count: number, timeoutMs: number) => number; // prettier-ignore
const recvfrom = libc.func('long recvfrom(int, void *, unsigned long, int, void *, void *)') as (descriptor: number, bytes: Uint8Array, byteLength: number, flags: number, address: Uint8Array, addressBytes: Uint32Array) => number; // prettier-ignore
const close = libc.func('int close(int)') as (descriptor: number) => number;

const { host } = workerData as { host: string };
const port = parentPort;
let isStopping = false;
port?.on('message', () => {
  isStopping = true;
});

function say(message: GreMessage, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

function openSocket(): number {
  const family = isIPv6(host) ? AF_INET6 : AF_INET;
  const descriptor = socket(family, SOCK_RAW_NONBLOCK, IPPROTO_GRE);
  if (descriptor < 0) return descriptor;
  const size = new Uint32Array([RECEIVE_BUFFER_BYTES]);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, size, 4);
  const address = new Uint8Array(family === AF_INET ? 16 : SOCKADDR_BYTES);
  address[0] = family;
  address.set(parseAddress(host) ?? [], family === AF_INET ? 4 : 8);
  if (bind(descriptor, address, address.byteLength) === 0) return descriptor;
  close(descriptor);
  return -1;
}

/** Reads until nothing is left or the buffer is full; returns the bytes used. */
function receive(descriptor: number, burst: Uint8Array, packet: Uint8Array): number {
  const address = new Uint8Array(SOCKADDR_BYTES);
  const addressBytes = new Uint32Array(1);
  const view = new DataView(burst.buffer);
  let used = 0;
  while (used + GRE_RECORD_HEADER_BYTES + PACKET_BYTES_MAX <= burst.byteLength) {
    addressBytes[0] = SOCKADDR_BYTES;
    const received = recvfrom(descriptor, packet, packet.byteLength, 0, address, addressBytes);
    if (received < 0) break;
    const isV4 = address[0] === AF_INET;
    // An IPv4 raw socket hands over the IP header too, an IPv6 one does not.
    const start = isV4 ? ((packet[0] as number) & 15) * 4 : 0;
    const length = Math.max(0, received - start);
    view.setUint16(used, isV4 ? 4 : 6, true);
    view.setUint16(used + 2, length, true);
    burst.fill(0, used + 4, used + GRE_RECORD_HEADER_BYTES);
    burst.set(isV4 ? address.subarray(4, 8) : address.subarray(8, 24), used + 4);
    burst.set(packet.subarray(start, start + length), used + GRE_RECORD_HEADER_BYTES);
    used += GRE_RECORD_HEADER_BYTES + length;
  }
  return used;
}

async function run(): Promise<void> {
  const descriptor = openSocket();
  if (descriptor < 0) {
    say({ kind: 'failed', message: 'the raw socket was refused' });
    return;
  }
  say({ kind: 'opened' });
  const waiting = new Uint8Array(8);
  const view = new DataView(waiting.buffer);
  view.setInt32(0, descriptor, true);
  view.setUint16(4, POLLIN, true);
  const packet = new Uint8Array(PACKET_BYTES_MAX);
  while (!isStopping) {
    if (poll(waiting, 1, POLL_MS) > 0) {
      const burst = new Uint8Array(BURST_BYTES);
      const used = receive(descriptor, burst, packet);
      if (used > 0) {
        const bytes = burst.slice(0, used);
        say({ kind: 'packets', bytes }, [bytes.buffer]);
      }
    }
    // The order to stop comes as a message, which needs a turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
  close(descriptor);
  port?.close();
}

await run();
