/** GOOSE: frames by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Memory } from './dissector.ts';
import { goose } from './goose.ts';
import { checkTotal, fromHex, hear, hearCapture, tsharkRows } from './ot-test-support.ts';

const TIME = '386ebd6342174d0a';

/** A frame of the control block `name`: a boolean and an integer. */
function frame(stNum: number, sqNum: number, time = TIME, name = 'IED/LLN0$GO$gcb01', test = 0): Uint8Array {
  const hex = (bytes: Uint8Array | Buffer): string => Buffer.from(bytes).toString('hex');
  const field = (tag: string, content: string): string =>
    tag + (content.length / 2).toString(16).padStart(2, '0') + content;
  const number = (value: number): string => value.toString(16).padStart(10, '0').slice(-10);
  const string = (value: string): string => hex(Buffer.from(value));
  const pdu = field(
    '61',
    field('80', string(name)) +
      field('81', '07d0') +
      field('82', string('IED/LLN0$ds')) +
      field('83', string('id')) +
      field('84', time) +
      field('85', number(stNum)) +
      field('86', number(sqNum)) +
      field('87', `0${test}`) +
      field('88', '05') +
      field('89', '00') +
      field('8a', '02') +
      field('ab', field('83', '01') + field('85', 'fffe')),
  );
  return fromHex(`0001 ${(pdu.length / 2 + 8).toString(16).padStart(4, '0')} 0000 0000 ${pdu}`);
}

/** What is said of the last of several frames of one conversation. */
function after(...frames: [number, number, string?][]): string[] {
  const memory: Memory = {};
  return frames.map(([stNum, sqNum, time]) => hear(goose, frame(stNum, sqNum, time), { memory })).at(-1)
    ?.violations as string[];
}

describe('frames by hand', () => {
  test('a frame names its control block, entries and first value', () => {
    const { operations, violations, facts } = hear(goose, frame(3, 0));
    expect(violations).toEqual([]);
    expect(operations).toMatchObject([
      { protocol: 'goose', name: 'publish', action: 'report', unit: 1, object: 'IED/LLN0$GO$gcb01', count: 2, value: 1 },
    ]); // prettier-ignore
    expect(facts).toEqual([
      ['goose-state', 'IED/LLN0$GO$gcb01=3'],
      ['conf-rev', 'IED/LLN0$GO$gcb01=5'],
    ]);
    expect(hear(goose, frame(3, 0, TIME, 'x', 1)).operations[0]?.name).toBe('publish-test');
  });

  test('padding behind the frame is none of it', () => {
    expect(hear(goose, Uint8Array.of(...frame(1, 1), 0, 0, 0, 0)).violations).toEqual([]);
  });

  test('states and repetitions count up', () => {
    expect(after([1, 7], [1, 8])).toEqual([]);
    expect(after([1, 7], [1, 7])).toEqual([]);
    expect(after([1, 7], [2, 0])).toEqual([]);
    expect(after([1, 0xffff_ffff], [1, 0])).toEqual([]);
    expect(after([0xffff_ffff, 3], [1, 0])).toEqual([]);
    expect(after([5, 1], [4, 2])).toEqual(['stNum went back']);
    expect(after([1, 7], [1, 6])).toEqual(['sqNum went back without a new stNum']);
    expect(after([1, 7], [1, 7, '386ebd6342174d0b'])).toEqual(['sqNum went back without a new stNum']);
    expect(after([1, 7], [1, 9])).toEqual(['sqNum skipped']);
    expect(after([1, 7], [2, 8])).toEqual(['new stNum without sqNum 0']);
  });

  test('a state that goes on after it was left is another publisher; one that comes late, or again after it was dead, is not', () => {
    const memory: Memory = {};
    const OTHER = '386ebd6342174d0b';
    const at = (ms: number, stNum: number, sqNum: number, time = TIME): string[] =>
      hear(goose, frame(stNum, sqNum, time), { memory, timeUs: ms * 1000 }).violations;
    expect([at(0, 1, 5), at(1495, 1, 6), at(1500, 2, 0, OTHER)].flat()).toEqual([]);
    // The last frame over another path, at once.
    expect(at(1510, 1, 6)).toEqual([]);
    expect(at(2000, 1, 7)).toContain('two states are published at once');
    expect(at(2500, 2, 1, OTHER)).toContain('two states are published at once');
    expect(at(30_000, 1, 8)).not.toContain('two states are published at once');
  });

  test('a frame that came too late, with none lost, is told', () => {
    const memory: Memory = {};
    const at = (ms: number, sqNum: number): string[] =>
      hear(goose, frame(1, sqNum), { memory, timeUs: ms * 1000 }).violations;
    expect([at(0, 5), at(3000, 6)].flat()).toEqual([]);
    expect(at(8000, 7)).toEqual(['silent beyond timeAllowedtoLive']);
    expect(at(16_000, 11)).toEqual(['sqNum skipped']);
  });

  test('control blocks of one publisher count apart, of many the last few', () => {
    const memory: Memory = {};
    const said = [1, 2, 3].flatMap((sqNum) =>
      ['a', 'b', 'c'].flatMap((name, i) => hear(goose, frame(i + 1, sqNum * (i + 1) - i, TIME, name), { memory }).violations.map((v) => name + v)),
    ); // prettier-ignore
    expect(said).toEqual(['bsqNum skipped', 'csqNum skipped', 'bsqNum skipped', 'csqNum skipped']);
    for (let i = 0; i < 50; i++) hear(goose, frame(1, 1, TIME, `block${i}`), { memory });
    expect((memory['control-blocks'] as number[]).length).toBe(8 * 16);
  });

  test('what is missing or cut is told', () => {
    expect(hear(goose, fromHex('0001 0008 00000000')).violations).toEqual(['no goosePdu in the frame']);
    const whole = frame(1, 1);
    expect(hear(goose, whole.subarray(0, 60)).violations).toContain('length field and frame disagree');
    expect(
      hear(
        goose,
        Uint8Array.from(whole, (byte) => (byte === 0x88 ? 0x8c : byte)),
      ).violations,
    ).toEqual(['mandatory field is missing']);
  });
});

test('noise and damaged frames', () =>
  checkTotal(goose, [frame(1, 1), frame(7, 0), frame(1, 2, TIME, 'x', 1)]));

describeWithCorpus('against tshark', () => {
  test('the same control blocks and numbers of entries', async () => {
    for (const { path, name } of corpusFiles('ot/iec61850').filter((file) => /GOOSE/.test(file.name))) {
      if (/truncated|malformed/.test(name)) continue;
      const { operations } = await hearCapture(goose, path);
      const rows = tsharkRows(path, ['goose.appid', 'goose.gocbRef', 'goose.numDatSetEntries'], 'goose');
      const ours = operations.map(({ unit, object, count }) => [unit, object, count]);
      expect(ours, name).toEqual(rows.map((row) => [Number(row[0]), row[1] ?? '', Number(row[2] || 0)]));
    }
  });

  test('a publisher that starts again is told, and nothing else of it', async () => {
    const [file] = corpusFiles('ot/iec61850').filter(({ name }) => name.endsWith('/GOOSE.pcap'));
    const { violations } = await hearCapture(goose, file?.path ?? '');
    expect(violations).toEqual(['sqNum went back without a new stNum']);
  });
});
