/** For tests of archives: a plant recorded into five layouts at once by the real program, and what tshark shows of the recording. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSidecar, type Sidecar } from '@tapline/shared/catalog/sidecar.ts';
import type { ExportReport } from '@tapline/shared/daemon/export-command.ts';
import { expect } from 'vitest';
import { packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';

export const directory = mkdtempSync(join(tmpdir(), 'tapline-archive-e2e-'));
export const plant = join(directory, 'plant.pcap');
export const at = (name: string): string => join(directory, name);
/** Every way to lay packets out. */
export const LAYOUTS = ['edge', 'host', 'pair', 'none', 'packed'] as const;
export let recorded: SeenPacket[] = [];

const configuration = `
sensor: cell-1
capture: {driver: file, files: [${plant}]}
output_directories: {pcap_raw_output_path: ${at('edge')}}
archive: {rotation: 1m}
archives:
  - {name: host, directory: ${at('host')}, split: host, compress: gzip}
  - {name: pair, directory: ${at('pair')}, split: pair, rotation: 64KiB}
  - {name: none, directory: ${at('none')}, split: none, compress: zstd}
  - {name: packed, directory: ${at('packed')}, split: none, compress: gzip, rotation: 90s}
on_close:
  - {link: ${at('links')}, archive: none}
  - {command: [/bin/sh, -c, "echo {segment} {packets} {sha256} >> ${at('closed.txt')}"]}
`;

/** Before all tests. */
export async function record(): Promise<void> {
  await run('forwarder', 'simulate', '-o', plant, '--duration', '5m', '--seed', '21');
  recorded = await packetsOfFile(plant);
  writeFileSync(at('forwarder.yaml'), configuration);
  const forwarder = new Program('forwarder', ['-c', at('forwarder.yaml')]);
  expect((await forwarder.exited).code, forwarder.transcript()).toBe(0);
}

/** After all tests. */
export function cleanUp(): void {
  rmSync(directory, { recursive: true, force: true });
}

export async function run(
  program: 'forwarder' | 'collector',
  ...words: string[]
): Promise<{ out: string; err: string }> {
  const child = new Program(program, words);
  let out = '';
  child.child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const { code } = await child.exited;
  expect(code, child.transcript()).toBe(0);
  return { out, err: child.transcript() };
}

export async function report(layout: string, ...words: string[]): Promise<ExportReport> {
  const { out } = await run('forwarder', 'export', '-a', at(layout), '--list', '--json', ...words);
  return JSON.parse(out) as ExportReport;
}

/** How many packets of the recording tshark shows. */
export function shown(filter: string): number {
  const lines = execFileSync('tshark', ['-r', plant, '-Y', filter, '-T', 'fields', '-e', 'frame.number'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 64 * 1024 * 1024,
  });
  return lines.split('\n').length - 1;
}

export function sidecars(layout: string): Sidecar[] {
  return readdirSync(at(layout))
    .filter((name) => name.endsWith('.json'))
    .map((name) => parseSidecar(readFileSync(join(at(layout), name), 'utf8')) as Sidecar);
}
