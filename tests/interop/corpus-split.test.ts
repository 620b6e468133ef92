/**
 * Every real capture through `split`: OT protocols, attacks, odd link types, damaged and hostile files. The books must
 * balance for each, and what was written must open in the tools of the field and hold exactly what was read.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { split, type SplitReport } from '@tapline/forwarder/src/split-command.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { corpusFiles, describeWithCorpus, manifest } from '../support/corpus.ts';

const FOLDERS = ['ot', 'attacks', 'linktypes', 'formats', 'bench', 'bad'];
/** Each tool is asked about all segments (capinfos, in few processes) or about every so-manieth (one process each). */
const EVERY = 40;
const ARGUMENTS_MAX = 400;

const directory = mkdtempSync(join(tmpdir(), 'tapline-corpus-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function splitFolder(folder: string): Promise<{ report: SplitReport; output: string }> {
  const output = join(directory, folder);
  const files = corpusFiles(folder).map((file) => file.path);
  const options = {
    output,
    filter: '',
    snaplen: PACKET_BYTES_MAX,
    linkType: 'ethernet',
    precision: 'ns',
    rule: [],
    json: false,
  } as const;
  return { report: await split(files, options), output };
}

function segmentsIn(output: string): string[] {
  return readdirSync(output)
    .filter((name) => name.endsWith('.pcap'))
    .map((name) => join(output, name));
}

/** Packets in all `files`, as capinfos counts them; it fails on any file that it cannot read to the end. */
function capinfosCount(files: readonly string[]): number {
  let packets = 0;
  for (let start = 0; start < files.length; start += ARGUMENTS_MAX) {
    const words = ['-T', '-r', '-M', '-c', ...files.slice(start, start + ARGUMENTS_MAX)];
    const table = execFileSync('capinfos', words, { encoding: 'utf8', maxBuffer: 2 ** 28 });
    for (const line of table.trim().split('\n')) packets += Number(line.split('\t')[1]);
  }
  return packets;
}

describeWithCorpus('every capture of the corpus', () => {
  const rows = new Map(manifest().map((row) => [row.path, row]));

  it.each(FOLDERS)('%s/ goes through split, and read = stored, nothing dropped', async (folder) => {
    const { report, output } = await splitFolder(folder);
    expect(report.files.length).toBe(corpusFiles(folder).length);
    expect(report.packetsDropped).toBe(0);
    expect(report.packetsStored).toBe(report.packetsRead);
    expect(report.sources.reduce((sum, source) => sum + source.packets, 0)).toBe(report.packetsStored);
    expect(capinfosCount(segmentsIn(output))).toBe(report.packetsStored);
  });

  it('whole files have as many packets as the list of the corpus says', async () => {
    const { report } = await splitFolder('ot');
    for (const file of report.files) {
      const row = [...rows.values()].find((candidate) => file.file.endsWith(`/${candidate.path}`));
      expect(file.damage, file.file).toBeNull();
      expect(file.packets, file.file).toBe(row?.packets);
    }
  });

  it('damaged files say where and why, and keep everything before the damage', async () => {
    const { report } = await splitFolder('bad');
    const damaged = report.files.filter((file) => file.damage !== null);
    expect(damaged.length).toBeGreaterThan(10);
    for (const file of damaged) expect(file.damage, file.file).toMatch(/offset \d+|empty|magic/i);
  });

  it('tshark and tcpdump read the segments to the end without a complaint', () => {
    const segments = FOLDERS.filter((folder) => folder !== 'bad').flatMap((folder) =>
      segmentsIn(join(directory, folder)),
    );
    const sample = segments.filter((_, index) => index % EVERY === 0);
    expect(sample.length).toBeGreaterThan(20);
    for (const segment of sample) {
      execFileSync('tcpdump', ['-r', segment, '-w', '/dev/null'], { stdio: ['ignore', 'ignore', 'pipe'] });
      const stderr = execFileSync(
        'sh',
        ['-c', 'tshark -r "$1" -c 2000 -T fields -e frame.number 2>&1 >/dev/null', 'sh', segment],
        { encoding: 'utf8' },
      );
      expect(stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Running as user'))).toEqual(
        [],
      );
    }
  });
});
