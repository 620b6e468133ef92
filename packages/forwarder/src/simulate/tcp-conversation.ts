/**
 * One TCP connection (RFC 9293) as the mirror port sees it: both ends, their sequence numbers, delayed acknowledgements
 * and the options their stacks negotiate.
 *
 * The process that owns a conversation sleeps through it (`sleep`), so that an acknowledgement that found no data to ride
 * on leaves at its time (RFC 1122, 4.2.3.2: at most 500 ms late, and for every second full segment at once).
 *
 * What must stay true: nothing is lost, repeated or out of order, and every byte is acknowledged only after it was seen.
 * An analyser's flags (retransmission, lost segment, ACK of unseen) stay silent, but for the keep-alives, which are real.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { resolve } from './arp.ts';
import type { Wire } from './ethernet-builder.ts';
import type { Host, Stack } from './host.ts';
import { sendTcp, type TcpHeader } from './ip-builder.ts';
import { MICROSECOND, MILLISECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const PSH = 0x08;
const ACK = 0x10;

/** 1,500 bytes of Ethernet payload less 40 bytes of headers: the segment size both ends announce. */
const SEGMENT_BYTES_MAX = 1460;
const TIMESTAMP_BYTES = 12;
/** A full segment at 1 Gbit/s takes so long to leave its host. */
const SEGMENT_GAP_NS = 13 * MICROSECOND;
/** Between a segment that passes the tap and the other end's reaction to it: the short way there and back. */
const REACTION_NS = 70 * MICROSECOND;
const NO_BYTES: Uint8Array = new Uint8Array(0);

/** One end of a conversation. */
export interface TcpEnd {
  readonly host: Host;
  readonly port: number;
  /** SND.NXT: the sequence number of the next byte. */
  next: number;
  /** When an acknowledgement is due that waits for data; Infinity when none is owed. */
  ackDueNs: number;
  /** RFC 7323: value of this end's timestamp clock at the start of the capture, and the last one it sent. */
  readonly timestampBase: number;
  timestamp: number;
}

export class TcpConversation {
  readonly client: TcpEnd;
  readonly server: TcpEnd;
  /** From the tap to the other end and back. */
  readonly roundTripNs: number;
  readonly #world: World;
  readonly #wire: Wire;
  readonly #timestamps: boolean;
  readonly #scaled: boolean;
  readonly #header: TcpHeader = {
    sourcePort: 0,
    destinationPort: 0,
    sequence: 0,
    acknowledgment: 0,
    flags: 0,
    window: 0,
    options: NO_BYTES,
  };
  /** Who sent last, and when: an end cannot answer what has not reached it. */
  #lastFrom: TcpEnd | null = null;
  #lastAtNs = 0;
  readonly #timestampOption = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0);

  constructor(world: World, protocol: string, client: Host, server: Host, port: number, random: Prng) {
    this.#world = world;
    this.#wire = world.wire(protocol);
    this.client = tcpEnd(client, client.takePort(), random);
    this.server = tcpEnd(server, port, random);
    this.roundTripNs = random.between(180 * MICROSECOND, 700 * MICROSECOND) + random.below(MICROSECOND);
    this.#timestamps = client.stack.timestamps && server.stack.timestamps;
    this.#scaled = client.stack.windowShift !== null && server.stack.windowShift !== null;
  }

  /** Resolves the server's MAC and shakes hands. */
  *open(): Process {
    yield* resolve(this.#world, this.client.host, this.server.host);
    this.#segment(this.client, SYN);
    yield this.roundTripNs;
    this.#segment(this.server, SYN | ACK);
    yield 30 * MICROSECOND;
    this.#segment(this.client, ACK);
  }

  /** A connection attempt on a closed port: the answer is a reset (RFC 9293, 3.10.7.1). */
  *openRefused(): Process {
    yield* resolve(this.#world, this.client.host, this.server.host);
    this.#segment(this.client, SYN);
    yield this.roundTripNs;
    this.server.next = 0;
    this.#segment(this.server, RST | ACK);
  }

  /** A half-open scan of an open port: the client resets what the server accepts. */
  *openAndReset(): Process {
    yield* resolve(this.#world, this.client.host, this.server.host);
    this.#segment(this.client, SYN);
    yield this.roundTripNs;
    this.#segment(this.server, SYN | ACK);
    yield 45 * MICROSECOND;
    this.#segment(this.client, RST);
  }

  /** Sends a message in as many segments as it needs, pushed with the last. `payload` is only read, and only until the end. */
  *send(from: TcpEnd, payload: Uint8Array): Process {
    const to = this.#peer(from);
    yield* this.#react(from);
    const segmentBytes = SEGMENT_BYTES_MAX - (this.#timestamps ? TIMESTAMP_BYTES : 0);
    let unacknowledged = 0;
    for (let offset = 0; offset < payload.byteLength; offset += segmentBytes) {
      const byteLength = Math.min(segmentBytes, payload.byteLength - offset);
      if (unacknowledged === 2) {
        yield this.roundTripNs;
        this.#segment(to, ACK);
        unacknowledged = 0;
      }
      if (offset > 0) yield SEGMENT_GAP_NS;
      const isLast = offset + byteLength === payload.byteLength;
      this.#segment(from, isLast ? PSH | ACK : ACK, payload, offset, byteLength);
      unacknowledged++;
      if (to.ackDueNs === Infinity) to.ackDueNs = this.#world.nowNs + to.host.stack.ackDelayNs;
    }
  }

  /** The server's way to an answer: the round trip, and the time it thinks. */
  think(ns: number): Process {
    return this.sleep(this.roundTripNs + ns);
  }

  /** Lets time pass; acknowledgements that come due leave. */
  *sleep(ns: number): Process {
    const untilNs = this.#world.nowNs + ns;
    for (;;) {
      const owing = this.client.ackDueNs <= this.server.ackDueNs ? this.client : this.server;
      if (owing.ackDueNs > untilNs) break;
      const waitNs = owing.ackDueNs - this.#world.nowNs;
      if (waitNs > 0) yield waitNs;
      this.#segment(owing, ACK);
    }
    const restNs = untilNs - this.#world.nowNs;
    if (restNs > 0) yield restNs;
  }

  /** Sleeps until a moment of the capture; returns at once when it is past. */
  *sleepUntil(atNs: number): Process {
    const ns = atNs - this.#world.nowNs;
    if (ns > 0) yield* this.sleep(ns);
  }

  /** RFC 9293, 3.8.4: an idle end asks with an old sequence number whether the other is still there. */
  *keepAlive(from: TcpEnd): Process {
    yield* this.#settle();
    from.next = (from.next - 1) >>> 0;
    this.#segment(from, ACK);
    from.next = (from.next + 1) >>> 0;
    yield this.roundTripNs;
    this.#segment(this.#peer(from), ACK);
  }

  /** Ends the connection in order, `from` first: FIN, ACK, FIN, ACK. */
  *close(from: TcpEnd): Process {
    const to = this.#peer(from);
    yield* this.#react(from);
    this.#segment(from, FIN | ACK);
    yield this.roundTripNs;
    this.#segment(to, ACK);
    yield 2 * MILLISECOND;
    this.#segment(to, FIN | ACK);
    yield this.roundTripNs;
    this.#segment(from, ACK);
  }

  /** Ends the connection at once. */
  reset(from: TcpEnd): void {
    this.#segment(from, RST | ACK);
  }

  /** Lets owed acknowledgements leave now. */
  *#settle(): Process {
    for (const end of [this.client, this.server]) {
      if (end.ackDueNs === Infinity) continue;
      yield this.roundTripNs;
      this.#segment(end, ACK);
    }
  }

  /** Waits until what the other end sent last has reached this one. */
  *#react(from: TcpEnd): Process {
    if (this.#lastFrom !== from) yield* this.sleepUntil(this.#lastAtNs + REACTION_NS);
  }

  #peer(end: TcpEnd): TcpEnd {
    return end === this.client ? this.server : this.client;
  }

  #segment(from: TcpEnd, flags: number, payload = NO_BYTES, offset = 0, byteLength = 0): void {
    const to = this.#peer(from);
    const header = this.#header;
    header.sourcePort = from.port;
    header.destinationPort = to.port;
    header.sequence = from.next;
    header.acknowledgment = (flags & ACK) === 0 ? 0 : to.next;
    header.flags = flags;
    header.window = (flags & RST) === 0 ? this.#window(from.host.stack, (flags & SYN) !== 0) : 0;
    header.options = this.#options(from, to, flags);
    from.next = (from.next + byteLength + ((flags & (SYN | FIN)) === 0 ? 0 : 1)) >>> 0;
    if ((flags & ACK) !== 0) from.ackDueNs = Infinity;
    this.#lastFrom = from;
    this.#lastAtNs = this.#world.nowNs;
    sendTcp(this.#wire, from.host, to.host, header, payload, offset, byteLength);
  }

  /** The window field: never scaled in a SYN (RFC 7323, 2.2). */
  #window(stack: Stack, isSyn: boolean): number {
    const shift = this.#scaled && !isSyn ? (stack.windowShift ?? 0) : 0;
    return Math.min(0xffff, stack.windowBytes >>> shift);
  }

  #options(from: TcpEnd, to: TcpEnd, flags: number): Uint8Array {
    if ((flags & SYN) !== 0) {
      const answered = (flags & ACK) !== 0;
      return synOptions(from.host.stack, {
        scaled: answered ? this.#scaled : true,
        timestamps: answered ? this.#timestamps : true,
        timestamp: this.#tick(from),
        echo: answered ? to.timestamp : 0,
      });
    }
    if (!this.#timestamps || (flags & RST) !== 0) return NO_BYTES;
    const option = this.#timestampOption;
    putU32(option, 4, this.#tick(from));
    putU32(option, 8, to.timestamp);
    return option;
  }

  /** The end's timestamp clock: one tick a millisecond. */
  #tick(end: TcpEnd): number {
    end.timestamp = (end.timestampBase + Math.floor(this.#world.nowNs / MILLISECOND)) >>> 0;
    return end.timestamp;
  }
}

function tcpEnd(host: Host, port: number, random: Prng): TcpEnd {
  return { host, port, next: random.u32(), ackDueNs: Infinity, timestampBase: random.u32(), timestamp: 0 };
}

/** Options of a SYN in the order of RFC 9293 (MSS), RFC 2018 (SACK permitted), RFC 7323 (timestamps, window scale). */
function synOptions(
  stack: Stack,
  offer: { scaled: boolean; timestamps: boolean; timestamp: number; echo: number },
): Uint8Array {
  const options = [2, 4, SEGMENT_BYTES_MAX >> 8, SEGMENT_BYTES_MAX & 0xff];
  if (stack.windowShift !== null && offer.scaled) options.push(1, 3, 3, stack.windowShift);
  if (stack.selectiveAck && offer.scaled) options.push(1, 1, 4, 2);
  if (!stack.timestamps || !offer.timestamps) return Uint8Array.from(options);
  const bytes = Uint8Array.from([...options, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
  putU32(bytes, options.length + 4, offer.timestamp);
  putU32(bytes, options.length + 8, offer.echo);
  return bytes;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
