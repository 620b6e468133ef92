/**
 * `kill -9` of the collector in the middle of a one-way stream, several times, with its real archive. Nothing is sent
 * again, so packets are missing; but what the segments hold and what `gaps.jsonl` says must add up to what was sent, to the
 * packet, and no packet may be there twice.
 */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GapEntry } from '@tapline/collector/src/session/gap-list.ts';
import { UdpTunnelUplink } from '@tapline/forwarder/src/tunnel/udp/udp-tunnel-uplink.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { numberedBatch, seededRandom } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-udp-kill-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const KEY = '11'.repeat(32);

async function startCollector(port: number): Promise<{ collector: Program; port: number }> {
  const file = join(directory, 'collector.yaml');
  writeFileSync(
    file,
    `bind: 127.0.0.1
port: ${port}
protocol: udp
udp: {keys: [{id: 1, sensor: probe, key_file: ${join(directory, 'udp.key')}}], reorder_window: 50ms}
limits: {commit_interval: 50ms}
archive: {flush_interval: 20ms}
output_directories: {pcap_raw_output_path: ${join(directory, 'soc')}}
`,
  );
  const collector = new Program('collector', ['-c', file]);
  const line = await collector.line('Listening for sensors.');
  return { collector, port: Number(line['port']) };
}

describe('kill -9 of a collector of one-way sensors', () => {
  it('leaves an archive and a gap list that make up what was sent', async () => {
    const random = seededRandom(21);
    writeFileSync(join(directory, 'udp.key'), `${KEY}\n`, { mode: 0o600 });
    let { collector, port } = await startCollector(0);
    const uplink = new UdpTunnelUplink(
      {
        protocol: 'udp-tunnel',
        collectors: [{ host: '127.0.0.1', port }],
        sensor: 'probe',
        compression: 'zstd',
        onFull: 'wait',
        rate: { bytesPerSecond: 2_000_000, windows: [] },
        heartbeatIntervalMs: 100,
      },
      {
        mtu: 1500,
        data: 10,
        parity: 2,
        interleave: 4,
        seal: { keyId: 1, secret: Buffer.from(KEY, 'hex'), cipher: 'aes-256-gcm' },
      },
      { events: {} },
    );
    uplink.start();
    let offered = 0;
    let isOver = false;
    const offering = (async () => {
      while (!isOver) {
        const count = 1 + Math.floor(random() * 300);
        uplink.offer(numberedBatch(offered + 1, count, 60 + Math.floor(random() * 100)));
        offered += count;
        await sleep(10);
      }
    })();
    for (let kill = 0; kill < 4; kill++) {
      await collector.line('A sensor connected.');
      await sleep(200 + random() * 400);
      collector.child.kill('SIGKILL');
      await collector.exited;
      ({ collector, port } = await startCollector(port));
    }
    await collector.line('A sensor connected.');
    isOver = true;
    await offering;
    expect(await uplink.drain(20_000)).toBe(0);
    await collector.line('A sensor disconnected.');
    expect(await collector.stop()).toBe(0);

    const soc = join(directory, 'soc/probe');
    const numbers: number[] = [];
    for (const name of readdirSync(soc).filter((found) => parseSegmentName(found) !== null))
      for (const { frame } of await packetsOfFile(join(soc, name))) numbers.push(readU32(frame, 14));
    const list = join(soc, 'gaps.jsonl');
    const gaps = existsSync(list)
      ? readFileSync(list, 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as GapEntry)
      : [];
    expect(new Set(numbers).size).toBe(numbers.length);
    const missing = gaps.reduce((sum, { packets }) => sum + (packets ?? NaN), 0);
    expect(numbers.length + missing).toBe(offered);
    expect(gaps.length).toBeGreaterThan(0);
    expect(numbers.length).toBeGreaterThan(1000);
    // Each gap begins where the one before, and the frames between, ended.
    for (const [index, { sequences }] of gaps.entries()) {
      expect(sequences[0]).toBeLessThanOrEqual(sequences[1]);
      expect(sequences[0]).toBeGreaterThan(gaps[index - 1]?.sequences[1] ?? 0);
    }
  });
});
