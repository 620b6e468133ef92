/**
 * EtherNet/IP (ODVA, The CIP Networks Library, volumes 1 and 2), little-endian: explicit messages over TCP 44818, implicit
 * I/O over UDP 2222.
 *
 *   encapsulation header (volume 2, 2-3)  command (2) · length (2) · session (4) · status (4) · sender context (8) · options (4)
 *   SendRRData adds                       interface handle (4) · timeout (2) · item count (2) · items: type (2), length (2), data
 *   CIP request (volume 1, 2-4)           service · path length in words · path · data
 *   CIP response                          service | 0x80 · reserved · general status · size of additional status · data
 *   I/O datagram (volume 2, 2-6)          item count (2) · 0x8002: connection (4), sequence (4) · 0x00b1: CIP sequence (2), data
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import { resolve } from './arp.ts';
import type { Host } from './host.ts';
import { sendUdp } from './ip-builder.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const ENIP_PORT = 44_818;
const IO_PORT = 2222;

const REGISTER_SESSION = 0x0065;
const SEND_RR_DATA = 0x006f;
const NULL_ADDRESS_ITEM = 0x0000;
const UNCONNECTED_DATA_ITEM = 0x00b2;
const SEQUENCED_ADDRESS_ITEM = 0x8002;
const CONNECTED_DATA_ITEM = 0x00b1;

const GET_ATTRIBUTES_ALL = 0x01;
const READ_TAG = 0x4c;
const FORWARD_OPEN = 0x54;
const RESPONSE = 0x80;
const TYPE_DINT = 0x00c4;

/** One explicit messaging session. */
class EnipSession {
  readonly tcp: TcpConversation;
  readonly #random: Prng;
  readonly #message = new ByteWriter();
  #session = 0;
  #context = 0;

  constructor(world: World, client: Host, server: Host, random: Prng) {
    this.tcp = new TcpConversation(world, 'enip', client, server, ENIP_PORT, random);
    this.#random = random;
  }

  *open(): Process {
    yield* this.tcp.open();
    yield* this.tcp.send(this.tcp.client, this.#finished(this.#begin(REGISTER_SESSION).u16le(1).u16le(0)));
    yield* this.#think();
    this.#session = this.#random.u32();
    yield* this.tcp.send(this.tcp.server, this.#finished(this.#begin(REGISTER_SESSION).u16le(1).u16le(0)));
  }

  /** A CIP service as an unconnected message: `request` and `response` write what comes behind path and status. */
  *call(
    service: number,
    path: readonly number[],
    request: (fields: ByteWriter) => void,
    response: (fields: ByteWriter) => void,
  ): Process {
    this.#context++;
    const asked = this.#unconnected()
      .u8(service)
      .u8(path.length / 2)
      .raw(path);
    request(asked);
    yield* this.tcp.send(this.tcp.client, this.#finished(asked));
    yield* this.#think();
    const answered = this.#unconnected()
      .u8(service | RESPONSE)
      .u8(0)
      .u16le(0);
    response(answered);
    yield* this.tcp.send(this.tcp.server, this.#finished(answered));
  }

  /** Who are you? Attributes of the identity object. */
  *identify(): Process {
    yield* this.call(GET_ATTRIBUTES_ALL, logicalPath(1, 1), nothing, (fields) => {
      fields.u16le(1).u16le(14).u16le(166).u8(32).u8(11); // vendor, programmable controller, product, revision
      fields.u16le(0x3060).u32le(0x00c0_ffee); // status: running; serial number
      const name = '1769-L33ER/A LOGIX5333ER';
      fields.u8(name.length).ascii(name);
    });
  }

  /** Reads a tag of double integers. */
  *readTag(name: string, count: number): Process {
    yield* this.call(
      READ_TAG,
      symbolicPath(name),
      (fields) => fields.u16le(count),
      (fields) => {
        fields.u16le(TYPE_DINT);
        for (let i = 0; i < count; i++) fields.u32le(this.#random.between(0, 100_000));
      },
    );
  }

  /** Opens a class 1 connection on an adapter's assemblies: cyclic, point to point both ways. */
  *forwardOpen(io: IoConnection): Process {
    const serial = this.#random.below(0x1_0000);
    const originator = 0x00c0_ffee;
    const intervalUs = io.intervalNs / MICROSECOND;
    // Point to point, scheduled, fixed size; the size counts the CIP sequence, and the run/idle header of outputs.
    const parameters = (byteLength: number): number => 0x4800 | byteLength;
    yield* this.call(
      FORWARD_OPEN,
      logicalPath(6, 1),
      (fields) => {
        fields.u8(0x0a).u8(0x0e).u32le(0).u32le(io.inputConnection).u16le(serial).u16le(1).u32le(originator);
        fields.u8(3).u24(0); // connection timeout multiplier: 32
        fields.u32le(intervalUs).u16le(parameters(2 + 4 + io.outputBytes));
        fields.u32le(intervalUs).u16le(parameters(2 + io.inputBytes));
        fields.u8(0x01); // transport class 1, cyclic
        fields.u8(4).raw([0x20, 0x04, 0x24, 0x80, 0x2c, 0x70, 0x2c, 0x64]); // configuration, outputs, inputs
      },
      (fields) => {
        fields.u32le(io.outputConnection).u32le(io.inputConnection).u16le(serial).u16le(1).u32le(originator);
        fields.u32le(intervalUs).u32le(intervalUs).u8(0).u8(0);
      },
    );
  }

  #begin(command: number): ByteWriter {
    const context = this.#context;
    return this.#message
      .start()
      .u16le(command)
      .u16le(0)
      .u32le(this.#session)
      .u32le(0)
      .u64le(context)
      .u32le(0);
  }

  /** SendRRData up to the data of its unconnected data item. */
  #unconnected(): ByteWriter {
    const fields = this.#begin(SEND_RR_DATA).u32le(0).u16le(0).u16le(2);
    return fields.u16le(NULL_ADDRESS_ITEM).u16le(0).u16le(UNCONNECTED_DATA_ITEM).u16le(0);
  }

  #finished(message: ByteWriter): Uint8Array {
    const DATA_AT = 40;
    if (message.length > DATA_AT) message.patchU16le(DATA_AT - 2, message.length - DATA_AT);
    return message.patchU16le(2, message.length - 24).done();
  }

  #think(): Process {
    return this.tcp.think(this.#random.between(800 * MICROSECOND, 4000 * MICROSECOND));
  }
}

/** An implicit connection between a scanner (the controller) and an adapter (remote I/O). */
interface IoConnection {
  readonly scanner: Host;
  readonly adapter: Host;
  readonly intervalNs: number;
  /** Connection identifiers of the outputs (O to T) and the inputs (T to O). */
  readonly outputConnection: number;
  readonly inputConnection: number;
  readonly outputBytes: number;
  readonly inputBytes: number;
}

/** An HMI that reads tags of a controller in a cycle, for ever. */
export function* enipPolling(
  world: World,
  client: Host,
  server: Host,
  periodNs: number,
  random: Prng,
): Process {
  const enip = new EnipSession(world, client, server, random);
  yield* enip.open();
  yield* enip.identify();
  let dueNs = world.nowNs;
  for (;;) {
    dueNs += periodNs;
    yield* enip.tcp.sleepUntil(dueNs + random.below(5 * MILLISECOND));
    yield* enip.readTag('Line1_Counters', 8);
    yield* enip.readTag('Tank_Level', 2);
  }
}

/** A controller that opens an I/O connection and exchanges inputs and outputs with it, for ever. */
export function* enipIo(
  world: World,
  scanner: Host,
  adapter: Host,
  intervalNs: number,
  random: Prng,
): Process {
  const io: IoConnection = {
    scanner,
    adapter,
    intervalNs,
    outputConnection: random.u32(),
    inputConnection: random.u32(),
    outputBytes: 8,
    inputBytes: 16,
  };
  const enip = new EnipSession(world, scanner, adapter, random);
  yield* enip.open();
  yield* enip.identify();
  yield* enip.forwardOpen(io);
  world.start(ioDatagrams(world, io, true, world.random(`${adapter.name} outputs`)), 2 * MILLISECOND);
  world.start(ioDatagrams(world, io, false, world.random(`${adapter.name} inputs`)), 3 * MILLISECOND);
  for (;;) {
    // The explicit session stays open beside the I/O; a look at the identity keeps it from timing out.
    yield* enip.tcp.sleep(random.between(25 * SECOND, 35 * SECOND));
    yield* enip.identify();
  }
}

/** One direction of an I/O connection. */
function* ioDatagrams(world: World, io: IoConnection, isOutput: boolean, random: Prng): Process {
  const [from, to] = isOutput ? [io.scanner, io.adapter] : [io.adapter, io.scanner];
  const connection = isOutput ? io.outputConnection : io.inputConnection;
  const data = random.bytes(isOutput ? io.outputBytes : io.inputBytes);
  const wire = world.wire('enip-io');
  const datagram = new ByteWriter();
  let dueNs = world.nowNs;
  yield* resolve(world, from, to);
  for (let sequence = 1; ; sequence++) {
    datagram.start().u16le(2).u16le(SEQUENCED_ADDRESS_ITEM).u16le(8).u32le(connection).u32le(sequence);
    datagram
      .u16le(CONNECTED_DATA_ITEM)
      .u16le(2 + (isOutput ? 4 : 0) + data.byteLength)
      .u16le(sequence);
    if (isOutput) datagram.u32le(1); // run
    if (random.chance(0.1)) data[random.below(data.byteLength)] = random.below(256);
    sendUdp(wire, from, IO_PORT, to, IO_PORT, datagram.raw(data).done());
    dueNs += io.intervalNs;
    yield Math.max(0, dueNs - world.nowNs + random.below(400 * MICROSECOND));
  }
}

/** Class and instance, 8 bits each. */
function logicalPath(classId: number, instance: number): readonly number[] {
  return [0x20, classId, 0x24, instance];
}

/** ANSI extended symbol segment, padded to words. */
function symbolicPath(name: string): readonly number[] {
  const path = [0x91, name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];
  if (path.length % 2 === 1) path.push(0);
  return path;
}

function nothing(): void {
  // A service without data.
}
