/** Who switches at many controllers, or many points of one, within a minute is told; operators, heartbeats and set points are not. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { createOperation, type Operation } from '../../protocol/dissector.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { connection } from '../traffic-testing.ts';
import { isSwitching } from './switching-detector.ts';

const SECOND = 1_000_000;
const SINGLE = 45;
const SET_POINT = 50;
const ACTIVATION = 6;
const DEACTIVATION = 8;

/** IEC 104: an ASDU with one object, to common address 1. */
function asdu(sent: number, type: number, address: number, cause = ACTIVATION): Buffer {
  const element = type === SET_POINT ? '0000803f00' : '01';
  const body = Buffer.from(`${type.toString(16)}01${cause.toString(16).padStart(2, '0')}000100${element.padStart(6 + element.length, '0')}`, 'hex'); // prettier-ignore
  body.writeUIntLE(address, 6, 3);
  return Buffer.concat([Buffer.of(0x68, 4 + body.byteLength, sent << 1, 0, 0, 0), body]);
}

/** A connection to station `station` in which each of `addresses` is commanded. */
function commands(station: number, timeUs: number, addresses: readonly number[], type = SINGLE, cause = ACTIVATION): Packet[] {
  const lines = addresses.map((address, i) => ['>', asdu(i, type, address, cause)] as const);
  return connection(`10.0.0.66:${5000 + station}`, `10.0.1.${station}:2404`, lines, timeUs);
} // prettier-ignore

function told(packets: readonly Packet[], rules: object = {}): string[] {
  const rig = new Rig({ rules }).add(packets).finish();
  return [...rig.alerts.values()]
    .filter(({ rule }) => rule === 'ot-switching')
    .map(({ severity, technique, destination }) => `${severity} ${technique} ${destination}`);
}

const times = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));

describe('switching', () => {
  it('at four controllers within a minute is told, by who did it', () => {
    expect(told(times(4, (i) => commands(1 + i, i * SECOND, [100 + i])).flat())).toEqual(['medium T0855 ']);
    expect(told(times(3, (i) => commands(1 + i, i * SECOND, [100 + i])).flat())).toEqual([]);
  });

  it('of one point after the other is told, of a heartbeat is not', () => {
    const points = times(25, (i) => 1000 + i);
    expect(told(commands(1, 0, points))).toEqual(['medium T0806 10.0.1.1']);
    expect(told(commands(1, 0, points.map(() => 7)))).toEqual([]); // prettier-ignore
  });

  it('of one controller after the other, as an operator does who looks at each, is not', () => {
    expect(told(times(12, (i) => commands(1 + i, i * 40 * SECOND, [100])).flat())).toEqual([]);
  });

  it('is not set points, nor commands that are taken back', () => {
    expect(told(times(9, (i) => commands(1 + i, i * SECOND, [100], SET_POINT)).flat())).toEqual([]);
    expect(told(times(9, (i) => commands(1 + i, i * SECOND, [100], SINGLE, DEACTIVATION)).flat())).toEqual([]); // prettier-ignore
  });
});

describe('what switches', () => {
  const operation = (protocol: string, name: string, object: string, action = 'control'): Operation => ({
    ...createOperation(protocol), name, object, action: action as Operation['action'],
  }); // prettier-ignore

  it.each([
    [operation('iec104', 'c-dc-ta-1', 'ioa:7'), true],
    [operation('iec104', 'c-cs-na-1', 'ioa:0'), false],
    [operation('dnp3', 'direct-operate', 'g12v1:3'), true],
    [operation('dnp3', 'direct-operate', 'g41v2:3'), false],
    [operation('dnp3', 'select', 'g12v1:3'), false],
    [operation('mms', 'write', 'CSWI1$CO$Pos$Oper'), true],
    [operation('mms', 'write', 'CSWI1$CO$Pos$Cancel'), false],
    [operation('modbus', 'write-single-coil', 'coil:3', 'write'), false],
  ])('%#: only what operates', (one, isIt) => {
    expect(isSwitching(one)).toBe(isIt);
  });
});
