/**
 * Every real capture through `split`: OT protocols, attacks, odd link types, damaged and hostile files. The books must
 * balance for each, and what was written must open in the tools of the field and hold exactly what was read.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { split, type SplitReport } from '@tapline/forwarder/src/split-command.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { packetsOfFile } from '../support/captured.ts';
import { corpusFiles, describeWithCorpus, manifest } from '../support/corpus.ts';

const FOLDERS = ['ot', 'attacks', 'linktypes', 'formats', 'bench', 'bad'];
/** Each tool is asked about all segments (capinfos, in few processes) or about every so-manieth (one process each). */
const TCPDUMP_EVERY = 40;
const TSHARK_EVERY = 400;
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

/**
 * Packets in all `files`, as capinfos counts them. It cannot read some exotic link types; those files must say so in
 * their names, and are counted by our own reader. Any other complaint fails the test.
 */
async function countWithCapinfos(files: readonly string[]): Promise<number> {
  let packets = 0;
  for (let start = 0; start < files.length; start += ARGUMENTS_MAX) {
    const words = ['-T', '-r', '-M', '-c', ...files.slice(start, start + ARGUMENTS_MAX)];
    const { stdout, stderr } = spawnSync('capinfos', words, { encoding: 'utf8', maxBuffer: 2 ** 28 });
    for (const line of stdout.trim().split('\n')) packets += Number(line.split('\t')[1] ?? 0);
    for (const [, refused = ''] of stderr.matchAll(/^capinfos: [^"\n]*"([^"\n]+)"/gm)) {
      expect(refused).toMatch(/\.linktype\d+_/);
      packets += (await packetsOfFile(refused)).length;
    }
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
    expect(await countWithCapinfos(segmentsIn(output))).toBe(report.packetsStored);
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
    // tshark has no dissector for some exotic link types; those files say so in their names.
    const known = segments.filter((segment) => !/\.linktype\d+_/.test(segment));
    const sample = (every: number): string[] => known.filter((_, index) => index % every === 0);
    expect(sample(TSHARK_EVERY).length).toBeGreaterThan(20);
    for (const segment of sample(TCPDUMP_EVERY))
      execFileSync('tcpdump', ['-r', segment, '-w', '/dev/null'], { stdio: ['ignore', 'ignore', 'pipe'] });
    for (const segment of sample(TSHARK_EVERY)) {
      const result = spawnSync(
        'tshark',
        ['-r', segment, '-c', '2000', '-T', 'fields', '-e', 'frame.number'],
        { encoding: 'utf8' },
      );
      const complaints = result.stderr
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('Running as user'));
      expect({ segment, status: result.status, complaints }).toEqual({ segment, status: 0, complaints: [] });
    }
  }, 300_000);
});
