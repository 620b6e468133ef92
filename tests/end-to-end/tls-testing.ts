/** For tests of TLS between the real programs: a plant, an authority of its own, and both sides with their certificates. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';

export const directory = mkdtempSync(join(tmpdir(), 'tapline-tls-'));
export const pki = join(directory, 'pki');
export const plant = join(directory, 'plant.pcap');
export const programs: Program[] = [];

/** Before all tests: a plant, and certificates for it. */
export async function setUp(): Promise<void> {
  await run('forwarder', 'simulate', '-o', plant, '--duration', '20s', '--seed', '11');
  await run('collector', 'pki', 'init', '--dir', pki, '--name', 'Test Plant');
  await run('collector', 'pki', 'issue', '--dir', pki, '--collector', 'soc', '--host', '127.0.0.1', '--host', 'localhost'); // prettier-ignore
  for (const sensor of ['cell-1', 'cell-2', 'cell-3'])
    await run('collector', 'pki', 'issue', '--dir', pki, sensor);
}

/** After all tests. */
export async function cleanUp(): Promise<void> {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  rmSync(directory, { recursive: true, force: true });
}

export async function run(program: 'forwarder' | 'collector', ...words: string[]): Promise<string> {
  const child = new Program(program, words);
  let text = '';
  child.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const { code } = await child.exited;
  expect(code, child.transcript()).toBe(0);
  return text;
}

let files = 0;
export function config(text: string): string {
  const file = join(directory, `config-${String(files++)}.yaml`);
  writeFileSync(file, text);
  return file;
}

export async function startCollector(
  more = '',
  bind = '127.0.0.1',
): Promise<{ collector: Program; port: number; soc: string; file: string }> {
  const soc = join(directory, `soc-${String(files)}`);
  const file = config(
    `port: 0\nbind: ${bind}\nprotocol: tcp\narchive: {link_type: ethernet}\nlimits: {hello_timeout: 1s}\ntls: {bundle: ${pki}/soc.pem, crl: ${pki}/ca.crl}\noutput_directories: {pcap_raw_output_path: ${soc}}\n${more}`,
  );
  const collector = new Program('collector', ['-c', file]);
  programs.push(collector);
  return { collector, port: Number((await collector.line('Listening for sensors.'))['port']), soc, file };
}

export function forwarder(
  sensor: string,
  port: number,
  bundle = `${pki}/${sensor}.pem`,
  more = '',
  host = '127.0.0.1',
): Program {
  const program = new Program('forwarder', [
    '-c',
    config(
      `sensor: ${sensor}\ncapture: {driver: file, files: [${plant}]}\narchive: {enable: false}\nforward: {enable: true, host: ${host}, port: ${String(port)}, protocol: tcp, tls: {bundle: ${bundle}}, drain_timeout: 100ms${more}}\n`,
    ),
  ]);
  programs.push(program);
  return program;
}

export async function packetsIn(path: string): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(path))
    if (name.endsWith('.pcap')) packets.push(...(await packetsOfFile(join(path, name))));
  return packets;
}
