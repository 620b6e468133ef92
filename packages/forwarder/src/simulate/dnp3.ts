/**
 * DNP3 over TCP (IEEE 1815-2012), port 20000, little-endian. A master polls an outstation's classes, the outstation
 * reports events unsolicited, and the master confirms them.
 *
 *   data link header (clause 9)   05 64 · length of control, addresses and user data · control · destination (2) · source (2)
 *                                 · CRC (2), then user data in blocks of 16 bytes, a CRC behind each
 *   transport function (clause 8) FIN, FIR, sequence (6 bits)
 *   application layer (clause 4)  control: FIR FIN CON UNS sequence (4 bits) · function · in answers: internal indications (2)
 *                                 · objects: group, variation, qualifier, range, values
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const DNP3_PORT = 20_000;

const CONFIRM = 0x00;
const READ = 0x01;
const WRITE = 0x02;
const DIRECT_OPERATE = 0x05;
const ENABLE_UNSOLICITED = 0x14;
const RESPONSE = 0x81;
const UNSOLICITED_RESPONSE = 0x82;

/** Application control: one fragment, first and last. */
const WHOLE = 0xc0;
const CON = 0x20;
const UNS = 0x10;

/** Qualifiers (table 4-5): 8-bit start and stop, all objects, 8-bit count with 8-bit index, 16-bit count with 16-bit index. */
const RANGE_8 = 0x00;
const ALL = 0x06;
const INDEXED_8 = 0x17;
const INDEXED_16 = 0x28;

/** IIN1.7: the outstation restarted and nobody has cleared it. */
const DEVICE_RESTART = 0x80;

const BINARIES = 10;
const ANALOGS = 12;
const POLLS_PER_INTEGRITY = 30;

/** One master, one outstation, one connection. */
class Dnp3Link {
  readonly tcp: TcpConversation;
  readonly #world: World;
  readonly #random: Prng;
  readonly #application = new ByteWriter();
  readonly #frame = new ByteWriter();
  readonly #master: number;
  readonly #outstation: number;
  /** Sequences: of the transport function, each way; of requests; of unsolicited responses (4.2.2.4). */
  #masterTransport = 0;
  #outstationTransport = 0;
  #sequence = 0;
  #unsolicitedSequence = 0;
  #indications = DEVICE_RESTART;

  constructor(world: World, master: Host, outstation: Host, address: number, random: Prng) {
    this.tcp = new TcpConversation(world, 'dnp3', master, outstation, DNP3_PORT, random);
    this.#world = world;
    this.#random = random;
    this.#master = 1;
    this.#outstation = address;
  }

  /** What happens first: the restart is announced and cleared, unsolicited reports are switched on. */
  *start(): Process {
    yield* this.tcp.open();
    yield* this.tcp.sleep(20 * MILLISECOND);
    yield* this.#unsolicited(nothing);
    // Internal indications are object group 80; index 7 is the restart bit.
    yield* this.#request(WRITE, (fields) => fields.u8(80).u8(1).u8(RANGE_8).u8(7).u8(7).u8(0));
    this.#indications = 0;
    yield* this.#respond(nothing, false);
    yield* this.#request(ENABLE_UNSOLICITED, (fields) => classes(fields, false));
    yield* this.#respond(nothing, false);
    yield* this.integrityPoll();
  }

  /** Classes 1, 2, 3 and 0: events, then every static value. */
  *integrityPoll(): Process {
    yield* this.#request(READ, (fields) => classes(fields, true));
    yield* this.#respond((fields) => this.#staticValues(fields), false);
  }

  /** Classes 1, 2 and 3; events ask for a confirmation. */
  *eventPoll(): Process {
    yield* this.#request(READ, (fields) => classes(fields, false));
    const events = this.#random.below(4);
    if (events === 0) yield* this.#respond(nothing, false);
    else yield* this.#respond((fields) => this.#analogEvents(fields, events), true);
  }

  /** An event the outstation does not keep to itself. */
  *report(): Process {
    yield* this.#unsolicited((fields) => this.#binaryEvent(fields));
  }

  /** A control relay output block (group 12): closes a breaker for 100 ms. */
  *operate(): Process {
    const index = this.#random.below(4);
    const block = (fields: ByteWriter): void => {
      fields.u8(12).u8(1).u8(INDEXED_16).u16le(1).u16le(index);
      fields.u8(0x41).u8(1).u32le(100).u32le(100).u8(0); // pulse on, close · count · on and off time · status
    };
    yield* this.#request(DIRECT_OPERATE, block);
    yield* this.#respond(block, false);
  }

  *#request(functionCode: number, objects: Part): Process {
    this.#sequence = (this.#sequence + 1) & 0x0f;
    const fields = this.#application
      .start()
      .u8(WHOLE | this.#sequence)
      .u8(functionCode);
    objects(fields);
    yield* this.#fromMaster(fields);
    yield* this.tcp.think(this.#random.between(3000 * MICROSECOND, 15_000 * MICROSECOND));
  }

  *#respond(objects: Part, confirm: boolean): Process {
    const control = WHOLE | (confirm ? CON : 0) | this.#sequence;
    const fields = this.#application.start().u8(control).u8(RESPONSE).u8(this.#indications).u8(0);
    objects(fields);
    yield* this.#fromOutstation(fields);
    yield* this.tcp.think(this.#random.between(1000 * MICROSECOND, 4000 * MICROSECOND));
    if (confirm) yield* this.#confirm(WHOLE | this.#sequence);
  }

  *#unsolicited(objects: Part): Process {
    const sequence = this.#unsolicitedSequence;
    this.#unsolicitedSequence = (sequence + 1) & 0x0f;
    const fields = this.#application
      .start()
      .u8(WHOLE | CON | UNS | sequence)
      .u8(UNSOLICITED_RESPONSE);
    fields.u8(this.#indications).u8(0);
    objects(fields);
    yield* this.#fromOutstation(fields);
    yield* this.tcp.think(this.#random.between(1000 * MICROSECOND, 4000 * MICROSECOND));
    yield* this.#confirm(WHOLE | UNS | sequence);
  }

  *#confirm(control: number): Process {
    yield* this.#fromMaster(this.#application.start().u8(control).u8(CONFIRM));
    yield* this.tcp.sleep(this.#random.between(2 * MILLISECOND, 6 * MILLISECOND));
  }

  *#fromMaster(fields: ByteWriter): Process {
    this.#masterTransport = (this.#masterTransport + 1) & 0x3f;
    const frame = linkFrame(
      this.#frame,
      { control: 0xc4, destination: this.#outstation, source: this.#master }, // DIR, PRM, unconfirmed user data
      0xc0 | this.#masterTransport,
      fields.done(),
    );
    yield* this.tcp.send(this.tcp.client, frame);
  }

  *#fromOutstation(fields: ByteWriter): Process {
    this.#outstationTransport = (this.#outstationTransport + 1) & 0x3f;
    const frame = linkFrame(
      this.#frame,
      { control: 0x44, destination: this.#master, source: this.#outstation }, // PRM, unconfirmed user data
      0xc0 | this.#outstationTransport,
      fields.done(),
    );
    yield* this.tcp.send(this.tcp.server, frame);
  }

  /** Group 1 variation 2 (binary input with flags), group 30 variation 1 (32-bit analog input with flag). */
  #staticValues(fields: ByteWriter): void {
    fields
      .u8(1)
      .u8(2)
      .u8(RANGE_8)
      .u8(0)
      .u8(BINARIES - 1);
    for (let i = 0; i < BINARIES; i++) fields.u8(this.#random.chance(0.5) ? 0x81 : 0x01);
    fields
      .u8(30)
      .u8(1)
      .u8(RANGE_8)
      .u8(0)
      .u8(ANALOGS - 1);
    for (let i = 0; i < ANALOGS; i++) fields.u8(0x01).u32le(this.#random.between(0, 120_000));
  }

  /** Group 32 variation 1: 32-bit analog input event. */
  #analogEvents(fields: ByteWriter, count: number): void {
    fields.u8(32).u8(1).u8(INDEXED_8).u8(count);
    for (let i = 0; i < count; i++)
      fields.u8(this.#random.below(ANALOGS)).u8(0x01).u32le(this.#random.between(0, 120_000));
  }

  /** Group 2 variation 2: binary input event with absolute time, milliseconds since 1970. */
  #binaryEvent(fields: ByteWriter): void {
    fields.u8(2).u8(2).u8(INDEXED_8).u8(1).u8(this.#random.below(BINARIES));
    fields.u8(this.#random.chance(0.5) ? 0x81 : 0x01).u48le(Math.floor(this.#world.epochMs));
  }
}

type Part = (fields: ByteWriter) => void;

function nothing(): void {
  // A fragment without objects.
}

/** Class data objects, group 60: variations 2 to 4 are classes 1 to 3, variation 1 is class 0. */
function classes(fields: ByteWriter, integrity: boolean): void {
  for (const variation of integrity ? [2, 3, 4, 1] : [2, 3, 4]) fields.u8(60).u8(variation).u8(ALL);
}

/** A master that polls one outstation for ever. */
export function* dnp3Polling(
  world: World,
  link: { master: Host; outstation: Host; address: number; periodNs: number },
  random: Prng,
): Process {
  const dnp3 = new Dnp3Link(world, link.master, link.outstation, link.address, random);
  yield* dnp3.start();
  let dueNs = world.nowNs;
  for (let poll = 1; ; poll++) {
    dueNs += link.periodNs;
    if (random.chance(0.2)) {
      yield* dnp3.tcp.sleep(random.below(link.periodNs / 2));
      yield* dnp3.report();
    }
    yield* dnp3.tcp.sleepUntil(dueNs + random.below(20 * MILLISECOND));
    if (poll % POLLS_PER_INTEGRITY === 0) yield* dnp3.integrityPoll();
    else yield* dnp3.eventPoll();
    if (random.chance(0.02)) yield* dnp3.operate();
    yield* dnp3.tcp.sleep(SECOND / 10);
  }
}

interface LinkHeader {
  readonly control: number;
  readonly destination: number;
  readonly source: number;
}

/** Builds a data link frame around one transport segment. */
function linkFrame(
  frame: ByteWriter,
  header: LinkHeader,
  transport: number,
  application: Uint8Array,
): Uint8Array {
  frame
    .start()
    .u16(0x0564)
    .u8(6 + application.byteLength)
    .u8(header.control);
  frame.u16le(header.destination).u16le(header.source);
  frame.u16le(dnp3Crc(frame.bytes, 0, 8));
  let blockAt = frame.length;
  frame.u8(transport);
  for (const byte of application) {
    if (frame.length - blockAt === 16) {
      frame.u16le(dnp3Crc(frame.bytes, blockAt, 16));
      blockAt = frame.length;
    }
    frame.u8(byte);
  }
  return frame.u16le(dnp3Crc(frame.bytes, blockAt, frame.length - blockAt)).done();
}

/** Polynomial 0x3d65, bits reflected. */
const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xa6bc;
  return crc;
});

/** The CRC of clause 9.2.3.3: starts at zero, is complemented at the end, travels low byte first. */
export function dnp3Crc(bytes: Uint8Array, offset: number, byteLength: number): number {
  let crc = 0;
  for (let i = 0; i < byteLength; i++)
    crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (bytes[offset + i] as number)) & 0xff] as number);
  return ~crc & 0xffff;
}
