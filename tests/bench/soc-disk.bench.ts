/**
 * From the NIC to the SOC's disk, encrypted: `npm run bench soc-disk`. The same frames, replayed over a veth pair at rising
 * rates, through
 *
 *   tapline   forwarder (afpacket) ═ TLS, zstd or lz4 ═▶ collector ─▶ disk, synced, acknowledged
 *   pipe      tcpdump -w - | lz4 | openssl s_client ═ TLS ═▶ openssl s_server | lz4 -d > file
 *
 * Prints for each what share of the frames reached the disk, and the processor time per packet of all its processes.
 * Compare within a run only. The pipe syncs nothing, resumes nothing and knows not what it lost.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthority, issueCertificate } from '../../packages/collector/src/pki/certificates.ts';
import { openCapture } from '../../packages/shared/src/pcap/capture-file.ts';
import { Program, booksOf } from '../support/child.ts';
import { VethPair, runIn } from '../support/namespace.ts';

const RATES = [50_000, 100_000, 200_000, 400_000];
const LOOPS = 6;
const PORT = 5000;
const directory = mkdtempSync(join(tmpdir(), 'tapline-soc-disk-'));
const plant = join(directory, 'plant.pcap');

interface Outcome {
  readonly stored: number;
  readonly cpuSeconds: number;
}

/** Clock ticks of a process and the children it has waited for; USER_HZ is 100 everywhere. */
function cpuSecondsOf(pid: number | undefined): number {
  try {
    const fields =
      readFileSync(`/proc/${String(pid)}/stat`, 'latin1')
        .split(') ')[1]
        ?.split(' ') ?? [];
    return [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0) / 100;
  } catch {
    return 0;
  }
}

function descendants(pid: number | undefined): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const parent = Number(readFileSync(`/proc/${name}/stat`, 'latin1').split(') ')[1]?.split(' ')[1]);
      if (parent === pid) found.push(Number(name), ...descendants(Number(name)));
    } catch {
      // Gone meanwhile.
    }
  }
  return found;
}

async function countPackets(path: string): Promise<number> {
  let packets = 0;
  try {
    for await (const batch of (await openCapture(path)).batches()) packets += batch.packetCount;
  } catch {
    // The pipe's file ends where it was cut.
  }
  return packets;
}

function replay(pair: VethPair, rate: number): void {
  const { sender } = pair;
  runIn(sender, [
    'tcpreplay',
    '-K',
    `--pps=${String(rate)}`,
    `--loop=${String(LOOPS)}`,
    '-i',
    sender.interfaceName,
    plant,
  ]);
}

async function tapline(pair: VethPair, rate: number, codec: string): Promise<Outcome> {
  const { namespace, interfaceName } = pair.receiver;
  const soc = join(directory, `soc-${codec}-${String(rate)}`);
  const collectorFile = join(directory, 'collector.yaml');
  const forwarderFile = join(directory, 'forwarder.yaml');
  writeFileSync(collectorFile, `port: ${String(PORT)}\nbind: 127.0.0.1\nprotocol: tcp\ntls: {bundle: ${directory}/soc.pem}\narchive: {link_type: ethernet}\ndefault_output_prefix: all\noutput_directories: {pcap_raw_output_path: ${soc}}\n`); // prettier-ignore
  writeFileSync(forwarderFile, `sensor: probe\ncapture: {driver: afpacket, interface: ${interfaceName}}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: ${String(PORT)}, protocol: tcp, compression: ${codec}, tls: {bundle: ${directory}/probe.pem}}\n`); // prettier-ignore
  const wrapper = ['ip', 'netns', 'exec', namespace];
  const collector = new Program('collector', ['-c', collectorFile], { wrapper });
  await collector.line('Listening for sensors.');
  const forwarder = new Program('forwarder', ['-c', forwarderFile], { wrapper });
  await forwarder.line('Connected to the collector.');
  const idle = cpuSecondsOf(forwarder.child.pid) + cpuSecondsOf(collector.child.pid);
  replay(pair, rate);
  await sleep(1000);
  const cpuSeconds = cpuSecondsOf(forwarder.child.pid) + cpuSecondsOf(collector.child.pid) - idle;
  await forwarder.stop();
  await collector.stop();
  const stored = Number(booksOf(collector)['archive']?.['packetsStored']);
  rmSync(soc, { recursive: true, force: true });
  return { stored, cpuSeconds };
}

async function pipe(pair: VethPair, rate: number): Promise<Outcome> {
  const { namespace, interfaceName } = pair.receiver;
  const file = join(directory, 'pipe.pcap');
  const run = (line: string): ChildProcess =>
    spawn('ip', ['netns', 'exec', namespace, 'sh', '-c', line], { stdio: 'ignore' });
  const server = run(`tail -f /dev/null | openssl s_server -accept ${String(PORT + 1)} -quiet -tls1_3 -cert ${directory}/soc.crt -key ${directory}/soc.key | lz4 -d -c - > ${file}`); // prettier-ignore
  await sleep(500);
  const client = run(`tcpdump -i ${interfaceName} --immediate-mode -Z root -s 0 -B 65536 -w - | lz4 -c - | openssl s_client -connect 127.0.0.1:${String(PORT + 1)} -quiet -tls1_3 > /dev/null`); // prettier-ignore
  await sleep(1500);
  const all = (): number => [client.pid, server.pid, ...descendants(client.pid), ...descendants(server.pid)].reduce<number>((sum, pid) => sum + cpuSecondsOf(pid), 0); // prettier-ignore
  const idle = all();
  replay(pair, rate);
  await sleep(1500);
  const cpuSeconds = all() - idle;
  spawnSync('ip', ['netns', 'exec', namespace, 'pkill', '-INT', '-f', `tcpdump -i ${interfaceName}`]);
  await sleep(1500);
  for (const pid of [...descendants(client.pid), ...descendants(server.pid)])
    spawnSync('kill', [String(pid)]);
  await sleep(300);
  return { stored: await countPackets(file), cpuSeconds };
}

const authority = await createAuthority('Bench', 30);
const soc = await issueCertificate(authority, 'soc', { kind: 'collector', hosts: ['127.0.0.1'] }, 30);
const probe = await issueCertificate(authority, 'probe', { kind: 'sensor' }, 30);
for (const [name, { key, certificate }] of Object.entries({ soc, probe })) {
  writeFileSync(join(directory, `${name}.pem`), key + certificate + authority.certificate, { mode: 0o600 });
  writeFileSync(join(directory, `${name}.key`), key, { mode: 0o600 });
  writeFileSync(join(directory, `${name}.crt`), certificate);
}
await new Program('forwarder', ['simulate', '-o', plant, '--duration', '180s', '--seed', '1']).exited;
const packets = (await countPackets(plant)) * LOOPS;
const row = (cells: readonly string[]): void => {
  console.log(cells.map((cell, index) => (index === 0 ? cell.padEnd(14) : cell.padStart(15))).join(''));
};
console.log(
  `${String(packets)} packets of the simulated plant at each rate; on the disk, and µs of processor time a packet\n`,
);
row(['packets/s', 'tapline zstd', '', 'tapline lz4', '', 'pipe', '', 'ratio zstd', 'ratio lz4']);
for (const rate of RATES) {
  const pair = new VethPair();
  try {
    const outcomes = [
      await tapline(pair, rate, 'zstd'),
      await tapline(pair, rate, 'lz4'),
      await pipe(pair, rate),
    ];
    const cells = outcomes.flatMap(({ stored, cpuSeconds }) => [
      `${((stored / packets) * 100).toFixed(1)} %`,
      `${((cpuSeconds / Math.max(stored, 1)) * 1e6).toFixed(2)} µs`,
    ]);
    const [zstd, lz4, peer] = outcomes.map(({ stored }) => stored);
    row([
      String(rate),
      ...cells,
      ((zstd ?? 0) / (peer ?? 1)).toFixed(2),
      ((lz4 ?? 0) / (peer ?? 1)).toFixed(2),
    ]);
  } finally {
    pair.close();
  }
}
rmSync(directory, { recursive: true, force: true });
