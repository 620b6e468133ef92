/** For tests: a plant's ordinary day, the baseline that is learnt from it, and which rules speak of what deviates. */
import { freeze, type SensorBaseline } from '../../asset/baseline.ts';
import { Rig } from '../../engine-testing.ts';
import { type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

export const SECOND = 1_000_000;
export const HMI = '10.0.0.1';
export const PLC = '10.0.0.2';
export const ENGINEERING = '10.0.0.3';
export const STRANGER = '10.0.0.66';
export const READ = 3;
const WRITE_ONE = 6;

let transactions = 0;

/** One Modbus request and its answer on a connection of their own. */
export function exchange(
  client: string,
  server: string,
  timeUs: number,
  request: number[],
  answer: number[],
  port = 502,
): Packet[] {
  const number = transactions++ % 60_000;
  return connection(
    `${client}:${1024 + number}`,
    `${server}:${port}`,
    [
      ['>', modbus(number, ...request)],
      ['<', modbus(number, ...answer)],
    ],
    timeUs,
  );
}

/** Reads register 10, whose value is `value`. */
export function read(client: string, server: string, timeUs: number, value = 0, port = 502): Packet[] {
  return exchange(client, server, timeUs, [READ, 0, 10, 0, 1], [READ, 2, value >> 8, value & 255], port);
}

export function write(client: string, server: string, timeUs: number, register = 10, value = 5): Packet[] {
  const body = [WRITE_ONE, 0, register, value >> 8, value & 255];
  return exchange(client, server, timeUs, body, body);
}

/** A reading every `periodUs` from `fromUs` until `toUs`. */
export function polls(
  client: string,
  server: string,
  fromUs: number,
  toUs: number,
  periodUs = SECOND,
): Packet[] {
  const packets: Packet[] = [];
  for (let at = fromUs; at < toUs; at += periodUs) packets.push(...read(client, server, at));
  return packets;
}

export function inOrder(...lists: readonly Packet[][]): Packet[] {
  return lists.flat().sort((a, b) => a.timeUs - b.timeUs);
}

export function learnt(packets: readonly Packet[], rules: object = {}): SensorBaseline {
  const { inventory, internal } = new Rig({ rules }).add(packets).finish().engine;
  // As it is read from a file.
  return JSON.parse(JSON.stringify(freeze(inventory, internal))) as SensorBaseline;
}

export function told(rig: Rig): string[] {
  return rig.rules.filter((rule) => rule.startsWith('baseline-'));
}

/** The rules of the baseline that speak about `packets`. */
export function deviations(
  baseline: SensorBaseline,
  packets: readonly Packet[],
  rules: object = {},
): string[] {
  return told(new Rig({ baseline, rules }).add(packets).finish());
}

/** A minute of an ordinary day: the HMI reads each second, the engineering station writes now and then. */
export const day = inOrder(
  polls(HMI, PLC, 0, 60 * SECOND),
  [0, 20, 40].flatMap((second) => write(ENGINEERING, PLC, second * SECOND + 500_000)),
);
export const plant = learnt(day);
