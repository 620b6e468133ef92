/**
 * S7 communication over ISO-on-TCP, port 102, big-endian: TPKT (RFC 1006), COTP class 0 (ISO 8073 / RFC 905), then the
 * S7 header. Siemens does not publish S7; field names are those Wireshark uses.
 *
 *   TPKT   version 3 · reserved · length (2), itself included
 *   COTP   length of the rest · PDU type: E0 connect, D0 confirm, F0 data · for data: 80 = last unit
 *   S7     0x32 · ROSCTR: 1 job, 3 ack data · redundancy (2) · PDU reference (2) · parameter length (2) · data length (2)
 *          · error class and code, in ack data only
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, MINUTE, SECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const S7_PORT = 102;

const JOB = 1;
const ACK_DATA = 3;
const SETUP_COMMUNICATION = 0xf0;
const READ_VAR = 0x04;
const WRITE_VAR = 0x05;
const AREA_DB = 0x84;
const TRANSPORT_BYTE = 0x02;
/** Transport size of data in an answer: bytes, words and double words, with the length in bits. */
const DATA_BYTES = 0x04;
const RETURN_SUCCESS = 0xff;
const CONNECT = 0xe0;
const CONFIRM = 0xd0;

/** A stretch of a data block. */
interface Variable {
  readonly db: number;
  readonly offset: number;
  readonly byteLength: number;
}

/** One S7 connection. */
export class S7Client {
  readonly tcp: TcpConversation;
  readonly #random: Prng;
  readonly #message = new ByteWriter();
  #reference = 0x0100;

  constructor(world: World, client: Host, server: Host, random: Prng) {
    this.tcp = new TcpConversation(world, 's7comm', client, server, S7_PORT, random);
    this.#random = random;
  }

  /** TCP, COTP and S7 connect, one above the other. */
  *open(): Process {
    yield* this.tcp.open();
    yield* this.#cotp(CONNECT);
    yield* this.#cotp(CONFIRM);
    const parameters = (message: ByteWriter): void => {
      // Parallel jobs, calling and called, and the largest PDU.
      message.u8(SETUP_COMMUNICATION).u8(0).u16(1).u16(1).u16(480);
    };
    yield* this.#job(parameters, nothing);
    yield* this.#ackData(parameters, nothing);
  }

  *read(variables: readonly Variable[]): Process {
    yield* this.#job((message) => {
      message.u8(READ_VAR).u8(variables.length);
      for (const variable of variables) item(message, variable);
    }, nothing);
    yield* this.#ackData(
      (message) => message.u8(READ_VAR).u8(variables.length),
      (message) => {
        variables.forEach((variable, index) => {
          message
            .u8(RETURN_SUCCESS)
            .u8(DATA_BYTES)
            .u16(8 * variable.byteLength);
          this.#content(message, variable.byteLength, index + 1 < variables.length);
        });
      },
    );
  }

  *write(variable: Variable): Process {
    yield* this.#job(
      (message) => {
        message.u8(WRITE_VAR).u8(1);
        item(message, variable);
      },
      (message) => {
        message
          .u8(0)
          .u8(DATA_BYTES)
          .u16(8 * variable.byteLength);
        this.#content(message, variable.byteLength, false);
      },
    );
    yield* this.#ackData(
      (message) => message.u8(WRITE_VAR).u8(1),
      (message) => message.u8(RETURN_SUCCESS),
    );
  }

  /** Values, and a fill byte behind odd lengths when another item follows. */
  #content(message: ByteWriter, byteLength: number, more: boolean): void {
    for (let i = 0; i < byteLength; i++) message.u8(this.#random.below(i % 4 === 3 ? 256 : 4));
    if (more && byteLength % 2 === 1) message.u8(0);
  }

  *#cotp(type: number): Process {
    const isConnect = type === CONNECT;
    const message = this.#message.start().u8(3).u8(0).u16(22).u8(17).u8(type);
    message
      .u16(isConnect ? 0 : 0x0002)
      .u16(isConnect ? 0x0002 : 0x4001)
      .u8(0); // references, class 0
    message.u8(0xc0).u8(1).u8(0x0a); // TPDU size: 2^10
    message.u8(0xc1).u8(2).u16(0x0100); // source TSAP: PG
    message.u8(0xc2).u8(2).u16(0x0102); // destination TSAP: rack 0, slot 2
    yield* this.tcp.send(isConnect ? this.tcp.client : this.tcp.server, message.done());
    if (isConnect) yield* this.tcp.think(this.#random.between(500 * MICROSECOND, 2500 * MICROSECOND));
  }

  *#job(parameters: Part, data: Part): Process {
    this.#reference = (this.#reference + 0x0100) & 0xffff;
    yield* this.tcp.send(this.tcp.client, this.#pdu(JOB, parameters, data));
    yield* this.tcp.think(this.#random.between(1200 * MICROSECOND, 6000 * MICROSECOND));
  }

  *#ackData(parameters: Part, data: Part): Process {
    yield* this.tcp.send(this.tcp.server, this.#pdu(ACK_DATA, parameters, data));
  }

  #pdu(rosctr: number, parameters: Part, data: Part): Uint8Array {
    const message = this.#message.start().u8(3).u8(0).u16(0).u8(2).u8(0xf0).u8(0x80);
    message.u8(0x32).u8(rosctr).u16(0).u16(this.#reference).u16(0).u16(0);
    if (rosctr === ACK_DATA) message.u16(0);
    const parametersAt = message.length;
    parameters(message);
    const dataAt = message.length;
    data(message);
    message.patchU16(13, dataAt - parametersAt).patchU16(15, message.length - dataAt);
    return message.patchU16(2, message.length).done();
  }
}

type Part = (message: ByteWriter) => void;

function nothing(): void {
  // A job without data.
}

/** S7ANY item specification: 12 bytes, the address in bits. */
function item(message: ByteWriter, variable: Variable): void {
  message.u8(0x12).u8(0x0a).u8(0x10).u8(TRANSPORT_BYTE);
  message
    .u16(variable.byteLength)
    .u16(variable.db)
    .u8(AREA_DB)
    .u24(8 * variable.offset);
}

/** An HMI that reads tags in a cycle, for ever, and writes one now and then. */
export function* s7Polling(
  world: World,
  client: Host,
  server: Host,
  periodNs: number,
  random: Prng,
): Process {
  const tags: readonly Variable[] = [
    { db: 1, offset: 0, byteLength: random.between(8, 40) },
    { db: 1, offset: 100, byteLength: 7 },
    { db: 20, offset: 2, byteLength: random.between(2, 60) },
  ];
  const s7 = new S7Client(world, client, server, random);
  yield* s7.open();
  let dueNs = world.nowNs;
  for (;;) {
    dueNs += periodNs;
    yield* s7.tcp.sleepUntil(dueNs + random.below(4 * MILLISECOND));
    yield* s7.read(tags);
    if (random.chance(0.01)) yield* s7.write({ db: 2, offset: random.below(50), byteLength: 4 });
  }
}

/** An engineer who looks into the controller from time to time; the tool keeps its idle connection alive, then leaves. */
export function* s7Engineering(world: World, client: Host, server: Host, random: Prng): Process {
  yield random.between(10 * SECOND, 60 * SECOND);
  for (;;) {
    const s7 = new S7Client(world, client, server, random);
    yield* s7.open();
    for (let look = random.between(3, 10); look > 0; look--) {
      yield* s7.read([{ db: random.between(1, 30), offset: 0, byteLength: random.between(20, 200) }]);
      yield* s7.tcp.sleep(random.between(200 * MILLISECOND, 2500 * MILLISECOND));
    }
    if (random.chance(0.5)) yield* s7.write({ db: 30, offset: 0, byteLength: 8 });
    for (let idle = random.between(1, 3); idle > 0; idle--) {
      yield* s7.tcp.sleep(30 * SECOND);
      yield* s7.tcp.keepAlive(s7.tcp.client);
    }
    yield* s7.tcp.close(s7.tcp.client);
    yield random.exponential(3 * MINUTE);
  }
}
