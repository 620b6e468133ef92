/** The analyzer's counts over the corpus, held against what `split` stored. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TrafficTable } from '@tapline/analyzer/src/count/traffic-table.ts';
import { ArchiveTail } from '@tapline/analyzer/src/tail/archive-tail.ts';
import { split } from '@tapline/forwarder/src/split-command.ts';
import { afterAll, expect, it } from 'vitest';
import { corpusFiles, describeWithCorpus } from '../support/corpus.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-count-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});
const none = (): void => undefined;
const silent = { segmentDamaged: none, segmentCut: none, tooManySegments: none, unreadable: none };

describeWithCorpus('the traffic table', () => {
  it('counts every packet once, per source and per protocol', async () => {
    const files = corpusFiles('ot').map((file) => file.path);
    const report = await split(files, {
      output: directory,
      filter: '',
      snaplen: 262_144,
      linkType: 'ethernet',
      precision: 'us',
      rule: [],
      json: false,
    });
    const table = new TrafficTable();
    for await (const { segment, batch } of new ArchiveTail(directory, silent).poll())
      table.add(segment, batch);
    const sum = (rows: readonly { packets: number }[]): number =>
      rows.reduce((total, row) => total + row.packets, 0);
    expect(table.packets).toBe(report.packetsStored);
    expect(sum(table.sources())).toBe(report.packetsStored);
    expect(sum(table.protocols())).toBe(report.packetsStored);
    const names = table.protocols().map((row) => row.name);
    expect(names).toEqual(
      expect.arrayContaining(['modbus', 'dnp3', 'iec104', 'goose', 'profinet', 'bacnet']),
    );
  });
});
