/**
 * Closed segments in a real S3 store: brought there whole, read from there as if they were here, kept here while the store is away.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ObjectStore, elementOf } from '@tapline/shared/objects/object-store.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { ACCESS_KEY, S3Server, SECRET_KEY, hasS3Server } from '../support/s3-server.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-s3-'));
const at = (name: string): string => join(directory, name);
const server = new S3Server(at('server'));
const programs: Program[] = [];
let recorded: SeenPacket[] = [];

it('the S3 server is installed', () => {
  expect(hasS3Server(), 'apt-get install swift-proxy swift-account swift-container swift-object').toBe(true);
});

beforeAll(async () => {
  await server.start();
  // The proxy answers before the servers behind it do: on a busy machine its first answers are 503.
  let status = 503;
  for (let tries = 0; status === 503 && tries < 60; tries++) {
    if (tries > 0) await sleep(500);
    ({ status } = await server.request('PUT', 'tapline'));
  }
  expect(status).toBe(200);
  const simulate = new Program('forwarder', [
    'simulate',
    '-o',
    at('plant.pcap'),
    '--duration',
    '20s',
    '--seed',
    '4',
  ]);
  expect((await simulate.exited).code).toBe(0);
  recorded = await packetsOfFile(at('plant.pcap'));
  writeFileSync(at('secret'), `${SECRET_KEY}\n`);
  chmodSync(at('secret'), 0o600);
}, 60_000);
afterAll(async () => {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

function store(more: Partial<ConstructorParameters<typeof ObjectStore>[0]> = {}): ObjectStore {
  return new ObjectStore({ endpoint: server.endpoint, bucket: 'tapline', region: 'us-east-1', prefix: 'unit/', accessKey: ACCESS_KEY, secretKey: SECRET_KEY, tag: '', partBytes: 5 * 2 ** 20, ...more }); // prettier-ignore
}

function file(name: string, bytes: number): { path: string; sha256: string; content: Buffer } {
  const content = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i += 997) content.writeUInt8(i % 251, i);
  writeFileSync(at(name), content);
  return { path: at(name), sha256: createHash('sha256').update(content).digest('hex'), content };
}

const never = new AbortController().signal;

describe('the store', () => {
  it('takes small files and large ones in parts, and gives back any range of them', async () => {
    for (const bytes of [0, 1, 1000, 12 * 2 ** 20 + 7]) {
      const { path, sha256, content } = file('upload', bytes);
      expect(await store().put(`a b/ü-${String(bytes)}.pcap`, path, sha256, never)).toBe(bytes);
      expect(await store().size(`a b/ü-${String(bytes)}.pcap`)).toBe(bytes);
      if (bytes < 2) continue;
      for (const [from, length] of [[0, 10], [bytes - 5, 5], [Math.floor(bytes / 2), 300]] as const)
        expect(Buffer.from(await store().read(`a b/ü-${String(bytes)}.pcap`, from, length))).toEqual(content.subarray(from, from + length)); // prettier-ignore
    }
  }, 60_000);

  it('that refuses is told of with the remedy, and no secret is in it', async () => {
    const { path, sha256 } = file('refused', 10);
    const attempt = (wrong: ObjectStore) => wrong.put('x', path, sha256, never).then(() => '', String);
    expect(await attempt(store({ secretKey: 'wrong-secret' }))).toMatch(/403 .*is the key right/);
    expect(await attempt(store({ secretKey: 'wrong-secret' }))).not.toContain('wrong-secret');
    expect(await attempt(store({ bucket: 'no-such-bucket' }))).toMatch(/404 .*is there such a bucket/);
    expect(await attempt(store({ endpoint: 'http://127.0.0.1:59998' }))).toContain('ECONNREFUSED');
  }, 60_000);

  it('without tags is used without, and says so', async () => {
    const { path, sha256 } = file('tagged', 10);
    const tagging = store({ tag: 'retention=90d' });
    expect(await tagging.put('tagged', path, sha256, never)).toBe(10);
    expect(typeof tagging.isTagRefused).toBe('boolean');
  });

  it('may answer with anything', () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), fc.constantFrom('Code', 'UploadId'), (xml, name) => {
      const text = elementOf(xml, name);
      expect(text === null || typeof text === 'string').toBe(true);
      expect(elementOf(`<a><${name}>x&amp;y</${name}></a>`, name)).toBe('x&y');
    })); // prettier-ignore
  });
});

const yaml = (name: string, more = ''): string => {
  writeFileSync(
    at(`${name}.yaml`),
    `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet, rotation: 1m, compress: ${name === 'zstd' ? 'zstd' : name === 'gzip' ? 'gzip' : 'none'}}\noutput_directories: {pcap_raw_output_path: ${at(name)}}\nobject_store: {endpoint: "${server.endpoint}", bucket: tapline, prefix: ${name}/, access_key: "${ACCESS_KEY}", secret_key_file: ${at('secret')}, local_keep: 0ms}\nretention: {interval: 100ms}\n${more}`,
  );
  return at(`${name}.yaml`);
};

async function record(configuration: string): Promise<Program> {
  const collector = new Program('collector', ['-c', configuration]);
  programs.push(collector);
  const { port } = await collector.line('Listening for sensors.');
  writeFileSync(at('forwarder.yaml'), `sensor: cell-1\ncapture: {driver: file, files: [${at('plant.pcap')}]}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: ${String(port)}, protocol: tcp}\n`); // prettier-ignore
  const forwarder = new Program('forwarder', ['-c', at('forwarder.yaml')]);
  expect((await forwarder.exited).code, forwarder.transcript()).toBe(0);
  return collector;
}

const packetFiles = (name: string): string[] => readdirSync(join(at(name), 'cell-1')).filter((one) => one.includes('.pcap')); // prettier-ignore
const stems = (name: string, suffix: string): string[] => readdirSync(join(at(name), 'cell-1')).filter((one) => one.endsWith(suffix) && !one.startsWith('.')).map((one) => one.slice(0, -suffix.length)).sort(); // prettier-ignore

async function exported(configuration: string, ...words: string[]): Promise<SeenPacket[]> {
  const child = new Program('collector', ['export', '-c', configuration, '-w', at('out.pcap'), ...words]);
  expect((await child.exited).code, child.transcript()).toBe(0);
  return packetsOfFile(at('out.pcap'));
}

/** Runs a collector until nothing is here any more that is there. */
async function untilEvicted(name: string, collector: Program): Promise<void> {
  for (let i = 0; i < 300 && packetFiles(name).length > 0; i++) {
    expect(collector.child.exitCode, collector.transcript()).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(packetFiles(name)).toEqual([]);
}

describe('an archive', () => {
  it.each(['plain', 'gzip', 'zstd'])(
    'lives in the store: %s',
    async (name) => {
      const configuration = yaml(name);
      await (await record(configuration)).stop();
      const collector = new Program('collector', ['-c', configuration]);
      programs.push(collector);
      await untilEvicted(name, collector);
      await collector.stop();
      const segments = stems(name, '.json');
      expect(segments.length).toBeGreaterThan(50);
      expect(stems(name, '.object')).toEqual(segments);
      const keys = await server.keys(`tapline?prefix=${name}/cell-1/`);
      expect(keys).toHaveLength(3 * segments.length);
      // Everything, and a little, as if it were here.
      const all = await exported(configuration);
      expect(contentOf(all).toSorted()).toEqual(contentOf(recorded).toSorted());
      const some = await exported(configuration, '--host', '10.1.1.10', '--port', '502');
      expect(some.length).toBeGreaterThan(10);
      expect(some.length).toBeLessThan(all.length / 2);
      const verify = new Program('collector', ['verify', '-c', configuration]);
      let out = '';
      verify.child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
      expect((await verify.exited).code, out).toBe(0);
      expect(out).toContain(`${segments.length} in the object store`);
    },
    90_000,
  );

  it('stays here while the store is away, and goes there when it is back, also after a kill', async () => {
    const configuration = yaml('away');
    await server.kill();
    const collector = await record(configuration);
    collector.child.kill('SIGHUP');
    await collector.line('The object store does not take segments; they stay here.');
    const here = packetFiles('away').length;
    expect(here).toBeGreaterThan(50);
    collector.child.kill('SIGKILL');
    await collector.exited;
    await server.start();
    const again = new Program('collector', ['-c', configuration]);
    programs.push(again);
    await untilEvicted('away', again);
    await again.stop();
    expect(contentOf(await exported(configuration)).toSorted()).toEqual(contentOf(recorded).toSorted());
    const uploads = await (await server.request('GET', 'tapline?uploads=')).text();
    expect(uploads).not.toContain('<UploadId>');
  }, 90_000);

  it('refuses a store that anybody on the way could read', async () => {
    const configuration = yaml('open');
    writeFileSync(
      configuration,
      readFileSync(configuration, 'utf8').replace(server.endpoint, 'http://192.0.2.1:9000'),
    );
    const check = new Program('collector', ['check', configuration]);
    expect((await check.exited).code).toBe(2);
    expect(check.transcript()).toContain('allow_plaintext');
    expect(existsSync(at('open'))).toBe(false);
  });
});
