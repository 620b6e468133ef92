import { describe, expect, it } from 'vitest';
import { LabelTally, isoNs, labelsAsCsv, labelsAsJsonLines, type AttackLabel } from './labels.ts';

const START_NS = 1_767_592_800_000_000_000n;

function tally(): LabelTally {
  return new LabelTally(START_NS, {
    attack: 'scan',
    variant: 'vertical',
    attackers: ['10.0.0.9'],
    victims: ['10.1.0.1', '10.1.0.2'],
    ports: ['1-1024'],
  });
}

function labelOf(numbers: readonly number[]): AttackLabel {
  const label = tally();
  for (const number of numbers) label.add(number, number * 10);
  const made = label.label();
  if (made === null) throw new Error('expected a label');
  return made;
}

describe('labels', () => {
  it('join consecutive packets to ranges', () => {
    const label = labelOf([3, 4, 5, 9, 11, 12]);
    expect(label.ranges).toEqual([
      [3, 5],
      [9, 9],
      [11, 12],
    ]);
    expect(label.packets).toBe(6);
    expect([label.startNs, label.endNs]).toEqual([START_NS + 30n, START_NS + 120n]);
  });

  it('of an attack that never came to act do not exist', () => {
    expect(tally().label()).toBeNull();
  });

  it('are one CSV row each, times to the nanosecond', () => {
    expect(labelsAsCsv([labelOf([3, 4, 9])]).split('\r\n')).toEqual([
      'attack,variant,start,end,start_ns,end_ns,attackers,victims,ports,packets,ranges',
      'scan,vertical,2026-01-05T06:00:00.000000030Z,2026-01-05T06:00:00.000000090Z,1767592800000000030,1767592800000000090,' +
        '10.0.0.9,10.1.0.1 10.1.0.2,1-1024,3,3-4 9',
      '',
    ]);
  });

  it('are one JSON object a line', () => {
    const lines = labelsAsJsonLines([labelOf([1]), labelOf([2, 3])])
      .trimEnd()
      .split('\n');
    const second = JSON.parse(lines[1] ?? '') as Record<string, unknown>;
    expect(lines).toHaveLength(2);
    expect(second).toMatchObject({
      attack: 'scan',
      packets: 2,
      ranges: [[2, 3]],
      start_ns: '1767592800000000020',
    });
  });

  it('write times of any year in full', () => {
    expect(isoNs(0n)).toBe('1970-01-01T00:00:00.000000000Z');
    expect(isoNs(4_102_444_799_999_999_999n)).toBe('2099-12-31T23:59:59.999999999Z');
  });
});
