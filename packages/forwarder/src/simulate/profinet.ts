/**
 * PROFINET (IEC 61158-6-10), EtherType 0x8892, big-endian: DCP finds and names devices, RT exchanges inputs and outputs in
 * a cycle.
 *
 *   DCP   FrameID (2) · service · service type · Xid (4) · response delay (2) · length (2) · blocks:
 *         option · suboption · length (2) · in answers and hellos: block info (2) · value, padded to two bytes
 *   RT    FrameID (2) · data, at least 40 bytes · cycle counter (2, in steps of 31.25 µs) · data status · transfer status
 *
 * RT frames carry an 802.1Q tag with priority 6 and VLAN 0 (IEC 61158-6-10, 4.3).
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, MINUTE, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const ETHERTYPE_PROFINET = 0x8892;
const RT_PRIORITY = 6;

const FRAME_HELLO = 0xfefc;
const FRAME_IDENTIFY_REQUEST = 0xfefe;
const FRAME_IDENTIFY_RESPONSE = 0xfeff;
const SERVICE_IDENTIFY = 5;
const SERVICE_HELLO = 6;
const TYPE_REQUEST = 0;
const TYPE_RESPONSE = 1;

/** Options and suboptions. */
const IP_PARAMETER = [1, 2] as const;
const DEVICE_VENDOR = [2, 1] as const;
const NAME_OF_STATION = [2, 2] as const;
const DEVICE_ID = [2, 3] as const;
const DEVICE_ROLE = [2, 4] as const;
const DEVICE_INITIATIVE = [6, 1] as const;
const ALL_SELECTOR = [0xff, 0xff] as const;

/** Multicast addresses of identify requests and of hellos. */
const IDENTIFY_GROUP = Uint8Array.of(0x01, 0x0e, 0xcf, 0, 0, 0);
const HELLO_GROUP = Uint8Array.of(0x01, 0x0e, 0xcf, 0, 0, 1);

const VENDOR_SIEMENS = 0x002a;
const RT_DATA_BYTES = 40;
/** Primary, data valid, provider runs, no problem. */
const DATA_STATUS = 0x35;
/** Good, from the subslot. */
const IO_STATUS_GOOD = 0x80;

/** A controller, its devices, and how often they exchange data. */
export interface ProfinetLine {
  readonly controller: Host;
  readonly devices: readonly Host[];
  /** Who looks around the network from time to time. */
  readonly engineering: Host;
  readonly cycleNs: number;
}

/** Starts a PROFINET line: hellos and identification at the beginning, then cyclic data in both directions. */
export function* profinetLine(world: World, line: ProfinetLine, random: Prng): Process {
  const xid = (): number => random.u32();
  for (const device of line.devices) {
    sendDcp(world, device, HELLO_GROUP, hello(device, xid()));
    yield random.between(5 * MILLISECOND, 40 * MILLISECOND);
  }
  for (const device of line.devices) {
    const exchange = xid();
    sendDcp(world, line.controller, IDENTIFY_GROUP, identifyByName(device.name, exchange));
    yield random.between(300 * MICROSECOND, 1200 * MICROSECOND);
    sendDcp(world, device, line.controller.mac, identified(device, exchange));
    yield random.between(20 * MILLISECOND, 60 * MILLISECOND);
  }
  line.devices.forEach((device, index) => {
    const frameId = 0x8000 + index;
    const inputs = { from: device, to: line.controller, frameId, cycleNs: line.cycleNs };
    const outputs = { from: line.controller, to: device, frameId, cycleNs: line.cycleNs };
    world.start(cyclicData(world, inputs, world.random(`${device.name} rt in`)), MILLISECOND * (1 + index));
    world.start(cyclicData(world, outputs, world.random(`${device.name} rt out`)), MILLISECOND * (2 + index));
  });
  for (;;) {
    yield random.exponential(2 * MINUTE);
    yield* identifyAll(world, line, xid(), random);
  }
}

/** The engineering tool's "accessible devices": everyone answers, each after a time of its own. */
function* identifyAll(world: World, line: ProfinetLine, xid: number, random: Prng): Process {
  const request = dcp(FRAME_IDENTIFY_REQUEST, SERVICE_IDENTIFY, TYPE_REQUEST, xid, 128);
  sendDcp(world, line.engineering, IDENTIFY_GROUP, finished(block(request, ALL_SELECTOR, null, [])));
  for (const station of [line.controller, ...line.devices]) {
    yield random.between(MILLISECOND, 60 * MILLISECOND);
    sendDcp(world, station, line.engineering.mac, identified(station, xid));
  }
  yield SECOND;
}

/** One direction of an RT relation. */
function* cyclicData(
  world: World,
  relation: { from: Host; to: Host; frameId: number; cycleNs: number },
  random: Prng,
): Process {
  const wire = world.wire('profinet-rt');
  const frame = new ByteWriter();
  const data = new Uint8Array(RT_DATA_BYTES);
  data.fill(IO_STATUS_GOOD, 12, 16);
  let dueNs = world.nowNs;
  for (;;) {
    if (random.chance(0.2)) data[random.below(12)] = random.below(256);
    const counter = Math.floor(dueNs / 31_250) & 0xffff;
    frame.start().u16(relation.frameId).raw(data).u16(counter).u8(DATA_STATUS).u8(0);
    wire.sendTagged(relation.from.mac, relation.to.mac, RT_PRIORITY, 0, ETHERTYPE_PROFINET, frame.done());
    dueNs += relation.cycleNs;
    yield Math.max(0, dueNs - world.nowNs + random.below(60 * MICROSECOND));
  }
}

function identifyByName(name: string, xid: number): Uint8Array {
  const message = dcp(FRAME_IDENTIFY_REQUEST, SERVICE_IDENTIFY, TYPE_REQUEST, xid, 1);
  return finished(block(message, NAME_OF_STATION, null, asciiBytes(name)));
}

function identified(station: Host, xid: number): Uint8Array {
  const message = dcp(FRAME_IDENTIFY_RESPONSE, SERVICE_IDENTIFY, TYPE_RESPONSE, xid, 0);
  block(message, NAME_OF_STATION, 0, asciiBytes(station.name));
  block(message, DEVICE_VENDOR, 0, asciiBytes('ET200SP'));
  return finished(addresses(message, station));
}

function hello(station: Host, xid: number): Uint8Array {
  const message = dcp(FRAME_HELLO, SERVICE_HELLO, TYPE_REQUEST, xid, 0);
  block(message, NAME_OF_STATION, 0, asciiBytes(station.name));
  addresses(message, station);
  return finished(block(message, DEVICE_INITIATIVE, 0, [0, 1]));
}

/** Device identity, role and IP parameters: what a station says about itself. */
function addresses(message: ByteWriter, station: Host): ByteWriter {
  block(message, DEVICE_ID, 0, [VENDOR_SIEMENS >> 8, VENDOR_SIEMENS & 0xff, 0x03, 0x13]);
  block(message, DEVICE_ROLE, 0, [1, 0]); // IO device
  return block(message, IP_PARAMETER, 1, [...station.ipv4, 255, 0, 0, 0, ...station.ipv4.subarray(0, 3), 1]);
}

function dcp(frameId: number, service: number, type: number, xid: number, responseDelay: number): ByteWriter {
  return new ByteWriter().u16(frameId).u8(service).u8(type).u32(xid).u16(responseDelay).u16(0);
}

function block(
  message: ByteWriter,
  [option, suboption]: readonly [number, number],
  info: number | null,
  value: ArrayLike<number>,
): ByteWriter {
  message
    .u8(option)
    .u8(suboption)
    .u16(value.length + (info === null ? 0 : 2));
  if (info !== null) message.u16(info);
  message.raw(value);
  return value.length % 2 === 1 ? message.u8(0) : message;
}

function finished(message: ByteWriter): Uint8Array {
  const HEADER_BYTES = 12;
  return message.patchU16(HEADER_BYTES - 2, message.length - HEADER_BYTES).done();
}

function sendDcp(world: World, from: Host, destination: Uint8Array, message: Uint8Array): void {
  world.wire('profinet-dcp').send(from.mac, destination, ETHERTYPE_PROFINET, message);
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
