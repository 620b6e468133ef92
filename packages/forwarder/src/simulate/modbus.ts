/**
 * Modbus/TCP (MODBUS Application Protocol 1.1b3; MODBUS Messaging on TCP/IP 1.0b), port 502, big-endian. An HMI polls a
 * controller in a cycle and now and then writes a set point.
 *
 *   offset  size  field of the MBAP header
 *        0     2  transaction identifier, echoed in the answer
 *        2     2  protocol identifier, 0
 *        4     2  length: unit identifier and PDU
 *        6     1  unit identifier
 *        7     n  PDU: function code, then its data
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const MODBUS_PORT = 502;

const READ_COILS = 1;
const READ_HOLDING_REGISTERS = 3;
const READ_INPUT_REGISTERS = 4;
const WRITE_SINGLE_COIL = 5;
const WRITE_SINGLE_REGISTER = 6;
const WRITE_MULTIPLE_REGISTERS = 16;

/** HMIs open a new connection from time to time; a poll every half second makes this twenty minutes. */
const POLLS_PER_CONNECTION = 2400;

export interface ModbusPolling {
  readonly client: Host;
  readonly server: Host;
  readonly unit: number;
  readonly periodNs: number;
}

/** One Modbus connection: requests and their answers, with transaction identifiers that count. */
export class ModbusClient {
  readonly tcp: TcpConversation;
  readonly #unit: number;
  readonly #random: Prng;
  readonly #message = new ByteWriter();
  #transaction: number;

  constructor(world: World, client: Host, server: Host, unit: number, random: Prng) {
    this.tcp = new TcpConversation(world, 'modbus', client, server, MODBUS_PORT, random);
    this.#unit = unit;
    this.#random = random;
    this.#transaction = random.below(0x1_0000);
  }

  /** Reads 16-bit registers (function 3 or 4); `value` gives the content of each. */
  *readRegisters(
    functionCode: 3 | 4,
    first: number,
    count: number,
    value: (index: number) => number,
  ): Process {
    yield* this.#request(this.#begin(functionCode).u16(first).u16(count));
    const answer = this.#begin(functionCode).u8(2 * count);
    for (let i = 0; i < count; i++) answer.u16(value(first + i));
    yield* this.#answer(answer);
  }

  /** Reads bits (function 1). */
  *readCoils(first: number, count: number, bits: number): Process {
    yield* this.#request(this.#begin(READ_COILS).u16(first).u16(count));
    const byteLength = (count + 7) >> 3;
    const answer = this.#begin(READ_COILS).u8(byteLength);
    // Bits past the count are zero (6.1).
    for (let i = 0; i < byteLength; i++)
      answer.u8((bits >>> (8 * i)) & (i + 1 < byteLength ? 0xff : 0xff >> (8 * byteLength - count)));
    yield* this.#answer(answer);
  }

  /** Writes one register (function 6); the answer is the request. */
  *writeRegister(register: number, value: number): Process {
    yield* this.#request(this.#begin(WRITE_SINGLE_REGISTER).u16(register).u16(value));
    yield* this.#answer(this.#begin(WRITE_SINGLE_REGISTER).u16(register).u16(value));
  }

  /** Writes one coil (function 5); the answer is the request. */
  *writeCoil(coil: number, on: boolean): Process {
    const value = on ? 0xff00 : 0;
    yield* this.#request(this.#begin(WRITE_SINGLE_COIL).u16(coil).u16(value));
    yield* this.#answer(this.#begin(WRITE_SINGLE_COIL).u16(coil).u16(value));
  }

  /** Writes consecutive registers (function 16). */
  *writeRegisters(first: number, values: readonly number[]): Process {
    const request = this.#begin(WRITE_MULTIPLE_REGISTERS)
      .u16(first)
      .u16(values.length)
      .u8(2 * values.length);
    for (const value of values) request.u16(value);
    yield* this.#request(request);
    yield* this.#answer(this.#begin(WRITE_MULTIPLE_REGISTERS).u16(first).u16(values.length));
  }

  #begin(functionCode: number): ByteWriter {
    return this.#message.start().u16(this.#transaction).u16(0).u16(0).u8(this.#unit).u8(functionCode);
  }

  *#request(message: ByteWriter): Process {
    yield* this.tcp.send(this.tcp.client, finished(message));
    yield* this.tcp.think(this.#random.between(400 * MICROSECOND, 4000 * MICROSECOND));
  }

  *#answer(message: ByteWriter): Process {
    yield* this.tcp.send(this.tcp.server, finished(message));
    this.#transaction = (this.#transaction + 1) & 0xffff;
  }
}

/** An HMI that polls one controller for ever. */
export function* modbusPolling(world: World, polling: ModbusPolling, random: Prng): Process {
  const analog = Array.from({ length: 32 }, () => random.between(500, 30_000));
  let coils = random.u32();
  for (;;) {
    const modbus = new ModbusClient(world, polling.client, polling.server, polling.unit, random);
    yield* modbus.tcp.open();
    let dueNs = world.nowNs + 2 * MILLISECOND;
    for (let poll = 0; poll < POLLS_PER_CONNECTION; poll++) {
      yield* modbus.tcp.sleepUntil(dueNs + random.below(3 * MILLISECOND));
      drift(analog, random);
      yield* modbus.readRegisters(READ_HOLDING_REGISTERS, 0, 24, (register) => analog[register % 32] ?? 0);
      if (poll % 2 === 0) {
        yield* modbus.tcp.sleep(random.between(MILLISECOND, 4 * MILLISECOND));
        yield* modbus.readCoils(0, 20, coils);
      }
      if (poll % 8 === 3)
        yield* modbus.readRegisters(READ_INPUT_REGISTERS, 100, 6, (register) => (register * 37) & 0xffff);
      if (random.chance(0.01)) {
        coils ^= 1 << random.below(20);
        yield* write(modbus, coils, random);
      }
      dueNs += polling.periodNs;
    }
    yield* modbus.tcp.close(modbus.tcp.client);
    yield random.between(SECOND, 5 * SECOND);
  }
}

/** An operator's action: a new set point, a recipe, a switch. */
function* write(modbus: ModbusClient, coils: number, random: Prng): Process {
  const kind = random.below(3);
  if (kind === 0) yield* modbus.writeRegister(random.between(40, 60), random.between(0, 1000));
  else if (kind === 1)
    yield* modbus.writeRegisters(64, [random.below(100), random.below(100), random.below(100)]);
  else yield* modbus.writeCoil(random.below(20), (coils & 1) === 1);
}

/** Process values wander; they do not jump. */
function drift(values: number[], random: Prng): void {
  const index = random.below(values.length);
  const value = (values[index] ?? 0) + random.between(-40, 40);
  values[index] = Math.min(65_535, Math.max(0, value));
}

function finished(message: ByteWriter): Uint8Array {
  return message.patchU16(4, message.length - 6).done();
}
