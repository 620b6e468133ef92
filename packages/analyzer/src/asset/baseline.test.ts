/** A baseline on the disk: what is frozen, that it comes back as it was, and that whatever else stands there is refused with a remedy. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { udp, type Packet } from '../packet/frame-testing.ts';
import { connection, knock, modbus } from '../rule/traffic-testing.ts';
import { baselineOf, freeze, readBaseline, writeBaseline, type Baseline } from './baseline.ts';

const SECOND = 1_000_000;
const directory = mkdtempSync(join(tmpdir(), 'tapline-baseline-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function read(second: number, value: number): Packet[] {
  return connection(
    `10.0.0.1:${2000 + second}`,
    '10.0.0.2:502',
    [
      ['>', modbus(1, 3, 0, 10, 0, 1)],
      ['<', modbus(1, 3, 2, 0, value)],
    ],
    second * SECOND,
  );
}

const packets = [
  ...[0, 2, 4, 6].flatMap((second) => read(second, 50 + second)),
  knock('10.0.0.1:9000', '10.0.0.9:80', 7 * SECOND),
  { timeUs: 8 * SECOND, frame: udp('10.0.0.1:514', '10.0.0.8:514', { payload: 20 }) },
  { timeUs: 9 * SECOND, frame: udp('10.0.0.1:5353', '224.0.0.251:5353', { payload: 20 }) },
];
const { engine } = new Rig().add(packets).finish();
const sensor = freeze(engine.inventory, engine.internal);
const baseline: Baseline = { baseline: 1, from: '2026-01-05T06:00:00Z', to: '2026-01-05T06:00:09Z', packets: packets.length, sensors: { '.': sensor } }; // prettier-ignore
const good = JSON.stringify(baseline);

/** What is said of a file with this content; null when it is taken. */
function refusal(content: string | Uint8Array): string | null {
  const path = join(directory, 'some.json');
  writeFileSync(path, content);
  try {
    readBaseline(path);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(OperatingError);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', context: { file: path } });
    return (error as Error).message;
  }
}

describe('what is frozen', () => {
  it('are the hosts that spoke, with their roles', () => {
    expect(sensor.hosts.map(({ address, role, level }) => `${address} ${role} ${level}`)).toEqual([
      '10.0.0.1 hmi 2',
      '10.0.0.2 plc 1',
    ]);
    expect(sensor.hosts[1]).toMatchObject({ packets: 12, macs: ['02:00:00:00:00:01'] });
  });

  it('are the pairs that talked, or that need no answer; a connection that nobody took is none', () => {
    expect(sensor.pairs.map(({ server, service }) => `${server} ${service}`)).toEqual([
      '10.0.0.2 modbus',
      '10.0.0.8 udp/514',
      '224.0.0.251 dns',
    ]);
  });

  it('are operations with their range and their rhythm', () => {
    const [operation] = sensor.pairs[0]?.operations ?? [];
    expect(operation).toMatchObject({ action: 'read', count: 4, min: 50, max: 56, cycle_us: 2 * SECOND, cycle_deviation_us: 0 }); // prettier-ignore
  });

  it('has no rhythm of one gap, and no range without a value', () => {
    const twice = [0, 1].flatMap((i) => connection(`10.0.0.1:${2000 + i}`, '10.0.0.2:502', [['>', modbus(1, 3, 0, 10, 0, 1)]], i * SECOND)); // prettier-ignore
    const { inventory, internal } = new Rig().add(twice).finish().engine;
    expect(freeze(inventory, internal).pairs[0]?.operations).toMatchObject([{ count: 2, min: null, max: null, cycle_us: 0, cycle_deviation_us: 0 }]); // prettier-ignore
  });
});

describe('a file', () => {
  it('comes back as it was written, and writing it again gives the same bytes', () => {
    const [one, two] = [join(directory, 'one.json'), join(directory, 'two.json')];
    writeBaseline(one, baseline);
    expect(readBaseline(one)).toEqual(baseline);
    writeBaseline(two, readBaseline(one));
    expect(readFileSync(two)).toEqual(readFileSync(one));
  });

  it('that is not there, or is a directory, is told with what to do', () => {
    mkdirSync(join(directory, 'folder.json'));
    for (const name of ['missing.json', 'folder.json'])
      expect(() => readBaseline(join(directory, name))).toThrow(/is no baseline: .*; learn it with tapline-analyzer learn/); // prettier-ignore
  });

  it('that cannot be written is told as such', () => {
    expect(() => writeBaseline(join(directory, 'no/such/place.json'), baseline)).toThrow(
      expect.objectContaining({ code: 'ARCHIVE_FAILED' }) as Error,
    );
  });

  it('that somebody broke is refused with the place of the first mistake, on one line', () => {
    const changed = (change: (draft: { [key: string]: never }) => void): string => {
      const draft = JSON.parse(good) as { [key: string]: never };
      change(draft);
      return JSON.stringify(draft);
    };
    const sensors = (draft: object) => (draft as Baseline).sensors['.'] as unknown as { hosts: { role?: unknown; packets: unknown }[] }; // prettier-ignore
    for (const [text, place] of [
      ['', /JSON/],
      ['{', /JSON/],
      ['[]', /the file: /],
      ['null', /the file: /],
      [changed((draft) => (draft['baseline'] = 2 as never)), /baseline: /],
      [changed((draft) => (draft['more'] = 1 as never)), /the file: /],
      [changed((draft) => delete (sensors(draft).hosts[1] as { role?: unknown }).role), /sensors\.\.\.hosts\.1\.role: /], // prettier-ignore
      [changed((draft) => ((sensors(draft).hosts[0] as { packets: unknown }).packets = 'many')), /sensors\.\.\.hosts\.0\.packets: /], // prettier-ignore
    ] as const) {
      const said = refusal(text);
      expect(said).toMatch(place);
      expect(said).toMatch(/; learn it with tapline-analyzer learn$/);
      expect(said).not.toContain('\n');
    }
  });

  it('of any bytes is taken or refused, and nothing else happens', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void refusal(bytes)));
    fc.assert(fc.property(fc.jsonValue(), (value) => void refusal(JSON.stringify(value))));
  });

  it('with any piece of it changed is taken or refused, and what is taken is compared with', () => {
    const at = fc.nat({ max: good.length - 1 });
    const piece = fc.constantFrom(
      '',
      '0',
      '-1',
      '1e999',
      'null',
      '"',
      '{}',
      '[]',
      '\u0000',
      '__proto__',
      'é',
      ',',
    );
    fc.assert(
      fc.property(at, fc.nat({ max: 6 }), piece, (from, length, put) => {
        const text = good.slice(0, from) + put + good.slice(from + length);
        if (refusal(text) !== null) return;
        const taken = baselineOf(readBaseline(join(directory, 'some.json')), '.');
        if (taken !== undefined) new Rig({ baseline: taken }).add(packets).finish();
      }),
      { numRuns: 400 },
    );
  });
});

it('a sensor has the baseline that bears its name, and none by another name, whatever it is called', () => {
  expect(baselineOf(baseline, '.')).toBe(sensor);
  for (const name of ['', 'other', 'constructor', 'toString', '__proto__'])
    expect(baselineOf(baseline, name), name).toBeUndefined();
  expect(baselineOf(undefined, '.')).toBeUndefined();
});
