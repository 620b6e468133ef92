/**
 * A link of 200 ms there and back: `npm run bench long-link`. The tunnel beside a bare TCP stream of the same bytes over the same
 * wire, which delays every frame by 100 ms in each direction. What both can reach is set by the kernel's buffers
 * (net.ipv4.tcp_wmem, tcp_rmem); the ratio says whether the tunnel's window and batches get in its way.
 */
import { fork, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program, booksOf } from '../support/child.ts';
import { runIn } from '../support/namespace.ts';
import { PERFECT } from '../chaos/impaired-wire.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-long-link-'));
const plant = join(directory, 'plant.pcap');
const [near, far] = [`tl${String(process.pid)}n`, `tl${String(process.pid)}f`];
const SINK = `require('node:net').createServer(s => { let n = 0; s.on('data', c => { n += c.length }).on('end', () => { s.end(String(n)); process.exitCode = 0; setTimeout(() => process.exit(0), 500); }); }).listen(5001, '10.8.0.2', () => console.log('ready'))`; // prettier-ignore
const SOURCE = `const s = require('node:net').connect(5001, '10.8.0.2', () => require('node:fs').createReadStream(process.argv[1], { highWaterMark: 1 << 20 }).pipe(s)); s.resume().on('end', () => process.exit(0))`; // prettier-ignore

function inside(namespace: string, words: readonly string[]) {
  return spawn('ip', ['netns', 'exec', namespace, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function bareSeconds(): Promise<number> {
  const sink = inside(far, [process.execPath, '-e', SINK]);
  await new Promise((resolve) => sink.stdout.once('data', resolve));
  const startedAtMs = performance.now();
  const source = inside(near, [process.execPath, '-e', SOURCE, plant]);
  await new Promise((resolve) => source.once('close', resolve));
  return (performance.now() - startedAtMs) / 1000;
}

async function tunnelSeconds(): Promise<number> {
  const collectorFile = join(directory, 'collector.yaml');
  const forwarderFile = join(directory, 'forwarder.yaml');
  writeFileSync(collectorFile, `port: 5000\nbind: 10.8.0.2\nallow_plaintext: true\nprotocol: tcp\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${directory}/soc}\n`); // prettier-ignore
  writeFileSync(forwarderFile, `sensor: probe\ncapture: {driver: file, files: [${plant}]}\narchive: {enable: false}\nforward: {enable: true, host: 10.8.0.2, port: 5000, protocol: tcp, compression: none, allow_plaintext: true}\n`); // prettier-ignore
  const collector = new Program('collector', ['-c', collectorFile], {
    wrapper: ['ip', 'netns', 'exec', far],
  });
  await collector.line('Listening for sensors.');
  const startedAtMs = performance.now();
  const forwarder = new Program('forwarder', ['-c', forwarderFile], {
    wrapper: ['ip', 'netns', 'exec', near],
  });
  await forwarder.exited;
  const seconds = (performance.now() - startedAtMs) / 1000;
  await collector.stop();
  const { offeredPackets, acknowledgedPackets } = booksOf(forwarder)['uplink'] ?? {};
  if (offeredPackets !== acknowledgedPackets) throw new Error('the tunnel did not carry everything');
  return seconds;
}

await new Program('forwarder', ['simulate', '-o', plant, '--duration', '1200s', '--seed', '1']).exited;
const megabytes = statSync(plant).size / 1e6;
const wire = fork(new URL('../chaos/impaired-wire.ts', import.meta.url), ['1', `${near}w`, `${far}w`]);
try {
  await new Promise((resolve) => wire.once('message', resolve));
  for (const [namespace, address] of [
    [near, '10.8.0.1/24'],
    [far, '10.8.0.2/24'],
  ] as const) {
    // prettier-ignore
    spawnSync('ip', ['netns', 'add', namespace]);
    spawnSync('ip', ['link', 'set', `${namespace}w`, 'netns', namespace]);
    // A queue that holds a window: the wire is slow to begin with.
    runIn({ namespace }, ['ip', 'link', 'set', `${namespace}w`, 'txqueuelen', '20000', 'up']);
    runIn({ namespace }, ['ip', 'addr', 'add', address, 'dev', `${namespace}w`]);
  }
  wire.send({ ...PERFECT, delayMs: 100 });
  const bare = await bareSeconds();
  const tunnel = await tunnelSeconds();
  console.log(`${megabytes.toFixed(0)} MB over 200 ms: bare TCP ${(megabytes / bare).toFixed(1)} MB/s, tunnel ${(megabytes / tunnel).toFixed(1)} MB/s, ratio ${(bare / tunnel).toFixed(2)}`); // prettier-ignore
} finally {
  wire.disconnect();
  for (const namespace of [near, far]) spawnSync('ip', ['netns', 'del', namespace]);
  rmSync(directory, { recursive: true, force: true });
}
