/** Flows as files, read back: by a plain reader of each format, with characters that the format itself is made of. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { FlowFile } from '../report/flow-file.ts';
import { flowRecordOf } from '../report/report-testing.ts';
import { FLOW_COLUMNS_TOLD, flowFooter, flowHeader, flowLine } from './flow-export.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-flows-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const NOW_MS = Date.UTC(2026, 0, 5, 6, 7, 8);
const AWKWARD = 'a,b"c"\td\\e\nf\rg';
const RECORDS = [
  flowRecordOf(),
  flowRecordOf({ client: 'fe80::1', server: 'ff02::fb', protocol: 17, service: '', history: '', vlan: 7 }),
  flowRecordOf({ protocol: -1, etherType: 0x88b8, client: '00:a0:f4:08:2f:77', clientPort: -1, serverPort: -1, service: 'goose', communityId: '' }),
  flowRecordOf({ service: AWKWARD, sensor: AWKWARD, alerts: ['0123456789abcdef', 'fedcba9876543210'], verdict: 'malicious' }),
  flowRecordOf({ service: '-', sensor: '', history: '(empty)' }),
  flowRecordOf({ clientPackets: 1, serverPackets: 0, duration: 0, clientBytes: 2 ** 40 }),
]; // prettier-ignore

describe('Zeek’s conn.log', () => {
  it('as TSV reads back to the same values', () => {
    const text = flowHeader('zeek', NOW_MS) + RECORDS.map((record) => flowLine('zeek', record)).join('') + flowFooter('zeek', NOW_MS); // prettier-ignore
    const lines = text.split('\n');
    expect(lines.pop()).toBe('');
    expect(lines[0]).toBe('#separator \\x09');
    expect(lines).toContain('#open\t2026-01-05-06-07-08');
    expect(lines.at(-1)).toBe('#close\t2026-01-05-06-07-08');
    const fields = (lines.find((line) => line.startsWith('#fields')) ?? '').split('\t').slice(1);
    const types = (lines.find((line) => line.startsWith('#types')) ?? '').split('\t').slice(1);
    expect(types).toHaveLength(fields.length);
    const rows = lines.filter((line) => !line.startsWith('#')).map((line) => line.split('\t'));
    expect(rows).toHaveLength(RECORDS.length);
    rows.forEach((cells, i) => {
      const record = RECORDS[i] as (typeof RECORDS)[number];
      expect(cells).toHaveLength(fields.length);
      const row = Object.fromEntries(fields.map((field, at) => [field, cells[at] as string]));
      expect(Number(row['ts'])).toBeCloseTo(record.ts, 6);
      expect(row).toMatchObject({
        uid: record.uid,
        'id.orig_h': record.client,
        'id.resp_h': record.server,
        'id.orig_p': String(Math.max(0, record.clientPort)),
        conn_state: record.connState,
        orig_bytes: String(record.clientBytes),
        resp_pkts: String(record.serverPackets),
        vlan: record.vlan === -1 ? '-' : String(record.vlan),
      });
      expect(unset(row['service'])).toBe(record.service);
      expect(unset(row['history'])).toBe(record.history);
      expect(unset(row['community_id'])).toBe(record.communityId);
    });
  });

  it('is read by Zeek’s own rules: an absent value is a dash, a dash is none', () => {
    const cell = (service: string): string =>
      flowLine('zeek', flowRecordOf({ service })).split('\t')[7] ?? '';
    expect([cell(''), cell('-'), cell('(empty)'), cell('a-b')]).toEqual(['-', '\\x2d', '\\x28empty)', 'a-b']);
  });

  it('as JSON has the same names, and leaves out what is absent', () => {
    const [first, second, , , , single] = RECORDS.map((record) => JSON.parse(flowLine('zeek-json', record)) as Record<string, unknown>); // prettier-ignore
    expect(first).toMatchObject({ 'id.orig_h': '10.0.0.1', 'id.orig_p': 40_000, proto: 'tcp', service: 'modbus', duration: 1.5, ts: 1_767_592_800.25 }); // prettier-ignore
    expect(first).not.toHaveProperty('vlan');
    expect(second).toMatchObject({ proto: 'udp', vlan: 7 });
    expect(second).not.toHaveProperty('service');
    expect(single).not.toHaveProperty('duration');
    expect(single?.['orig_bytes']).toBe(2 ** 40);
  });

  function unset(cell = ''): string {
    if (cell === '-' || cell === '(empty)') return '';
    return cell.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
});

describe('our own formats', () => {
  it('as CSV read back to the same values (RFC 4180)', () => {
    const text = flowHeader('csv', NOW_MS) + RECORDS.map((record) => flowLine('csv', record)).join('');
    const [names, ...rows] = parseCsv(text);
    expect(names).toEqual(FLOW_COLUMNS_TOLD.map(({ name }) => name));
    expect(rows).toEqual(
      RECORDS.map((record) => FLOW_COLUMNS_TOLD.map(({ value }) => String(value(record)))),
    );
  });

  it('as CSV are read by another program', () => {
    const text = flowHeader('csv', NOW_MS) + RECORDS.map((record) => flowLine('csv', record)).join('');
    const script = 'import csv,json,sys; print(json.dumps(list(csv.reader(sys.stdin))))';
    const rows = JSON.parse(execFileSync('python3', ['-c', `import io,sys; sys.stdin = io.TextIOWrapper(sys.stdin.buffer, newline='')\n${script}`], { input: text, encoding: 'utf8' })) as string[][]; // prettier-ignore
    expect(rows).toEqual(parseCsv(text));
  });

  it('as JSON lines have one object a line, with facts and scores', () => {
    const record = flowRecordOf({ service: AWKWARD, facts: { sni: AWKWARD }, scores: { level1: 0.25 }, alerts: ['a', 'b'] }); // prettier-ignore
    const line = flowLine('json', record);
    expect(line.indexOf('\n')).toBe(line.length - 1);
    expect(JSON.parse(line)).toMatchObject({ service: AWKWARD, facts: { sni: AWKWARD }, scores: { level1: 0.25 }, alerts: ['a', 'b'], protocol: 'tcp' }); // prettier-ignore
    expect(JSON.parse(flowLine('json', RECORDS[2] ?? record))).toMatchObject({ protocol: '0x88b8' });
  });

  it('as Parquet have every row and every value', async () => {
    const path = join(directory, 'flows.parquet');
    const file = new FlowFile('parquet', path);
    for (const record of RECORDS) file.write(record);
    await file.close();
    const bytes = readFileSync(path);
    expect([bytes.toString('latin1', 0, 4), bytes.toString('latin1', bytes.length - 4)]).toEqual(['PAR1', 'PAR1']); // prettier-ignore
    // The reader is a part of the writer's own package, not of ours.
    const writer = createRequire(import.meta.url).resolve('hyparquet-writer');
    const { parquetReadObjects } = (await import(createRequire(writer).resolve('hyparquet'))) as {
      parquetReadObjects: (options: { file: ArrayBuffer }) => Promise<Record<string, unknown>[]>;
    };
    const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
    const plain = rows.map((row) => FLOW_COLUMNS_TOLD.map(({ name }) => typeof row[name] === 'bigint' ? Number(row[name]) : row[name])); // prettier-ignore
    expect(plain).toEqual(RECORDS.map((record) => FLOW_COLUMNS_TOLD.map(({ value }) => value(record))));
  });

  it.each(['csv', 'json', 'zeek', 'zeek-json'] as const)(
    'as a file of many flows are whole: %s',
    async (format) => {
      const path = join(directory, `many.${format}`);
      const file = new FlowFile(format, path);
      for (let i = 0; i < 3000; i++) file.write(flowRecordOf({ uid: `C${i}` }));
      await file.close();
      const lines = readFileSync(path, 'utf8').split('\n').filter((line) => /\bC\d+\b/.test(line)); // prettier-ignore
      expect(lines).toHaveLength(3000);
      expect(lines.at(-1)).toContain('C2999');
    },
  );
});

/** RFC 4180, with line feeds between records. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i] as string;
    if (isQuoted && character === '"' && text[i + 1] === '"') {
      cell += '"';
      i++;
    } else if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted) cell += character;
    else if (character === ',' || character === '\n') {
      row.push(cell);
      cell = '';
      if (character === '\n') {
        rows.push(row);
        row = [];
      }
    } else cell += character;
  }
  return rows;
}
