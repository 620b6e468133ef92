/**
 * Packets that were never forwarded, fetched from the probe through the tunnel that it opened; and sensors as interfaces of Wireshark.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { projectRoot } from '../support/project.ts';
import { CuttingProxy } from '../support/cutting-proxy.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-edge-'));
const at = (name: string): string => join(directory, name);
const plant = at('plant.pcap');
const programs: Program[] = [];
let recorded: SeenPacket[] = [];
let collector: Program;
let port = 0;

beforeAll(async () => {
  const simulate = new Program('forwarder', ['simulate', '-o', plant, '--duration', '60s', '--seed', '9', '--start', new Date(Date.now() - 300_000).toISOString().slice(0, 19) + 'Z']); // prettier-ignore
  expect((await simulate.exited).code).toBe(0);
  recorded = await packetsOfFile(plant);
  await startCollector();
});
afterAll(async () => {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  rmSync(directory, { recursive: true, force: true });
});

async function startCollector(): Promise<void> {
  writeFileSync(
    at('collector.yaml'),
    `port: ${String(port)}\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${at('soc')}}\n`,
  );
  collector = new Program('collector', ['-c', at('collector.yaml')]);
  programs.push(collector);
  port = Number((await collector.line('Listening for sensors.'))['port']);
  await collector.line('Started.');
}

/** A probe that stores everything and forwards nothing but ARP. Its capture stays open. */
async function probe(name: string, edge = '{enable: true, max_rate: 1Gbit/s}', to = port): Promise<Program> {
  writeFileSync(
    at(`${name}.yaml`),
    `sensor: ${name}\ncapture: {driver: stdin}\noutput_directories: {pcap_raw_output_path: ${at(`edge-${name}`)}}\nedge: ${edge}\nforward: {enable: true, host: 127.0.0.1, port: ${String(to)}, protocol: tcp, filter: arp, drain_timeout: 100ms}\n`,
  );
  const started = new Program('forwarder', ['-c', at(`${name}.yaml`)]);
  programs.push(started);
  await started.line('Started.');
  await new Promise((resolve) => started.child.stdin?.write(readFileSync(plant), resolve));
  for (;;) {
    const { status } = spawnSyncSensors();
    if (status.includes(name)) return started;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function spawnSyncSensors(): { status: string } {
  return { status: collector.log.filter(({ msg }) => msg === 'A sensor connected.').map((line) => String(line['sensor'])).join(' ') }; // prettier-ignore
}

function exporting(...words: string[]): Program {
  return new Program('collector', ['export', '-c', at('collector.yaml'), '--edge', ...words]);
}

async function ask(...words: string[]): Promise<{ code: number | null; said: string; out: string }> {
  const child = exporting(...words);
  let out = '';
  child.child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const { code } = await child.exited;
  return { code, said: child.transcript(), out };
}

describe('an export from the edge', () => {
  it('is the same as one from the archive there', async () => {
    const sender = await probe('cell-1');
    const { code, said } = await ask('--sensor', 'cell-1', '-w', at('all.pcap'));
    expect(code, said).toBe(0);
    expect(contentOf(await packetsOfFile(at('all.pcap')))).toEqual(contentOf(recorded));
    execFileSync('tcpdump', ['-nr', at('all.pcap'), '-w', '/dev/null'], { stdio: 'pipe' });
    const shown = execFileSync('tshark', ['-r', plant, '-Y', 'tcp.port == 502', '-T', 'fields', '-e', 'frame.number'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 }); // prettier-ignore
    expect((await ask('--sensor', 'cell-1', '--port', '502', '--count')).out.trim()).toBe(String(shown.split('\n').length - 1)); // prettier-ignore
    const raw = await ask(
      '--sensor',
      'cell-1',
      '--host',
      '10.1.1.10',
      '--link-type',
      'raw',
      '-w',
      at('raw.pcap'),
    );
    expect(raw.code, raw.said).toBe(0);
    expect(execFileSync('capinfos', ['-E', at('raw.pcap')], { encoding: 'utf8' })).toContain('Raw IP');
    await sender.stop();
  }, 60_000);

  it('outlives the link and the file that was broken off', async () => {
    // Connections are cut after a part of the answer, twice.
    const cutsAfter = [200_000, 250_000];
    const proxy = new CuttingProxy({
      targetPort: () => port,
      bytesUntilCut: () => cutsAfter.shift() ?? Infinity,
    });
    const slow = await probe('cell-2', '{enable: true, max_rate: 1Gbit/s}', await proxy.open());
    const asking = ask('--sensor', 'cell-2', '-w', at('broken.pcap'));
    const { code, said } = await asking;
    expect(code, said).toBe(0);
    expect(proxy.cuts).toBe(2);
    expect(said).toContain('the sensor is here again');
    expect(contentOf(await packetsOfFile(at('broken.pcap')))).toEqual(contentOf(recorded));
    // Half of the file, torn in a record: the rest is fetched.
    truncateSync(at('broken.pcap'), Math.floor(statSync(at('broken.pcap')).size / 2) + 7);
    const again = await ask('--sensor', 'cell-2', '-w', at('broken.pcap'), '--resume');
    expect(again.code, again.said).toBe(0);
    expect(again.said).toContain('that were there');
    expect(contentOf(await packetsOfFile(at('broken.pcap')))).toEqual(contentOf(recorded));
    await slow.stop();
    proxy.close();
  }, 60_000);

  it('waits for a sensor that is away, keeps to its rate, and leaves what is live before it', async () => {
    const first = await probe('cell-3', '{enable: true, max_rate: 4Mbit/s}');
    first.child.stdin?.end();
    await first.exited;
    const asking = exporting('--sensor', 'cell-3', '-w', at('later.pcap'), '--proto', 'tcp');
    await asking.says('the sensor is away');
    writeFileSync(plantCopy(), readFileSync(plant).subarray(0, 24));
    const started = Date.now();
    const second = new Program('forwarder', ['-c', at('cell-3.yaml')]);
    programs.push(second);
    const { code } = await asking.exited;
    const seconds = (Date.now() - started) / 1000;
    expect(code, asking.transcript()).toBe(0);
    const tcp = recorded.filter(({ frame }) => isTcp(frame)).length;
    expect(await packetsOfFile(at('later.pcap'))).toHaveLength(tcp);
    // 4 Mbit/s are 0.5 MB a second, and the answer is packed about ten times.
    expect(seconds).toBeGreaterThan((statSync(at('later.pcap')).size / 20 / 500_000) * 0.5);
    await second.stop();
  }, 60_000);

  it('is refused where nobody allowed it, and by nobody else than the sensor', async () => {
    const closed = await probe('cell-4', '{enable: false}');
    const waiting = exporting('--sensor', 'cell-4', '--count');
    await waiting.says('the sensor is away');
    waiting.child.kill('SIGKILL');
    await waiting.exited;
    expect((await ask('--sensor', 'nobody', '--count')).said).toContain('no sensor nobody has come');
    expect((await ask('--count')).said).toContain('name it with --sensor');
    await closed.stop();
  }, 60_000);
});

const plantCopy = (): string => at('empty.pcap');

function isTcp(frame: Buffer): boolean {
  const isTagged = frame.readUInt16BE(12) === 0x8100;
  const offset = isTagged ? 18 : 14;
  const type = frame.readUInt16BE(offset - 2);
  if (type === 0x0800) return frame[offset + 9] === 6;
  return type === 0x86dd && frame[offset + 6] === 6;
}

describe('the control socket', () => {
  it('survives whatever is written to it', async () => {
    const path = join(at('soc'), '.tapline-control.sock');
    expect(statSync(path).mode & 0o007).toBe(0);
    for (const text of [
      '\n',
      '{}\n',
      '{"command":"edge"}\n',
      '{"command":"stream","linkType":"raw","filter":"x y z"}\n',
      'x'.repeat(300_000),
      '[[[[\n',
    ]) {
      // prettier-ignore
      const answer = await new Promise<string>((resolve) => {
        const socket = connect(path);
        let said = '';
        socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
        socket.on('error', () => undefined);
        socket.on('close', () => {
          resolve(said);
        });
        socket.end(text);
      });
      if (text.endsWith('\n')) expect(answer, text).toContain('error');
    }
    expect(collector.child.exitCode).toBeNull();
  });
});

describe('extcap', () => {
  it('makes each sensor an interface, with a filter and a beginning', async () => {
    const environment = { ...process.env, HOME: at('home'), XDG_CONFIG_HOME: at('home/.config') };
    const main = join(projectRoot, 'packages/collector/src/main.ts');
    execFileSync(process.execPath, [main, 'extcap', 'install', '-c', at('collector.yaml')], {
      env: environment,
    });
    const sender = await probe('cell-9', '{enable: false}');
    const extcap = join(at('home'), '.config/wireshark/extcap/tapline-extcap');
    expect(existsSync(join(at('home'), '.local/lib/wireshark/extcap/tapline-extcap'))).toBe(true);
    const interfaces = execFileSync(extcap, ['--extcap-interfaces'], { encoding: 'utf8' });
    expect(interfaces).toContain('interface {value=tapline-cell-9}{display=Tapline: cell-9}');
    expect(execFileSync(extcap, ['--extcap-interface', 'tapline-cell-9', '--extcap-dlts'], { encoding: 'utf8' })).toContain('{number=1}'); // prettier-ignore
    expect(execFileSync(extcap, ['--extcap-interface', 'tapline-cell-9', '--extcap-config'], { encoding: 'utf8' })).toContain('{call=--from}'); // prettier-ignore
    expect(execFileSync(extcap, ['--extcap-interface', 'tapline-cell-9', '--extcap-capture-filter', 'tcp prot 5'], { encoding: 'utf8' })).toContain('syntax error'); // prettier-ignore
    expect(execFileSync(extcap, ['--extcap-interface', 'tapline-cell-9', '--extcap-capture-filter', 'tcp port 5'], { encoding: 'utf8' })).toBe(''); // prettier-ignore
    const listed = execFileSync('tshark', ['-D'], { encoding: 'utf8', env: environment, stdio: ['ignore', 'pipe', 'ignore'] }); // prettier-ignore
    expect(listed).toContain('tapline-cell-9');
    // What the sensor forwarded before: its ARP packets, from an hour ago on.
    const arp = recorded.filter(({ frame }) => frame.readUInt16BE(12) === 0x0806).length;
    expect(arp).toBeGreaterThan(0);
    const tshark = spawn('tshark', ['-i', 'tapline-cell-9', '-o', 'extcap.tapline_cell_9.from:1h', '-c', String(arp), '-T', 'fields', '-e', 'eth.type'], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] }); // prettier-ignore
    let out = '';
    let err = '';
    tshark.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    tshark.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const timer = setTimeout(() => tshark.kill('SIGKILL'), 60_000);
    await new Promise((resolve) => tshark.once('close', resolve));
    clearTimeout(timer);
    expect(out.trim().split('\n'), err).toEqual(Array.from({ length: arp }, () => '0x0806'));
    await sender.stop();
  }, 120_000);
});
