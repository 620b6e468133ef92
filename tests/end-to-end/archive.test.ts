/** What becomes of an archive's segments, with the real programs: what stands beside them, who gets them, what proves them, when they go, and what a kill leaves. */
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { decodeIndex } from '@tapline/shared/catalog/segment-index.ts';
import { parseSidecar } from '@tapline/shared/catalog/sidecar.ts';
import type { ExportReport } from '@tapline/shared/daemon/export-command.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import {
  LAYOUTS,
  at,
  cleanUp,
  directory,
  plant,
  record,
  recorded,
  run,
  shown,
  sidecars,
} from './archive-testing.ts';

beforeAll(record, 120_000);
afterAll(cleanUp);

describe('a closed segment', () => {
  it('has a sidecar that says what capinfos says, and an index', () => {
    for (const layout of LAYOUTS) {
      const all = sidecars(layout);
      expect(all.length).toBeGreaterThan(0);
      if (layout !== 'host') expect(all.reduce((sum, { packets }) => sum + packets, 0)).toBe(recorded.length);
      for (const sidecar of all.slice(0, 5)) {
        const path = join(at(layout), sidecar.file);
        const info = execFileSync('capinfos', ['-M', '-c', '-d', '-u', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }); // prettier-ignore
        expect(info).toMatch(new RegExp(`Number of packets:\\s+${sidecar.packets}\\b`));
        expect(info).toMatch(new RegExp(`Data size:\\s+${sidecar.bytes}\\b`));
        const index = decodeIndex(readFileSync(join(at(layout), sidecar.segment.replace('.pcap', '.idx'))));
        expect(index).toMatchObject({ packets: sidecar.packets, coveredBytes: sidecar.fileBytes });
      }
    }
  });

  it('is linked whole into the flat directory, and handed to the command with its facts', () => {
    const all = sidecars('none');
    expect(readdirSync(at('links')).sort()).toEqual(all.map(({ segment }) => `cell-1_${segment}`).sort());
    const [first] = all;
    const linked = execFileSync('sha256sum', [join(at('links'), `cell-1_${String(first?.segment)}`)], { encoding: 'utf8' }); // prettier-ignore
    expect(linked.split(' ')[0]).toBe(first?.sha256);
    const lines = readFileSync(at('closed.txt'), 'utf8').trim().split('\n').sort();
    expect(lines).toEqual(sidecars('edge').map(({ segment, packets, sha256 }) => `${segment} ${packets} ${sha256}`).sort()); // prettier-ignore
  });

  it('that is packed is read by tshark and unpacks to what was hashed', () => {
    for (const layout of ['host', 'none', 'packed'])
      for (const { file, packets, sha256 } of sidecars(layout).slice(0, 4)) {
        const path = join(at(layout), file);
        const lines = execFileSync('tshark', ['-r', path, '-T', 'fields', '-e', 'frame.number'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 }); // prettier-ignore
        expect(lines.split('\n').length - 1).toBe(packets);
        const unpack = file.endsWith('.gz') ? 'zcat' : 'zstdcat';
        const hash = execFileSync('sh', ['-c', `${unpack} '${path}' | sha256sum`], { encoding: 'utf8' });
        expect(hash.split(' ')[0]).toBe(sha256);
      }
  });
});

describe('hand-over', () => {
  it('lets both kinds of watcher see each file once it is whole: renamed, and written to its end', async () => {
    const watched = at('watched');
    mkdirSync(watched);
    const script = `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
libc.inotify_add_watch(fd, sys.argv[1].encode(), 0x8 | 0x80 | 0x100)
print("watching", flush=True)
while True:
    data = os.read(fd, 65536)
    at = 0
    while at < len(data):
        _, mask, _, length = struct.unpack_from("iIII", data, at)
        name = data[at + 16:at + 16 + length].rstrip(b"\\0").decode()
        at += 16 + length
        print(mask, name, os.path.getsize(os.path.join(sys.argv[1], name)) if not name.startswith(".") else 0, flush=True)
`;
    const watcher = spawn('python3', ['-c', script, watched], { stdio: ['ignore', 'pipe', 'inherit'] });
    let seen = '';
    watcher.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    while (!seen.includes('watching')) await new Promise((resolve) => setTimeout(resolve, 20));
    writeFileSync(at('watched.yaml'), `sensor: cell-1\ncapture: {driver: file, files: [${plant}]}\narchive: {split: none, rotation: 1m}\noutput_directories: {pcap_raw_output_path: ${at('watched-archive')}}\non_close: [{link: ${watched}}]\n`); // prettier-ignore
    await run('forwarder', '-c', at('watched.yaml'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    watcher.kill();
    const names = readdirSync(watched).sort();
    expect(names).toHaveLength(5);
    let before = 0;
    for (const name of names) {
      const { size, mtimeMs } = statSync(join(watched, name));
      const events = seen.split('\n').filter((line) => line.includes(` ${name} `));
      // IN_MOVED_TO first, then IN_CLOSE_WRITE; whole at both; never created under this name.
      expect(events).toEqual([`128 ${name} ${size}`, `8 ${name} ${size}`]);
      // Suricata passes over what is not newer than the last.
      expect(mtimeMs).toBeGreaterThan(before);
      before = mtimeMs;
    }
    // Merged again by the field's own tool, they are what was recorded.
    execFileSync('mergecap', [
      '-F',
      'nsecpcap',
      '-w',
      at('merged.pcap'),
      ...names.map((name) => join(watched, name)),
    ]);
    expect(contentOf(await packetsOfFile(at('merged.pcap')))).toEqual(contentOf(recorded));
  }, 30_000);
});

describe('custody', () => {
  const verify = (...words: string[]) => {
    const child = new Program('forwarder', ['verify', '-a', at('edge'), '--key', at('edge.custody.key.pub'), ...words]); // prettier-ignore
    let out = '';
    child.child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
    return child.exited.then(({ code }) => ({ code, out }));
  };

  it('is proven by verify, and by openssl alone', async () => {
    const { code, out } = await verify('--json');
    expect(code).toBe(0);
    const [place] = (JSON.parse(out) as { places: { segmentsProven: number; head: string }[] }).places;
    expect(place?.segmentsProven).toBe(sidecars('edge').length);
    expect((await verify('--head', place?.head ?? '')).code).toBe(0);
    expect((await verify('--head', '0'.repeat(64))).code).toBe(9);
    const manifests = join(at('edge'), 'manifests');
    execFileSync('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', at('edge.custody.key.pub'), '-rawin', '-in', join(manifests, '00000001.json'), '-sigfile', join(manifests, '00000001.sig')]); // prettier-ignore
    expect(statSync(at('edge.custody.key')).mode & 0o077).toBe(0);
  });

  it('is broken by every way to change what was sealed', async () => {
    const segments = readdirSync(at('edge')).filter((name) => name.endsWith('.pcap'));
    const [name = ''] = segments;
    const path = join(at('edge'), name);
    const sidecar = path.replace('.pcap', '.json');
    const manifest = join(at('edge'), 'manifests/00000001.json');
    const withChange = async (file: string, change: (bytes: Buffer) => Buffer | null, told: string) => {
      const before = readFileSync(file);
      const after = change(Buffer.from(before));
      if (after === null) unlinkSync(file);
      else writeFileSync(file, after);
      const { code, out } = await verify();
      writeFileSync(file, before);
      expect(code, told).toBe(9);
      expect(out).toContain(told);
    };
    const flip = (bytes: Buffer): Buffer => {
      bytes[bytes.length - 3] = (bytes.at(-3) as number) ^ 1;
      return bytes;
    };
    await withChange(path, flip, `${name} was changed`);
    await withChange(path, () => null, 'its packets are not here');
    await withChange(sidecar, flip, 'its sidecar was changed');
    await withChange(manifest, flip, 'its signature is not that of the key');
    await withChange(manifest, (bytes) => Buffer.concat([bytes, Buffer.from(' ')]), 'its signature');
    await withChange(manifest.replace('.json', '.sig'), () => null, 'its signature is missing');
    expect((await verify()).code).toBe(0);
  });
});

describe('retention', () => {
  it('deletes the oldest by its limits, never what is held, and verify knows what was deleted', async () => {
    const edge = join(directory, 'kept');
    const yaml = at('kept.yaml');
    const base = `sensor: cell-1\ncapture: {driver: file, files: [${plant}]}\narchive: {rotation: 1m}\noutput_directories: {pcap_raw_output_path: ${edge}}\n`;
    writeFileSync(yaml, base);
    await run('forwarder', '-c', yaml);
    const names = (): string[] => readdirSync(edge).filter((name) => name.endsWith('.pcap'));
    const all = names();
    for (const [i, name] of all.entries()) {
      const closedAt = Date.now() / 1000 - 3600 - i;
      utimesSync(join(edge, name.replace('.pcap', '.json')), closedAt, closedAt);
    }
    await run('forwarder', 'hold', 'add', '-c', yaml, '--host', '10.1.1.10', '--reason', 'incident 42');
    const bytes = readdirSync(edge).reduce((sum, name) => sum + statSync(join(edge, name)).size, 0);
    appendFileSync(yaml, `retention: {total_size: ${Math.round(bytes / 2)}B, interval: 100ms}\n`);
    writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(/capture: .*/, 'capture: {driver: stdin}'));
    const forwarder = new Program('forwarder', ['-c', yaml]);
    await forwarder.line('A segment was deleted.');
    await new Promise((resolve) => setTimeout(resolve, 500));
    forwarder.child.stdin?.end();
    await forwarder.stop();
    const deleted = forwarder.log.filter(({ msg }) => msg === 'A segment was deleted.');
    const left = new Set(names());
    expect(all.filter((name) => !left.has(name))).toHaveLength(deleted.length);
    expect(deleted.length).toBeGreaterThan(5);
    const held = (JSON.parse((await run('forwarder', 'export', '-a', edge, '--list', '--json', '--host', '10.1.1.10', '--to', '2026-01-06')).out) as ExportReport); // prettier-ignore
    expect(held.packets).toBeGreaterThanOrEqual(shown('ip.addr == 10.1.1.10 || arp.src.proto_ipv4 == 10.1.1.10 || arp.dst.proto_ipv4 == 10.1.1.10')); // prettier-ignore
    const { out } = await run('forwarder', 'verify', '-c', yaml);
    expect(out).toContain(`${deleted.length} deleted by the rules`);
    expect(out).toContain('good');
  }, 60_000);
});

describe('a kill', () => {
  it('leaves nothing unfinished: the next start repairs, indexes, seals and hands over', async () => {
    const edge = join(directory, 'killed');
    const yaml = at('killed.yaml');
    writeFileSync(
      yaml,
      `sensor: cell-1\ncapture: {driver: file, files: [${plant}], speed: 120}\narchive: {rotation: 1m, flush_interval: 50ms}\noutput_directories: {pcap_raw_output_path: ${edge}}\non_close:\n  - {link: ${at('killed-links')}}\n  - {command: [/bin/sh, -c, "echo {segment} >> ${at('killed.txt')}"]}\n`,
    );
    for (let round = 0; round < 3; round++) {
      const forwarder = new Program('forwarder', ['-c', yaml]);
      await forwarder.line('Started.');
      await new Promise((resolve) => setTimeout(resolve, 700 + 300 * round));
      forwarder.child.kill('SIGKILL');
      await forwarder.exited;
    }
    await run('forwarder', '-c', yaml);
    const segments = readdirSync(edge).filter((name) => name.endsWith('.pcap'));
    const isDone = (name: string): boolean => existsSync(join(edge, name.replace('.pcap', '.json')));
    // On a busy machine the stop's deadline comes before the last of them: those, too, are the next start's, of a capture without packets.
    writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(/capture: .*/, 'capture: {driver: stdin}'));
    for (let round = 0; round < 5 && !segments.every(isDone); round++) {
      const forwarder = new Program('forwarder', ['-c', yaml]);
      forwarder.child.stdin?.end(Buffer.from('d4c3b2a10200040000000000000000000000010001000000', 'hex'));
      expect((await forwarder.exited).code, forwarder.transcript()).toBe(0);
    }
    for (const name of segments) {
      expect(isDone(name), name).toBe(true);
      expect(existsSync(join(edge, name.replace('.pcap', '.idx'))), name).toBe(true);
    }
    const all = readdirSync(edge).filter((name) => name.endsWith('.json')).map((name) => parseSidecar(readFileSync(join(edge, name), 'utf8'))); // prettier-ignore
    expect(all.some((sidecar) => sidecar?.recovered === true)).toBe(true);
    expect(readdirSync(at('killed-links')).sort()).toEqual(segments.map((name) => `cell-1_${name}`).sort());
    expect(new Set(readFileSync(at('killed.txt'), 'utf8').trim().split('\n'))).toEqual(new Set(segments));
    expect((await run('forwarder', 'verify', '-c', yaml)).out).toMatch(new RegExp(`good .* ${segments.length} segments proven`)); // prettier-ignore
    for (const name of segments) execFileSync('tcpdump', ['-nr', join(edge, name), '-w', '/dev/null'], { stdio: 'pipe' }); // prettier-ignore
  }, 120_000);
});
