/**
 * IEC 60870-5-104, port 2404, little-endian: a control centre (controlling station) and an RTU (controlled station).
 *
 *   APCI (IEC 60870-5-104, 5.1)  68 · length of the rest · four control octets:
 *          I  send sequence N(S) and receive sequence N(R), each shifted left by one (bit 0 of the first octet is 0)
 *          S  01 00 · N(R) shifted left by one
 *          U  STARTDT act 07, con 0b · TESTFR act 43, con 83
 *   ASDU (IEC 60870-5-101, 7.2)  type · variable structure qualifier: count, SQ in bit 7 · cause (6 bits), originator ·
 *          common address (2) · information objects: address (3), elements, time tag
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, MINUTE, SECOND, type Process } from './scheduler.ts';
import { TcpConversation, type TcpEnd } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const IEC104_PORT = 2404;

const STARTDT_ACT = 0x07;
const STARTDT_CON = 0x0b;
const TESTFR_ACT = 0x43;
const TESTFR_CON = 0x83;

/** Type identifications. */
const M_SP_NA_1 = 1;
const M_ME_NC_1 = 13;
const M_SP_TB_1 = 30;
const M_ME_TF_1 = 36;
const C_SC_NA_1 = 45;
const C_SE_NC_1 = 50;
const C_IC_NA_1 = 100;
const C_CS_NA_1 = 103;

/** Causes of transmission. */
const SPONTANEOUS = 3;
const ACTIVATION = 6;
const ACTIVATION_CON = 7;
const ACTIVATION_TERM = 10;
const INTERROGATED = 20;

/** w (5.5): at the latest after so many I-frames the receiver acknowledges. */
const W = 8;
/** t2 and t3 (9.6): without traffic, acknowledge after 10 s and test the connection after 20 s. */
const T2_NS = 10 * SECOND;
const T3_NS = 20 * SECOND;

const SINGLE_POINTS_AT = 1001;
const MEASURED_AT = 4001;
const COMMANDS_AT = 6001;

/** A station's counters. */
interface Station {
  readonly end: TcpEnd;
  /** V(S), 15 bits. */
  sent: number;
  /** V(R), and the last one told to the other side. */
  received: number;
  acknowledged: number;
}

class Iec104Link {
  readonly tcp: TcpConversation;
  readonly #world: World;
  readonly #random: Prng;
  readonly #message = new ByteWriter();
  readonly #address: number;
  readonly #centre: Station;
  readonly #rtu: Station;

  constructor(world: World, centre: Host, rtu: Host, address: number, random: Prng) {
    this.tcp = new TcpConversation(world, 'iec104', centre, rtu, IEC104_PORT, random);
    this.#world = world;
    this.#random = random;
    this.#address = address;
    this.#centre = { end: this.tcp.client, sent: 0, received: 0, acknowledged: 0 };
    this.#rtu = { end: this.tcp.server, sent: 0, received: 0, acknowledged: 0 };
  }

  *start(): Process {
    yield* this.tcp.open();
    yield* this.#u(this.#centre, STARTDT_ACT);
    yield* this.#think();
    yield* this.#u(this.#rtu, STARTDT_CON);
    yield* this.synchronise();
    yield* this.interrogate();
  }

  /** Station interrogation: confirmed, answered with everything the RTU knows, terminated. */
  *interrogate(): Process {
    const interrogation = (fields: ByteWriter): ByteWriter => fields.u24le(0).u8(20);
    yield* this.#command(C_IC_NA_1, interrogation);
    yield* this.#i(this.#rtu, C_IC_NA_1, 1, ACTIVATION_CON, interrogation);
    yield* this.tcp.sleep(2 * MILLISECOND);
    yield* this.#i(this.#rtu, M_SP_NA_1, 0x80 | 16, INTERROGATED, (fields) => {
      fields.u24le(SINGLE_POINTS_AT);
      for (let i = 0; i < 16; i++) fields.u8(this.#random.below(2));
    });
    yield* this.tcp.sleep(2 * MILLISECOND);
    yield* this.#i(this.#rtu, M_ME_NC_1, 12, INTERROGATED, (fields) => {
      for (let i = 0; i < 12; i++) this.#measured(fields, MEASURED_AT + i);
    });
    yield* this.tcp.sleep(2 * MILLISECOND);
    yield* this.#i(this.#rtu, C_IC_NA_1, 1, ACTIVATION_TERM, interrogation);
  }

  /** Clock synchronisation command. */
  *synchronise(): Process {
    const clock = (fields: ByteWriter): void => cp56Time2a(fields.u24le(0), this.#world.epochMs);
    yield* this.#command(C_CS_NA_1, clock);
    yield* this.#i(this.#rtu, C_CS_NA_1, 1, ACTIVATION_CON, clock);
  }

  /** One to three measured values that changed, each with its time. */
  *reportMeasured(): Process {
    const count = this.#random.between(1, 3);
    yield* this.#i(this.#rtu, M_ME_TF_1, count, SPONTANEOUS, (fields) => {
      for (let i = 0; i < count; i++) {
        this.#measured(fields, MEASURED_AT + this.#random.below(12));
        cp56Time2a(fields, this.#world.epochMs);
      }
    });
  }

  *reportSinglePoint(): Process {
    yield* this.#i(this.#rtu, M_SP_TB_1, 1, SPONTANEOUS, (fields) => {
      fields.u24le(SINGLE_POINTS_AT + this.#random.below(16)).u8(this.#random.below(2));
      cp56Time2a(fields, this.#world.epochMs);
    });
  }

  /** A single command or a set point: activation, confirmation, termination. */
  *operate(): Process {
    const isSetPoint = this.#random.chance(0.4);
    const object = COMMANDS_AT + this.#random.below(4) + (isSetPoint ? 200 : 0);
    const value = this.#random.between(0, 1000) / 10;
    const on = this.#random.below(2);
    const type = isSetPoint ? C_SE_NC_1 : C_SC_NA_1;
    const command = (fields: ByteWriter): void => {
      fields.u24le(object);
      if (isSetPoint) fields.f32le(value).u8(0);
      else fields.u8(on);
    };
    yield* this.#command(type, command);
    yield* this.#i(this.#rtu, type, 1, ACTIVATION_CON, command);
    yield* this.tcp.sleep(this.#random.between(20 * MILLISECOND, 200 * MILLISECOND));
    yield* this.#i(this.#rtu, type, 1, ACTIVATION_TERM, command);
  }

  /** Lets time pass as the standard wants it: t2 acknowledges, t3 tests. */
  *idle(ns: number): Process {
    let restNs = ns;
    if (restNs > T2_NS) {
      yield* this.tcp.sleep(T2_NS);
      restNs -= T2_NS;
      yield* this.#acknowledge(this.#centre);
    }
    while (restNs > T3_NS) {
      yield* this.tcp.sleep(T3_NS);
      restNs -= T3_NS;
      yield* this.#u(this.#centre, TESTFR_ACT);
      yield* this.#think();
      yield* this.#u(this.#rtu, TESTFR_CON);
    }
    yield* this.tcp.sleep(restNs);
  }

  *#command(type: number, objects: (fields: ByteWriter) => void): Process {
    yield* this.#i(this.#centre, type, 1, ACTIVATION, objects);
    yield* this.#think();
  }

  /** Sends an I-frame; the other side answers with an S-frame when it has w unacknowledged ones. */
  *#i(
    from: Station,
    type: number,
    structure: number,
    cause: number,
    objects: (fields: ByteWriter) => void,
  ): Process {
    const to = from === this.#rtu ? this.#centre : this.#rtu;
    const fields = this.#message
      .start()
      .u8(0x68)
      .u8(0)
      .u16le(from.sent << 1)
      .u16le(from.received << 1);
    fields.u8(type).u8(structure).u8(cause).u8(0).u16le(this.#address);
    objects(fields);
    fields.bytes[1] = fields.length - 2;
    from.sent = (from.sent + 1) & 0x7fff;
    from.acknowledged = from.received;
    yield* this.tcp.send(from.end, fields.done());
    to.received = (to.received + 1) & 0x7fff;
    if (((to.received - to.acknowledged) & 0x7fff) < W) return;
    yield* this.tcp.think(this.#random.between(200 * MICROSECOND, 900 * MICROSECOND));
    yield* this.#acknowledge(to);
  }

  *#acknowledge(station: Station): Process {
    if (station.acknowledged === station.received) return;
    station.acknowledged = station.received;
    const frame = this.#message
      .start()
      .u8(0x68)
      .u8(4)
      .u16le(0x0001)
      .u16le(station.received << 1);
    yield* this.tcp.send(station.end, frame.done());
  }

  *#u(from: Station, control: number): Process {
    yield* this.tcp.send(from.end, this.#message.start().u8(0x68).u8(4).u8(control).u24(0).done());
  }

  #think(): Process {
    return this.tcp.think(this.#random.between(2000 * MICROSECOND, 9000 * MICROSECOND));
  }

  /** A short floating point value and its quality (valid). */
  #measured(fields: ByteWriter, object: number): void {
    fields
      .u24le(object)
      .f32le(this.#random.between(0, 40_000) / 100)
      .u8(0);
  }
}

/** A control centre and an RTU, for ever. Some RTUs have lively processes, some say nothing for a minute. */
export function* iec104Telecontrol(
  world: World,
  link: { centre: Host; rtu: Host; address: number },
  random: Prng,
): Process {
  const iec104 = new Iec104Link(world, link.centre, link.rtu, link.address, random);
  yield* iec104.start();
  let interrogationNs = world.nowNs + 10 * MINUTE;
  for (;;) {
    const isQuiet = random.chance(0.08);
    yield* iec104.idle(isQuiet ? random.between(25 * SECOND, 65 * SECOND) : random.exponential(1.5 * SECOND));
    if (random.chance(0.15)) yield* iec104.reportSinglePoint();
    else yield* iec104.reportMeasured();
    if (random.chance(0.02)) yield* iec104.operate();
    if (world.nowNs < interrogationNs) continue;
    interrogationNs += 10 * MINUTE;
    yield* iec104.synchronise();
    yield* iec104.interrogate();
  }
}

/** CP56Time2a (IEC 60870-5-101, 7.2.6.18): milliseconds (2), minute, hour, day with weekday, month, year; UTC. */
export function cp56Time2a(fields: ByteWriter, epochMs: number): void {
  const time = new Date(epochMs);
  fields.u16le(time.getUTCSeconds() * 1000 + time.getUTCMilliseconds());
  fields.u8(time.getUTCMinutes()).u8(time.getUTCHours());
  // Monday is 1 and Sunday 7.
  fields.u8(((time.getUTCDay() || 7) << 5) | time.getUTCDate());
  fields.u8(time.getUTCMonth() + 1).u8(time.getUTCFullYear() % 100);
}
