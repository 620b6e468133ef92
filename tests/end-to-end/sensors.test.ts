/** `tapline-collector sensors`: what it shows beside a running collector, after one, and of a sensor with a gap. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TunnelUplink } from '@tapline/forwarder/src/tunnel/tunnel-uplink.ts';
import { numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterAll, expect, it } from 'vitest';
import { Program } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-sensors-'));
const config = join(directory, 'collector.yaml');
const archive = join(directory, 'soc');
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function sensors(...words: string[]): Promise<{ code: number | null; text: string; noise: string }> {
  const program = new Program('collector', ['sensors', '-c', config, ...words]);
  let text = '';
  program.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const { code } = await program.exited;
  return { code, text, noise: program.noise.join('\n') };
}

interface FleetJson {
  running: boolean;
  sensors: Record<string, unknown>[];
}

/** The fleet as soon as the condition holds: the collector writes every few seconds. */
async function fleetWhen(condition: (fleet: FleetJson) => boolean): Promise<FleetJson> {
  for (;;) {
    const fleet = JSON.parse((await sensors('--json')).text) as FleetJson;
    if (condition(fleet)) return fleet;
    await sleep(300);
  }
}

it('shows the fleet while the collector runs and when it does not, and a sensor with its gaps', async () => {
  const port = `port: 0\nbind: 127.0.0.1\nprotocol: tcp\n`;
  writeFileSync(config, `${port}output_directories: {pcap_raw_output_path: ${archive}}\n`);
  expect((await sensors()).noise).toContain('no collector has written');
  const collector = new Program('collector', ['-c', config]);
  const listening = await collector.line('Listening for sensors.');
  const uplink = new TunnelUplink(
    {
      protocol: 'tunnel',
      collectors: [{ host: '127.0.0.1', port: Number(listening['port']) }],
      sensor: 'cell-3',
      compression: 'zstd',
      onFull: 'drop-newest',
      queueBytesMax: 2000,
      reportIntervalMs: 100,
      heartbeatIntervalMs: 100,
      software: 'tapline-forwarder 9.9',
    },
    {
      events: {},
      report: () => ({ uptime_seconds: 77, captured_packets: 1234, capture_kernel_dropped_packets: 5 }),
    },
  );
  // Before the connection stands: the queue overflows, and a gap is on its way.
  for (let i = 0; i < 10; i++) uplink.offer(numberedBatch(i * 100, 100));
  uplink.start();
  const fleet = await fleetWhen((now) => now.sensors.some((status) => status['clockOffsetMs'] !== null));
  const gapPackets = uplink.counters.dropped['queue-full'];
  expect(gapPackets).toBeGreaterThan(0);
  expect(fleet).toMatchObject({
    running: true,
    sensors: [
      {
        sensor: 'cell-3',
        connected: true,
        peer: '127.0.0.1',
        software: 'tapline-forwarder 9.9',
        packets: 1000 - gapPackets,
        gaps: 1,
        gapPackets,
        lagMs: 0,
        uptimeSeconds: 77,
        capturedPackets: 1234,
        kernelDroppedPackets: 5,
        queuedPackets: 0,
      },
    ],
  });
  expect(Math.abs(uplink.counters.clockOffsetMs)).toBeLessThan(100);
  const { text } = await sensors();
  expect(text).toMatch(/^sensor +state +last seen/);
  expect(text).toMatch(/^cell-3 +connected +\d+ (ms|s) ago/m);
  expect(text).toContain('1 sensors, collector running, 1 connected');
  const one = (await sensors('cell-3')).text;
  expect(one).toMatch(/kernelDroppedPackets +5/);
  expect(one).toMatch(new RegExp(`${gapPackets} +\\d[\\d,]* +queue-full`));
  expect((await sensors('cell-4')).noise).toContain('no sensor cell-4 was ever here');
  await uplink.drain(5000);
  expect(await collector.stop()).toBe(0);
  const after = await sensors();
  expect(after.text).toMatch(/^cell-3 +away/m);
  expect(after.text).toContain('the collector is not running');
});
