/** Who walks through a controller, each thing once, is told when the connection ends; who polls, however much, is not. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const SECOND = 1_000_000;
type Question = readonly [unit: number, ...pdu: number[]];

function visit(questions: readonly Question[], index = 0, isClosed = true): Packet[] {
  const lines = questions.flatMap(([unit, ...pdu], i) => {
    const say = (...bytes: number[]): Buffer => {
      const message = Buffer.from(modbus(i, ...bytes));
      message[6] = unit;
      return message;
    };
    return [['>', say(...pdu)] as const, ['<', say(pdu[0] as number, 2, 0, 7)] as const];
  });
  return connection(`10.0.0.66:${5000 + index}`, '10.0.0.2:502', lines, index * 5 * SECOND, isClosed);
}

function told(packets: readonly Packet[]): string[] {
  const rig = new Rig().add(packets).finish();
  return [...rig.alerts.values()]
    .filter(({ rule }) => rule === 'ot-walk')
    .map(({ severity, technique }) => `${severity} ${technique}`);
}

const count = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));
const read = (unit: number, register: number, registers = 1): Question => [unit, 3, register >> 8, register & 255, 0, registers]; // prettier-ignore

describe('a walk', () => {
  it('over stations that all answer is told, in one connection or in many', () => {
    expect(told(visit(count(9, (i) => read(i + 1, 0))))).toEqual(['medium T0846']);
    expect(told(count(12, (i) => visit([read(i, 0)], i)).flat())).toEqual(['medium T0846']);
  });

  it('over addresses is told, one by one or in blocks', () => {
    expect(told(visit(count(40, (i) => read(1, 100 + i))))).toEqual(['medium T0861']);
    expect(told(visit(count(40, (i) => read(1, 100 * i, 100))))).toEqual(['medium T0861']);
  });

  it('over functions is told', () => {
    expect(told(visit(count(20, (i) => [1, 40 + i])))).toEqual(['medium T0888']);
  });

  it('is not a cycle that comes again, a few stations, or registers here and there', () => {
    expect(told(visit(count(60, (i) => read(i % 20, 0))))).toEqual([]);
    expect(told(visit(count(90, (i) => read(1, i % 45))))).toEqual([]);
    expect(told(visit(count(6, (i) => read(i + 1, 0))))).toEqual([]);
    expect(told(visit(count(60, (i) => read(1, i * 3))))).toEqual([]);
  });

  it('is not what is asked of each station more than one thing', () => {
    expect(told(visit(count(40, (i) => read(i >> 1, i & 1))))).toEqual([]);
  });

  it('is not yet over while the connection stands', () => {
    expect(
      told(
        visit(
          count(20, (i) => read(i, 0)),
          0,
          false,
        ),
      ),
    ).toEqual([]);
  });

  it('of a client that has been asking for longer is not told', () => {
    const before = count(20, (i) => visit([read(1, 0), read(1, 7)], i)).flat();
    expect(
      told([
        ...before,
        ...visit(
          count(20, (i) => read(i, 0)),
          20,
        ),
      ]),
    ).toEqual([]);
  });

  it('makes a suspect of who commands afterwards', () => {
    const walked = visit(count(9, (i) => read(i + 1, 0)));
    const command = visit([[1, 6, 0, 1, 0, 7]], 6);
    const alert = new Rig()
      .add([...walked, ...command])
      .finish()
      .alert('ot-suspect-command');
    expect(alert).toMatchObject({ severity: 'medium', source: '10.0.0.66' });
    expect(new Rig().add(command).finish().rules).not.toContain('ot-suspect-command');
  });
});
