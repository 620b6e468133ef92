/**
 * A spool on a disk that is smaller than what it may take: the frames that find no room wait in memory, then the newest are
 * dropped, counted and reported; nothing crashes, and what was kept arrives.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import { NAMESPACE_NEED, VethPair, canMakeNamespaces, runIn } from '../support/namespace.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-spool-disk-'));
const spool = join(directory, 'spool');
afterAll(() => {
  spawnSync('umount', [spool]);
  rmSync(directory, { recursive: true, force: true });
});

it.skipIf(!canMakeNamespaces())(
  `a full spool disk costs packets that are counted, and no more${NAMESPACE_NEED}`,
  async () => {
    mkdirSync(spool);
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', spool]).status).toBe(0);
    const plant = join(directory, 'plant.pcap');
    await new Program('forwarder', ['simulate', '-o', plant, '--duration', '120s', '--seed', '9']).exited;
    const pair = new VethPair();
    try {
      const { receiver, sender } = pair;
      const wrapper = ['ip', 'netns', 'exec', receiver.namespace];
      const forwarderFile = join(directory, 'forwarder.yaml');
      writeFileSync(
        forwarderFile,
        `sensor: probe\ncapture: {driver: afpacket, interface: ${receiver.interfaceName}}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: 5000, protocol: tcp, compression: none, queue_size: 4MiB, spool: {path: ${spool}, max_bytes: 64MiB}}\n`,
      );
      const forwarder = new Program('forwarder', ['-c', forwarderFile], { wrapper });
      await forwarder.line('Capturing.');
      runIn(sender, ['tcpreplay', '-K', '--loop=4', '--pps=60000', '-i', sender.interfaceName, plant]);
      await forwarder.line('The spool refuses frames.');
      await forwarder.line('The queue to the collector is full: packets are being dropped from the tunnel.');
      const soc = join(directory, 'soc');
      const collectorFile = join(directory, 'collector.yaml');
      writeFileSync(
        collectorFile,
        `port: 5000\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
      );
      const collector = new Program('collector', ['-c', collectorFile], { wrapper });
      await forwarder.line('The gap in the tunnel has ended.');
      await forwarder.line('The spool takes frames again.');
      expect(await forwarder.stop()).toBe(0);
      expect(await collector.stop()).toBe(0);
      const { capture, uplink } = booksOf(forwarder);
      const dropped = Number(uplink?.['droppedPackets']);
      expect(dropped).toBeGreaterThan(1000);
      expect(uplink).toMatchObject({ queuedPacketsNow: 0, offeredPackets: capture?.['packets'] });
      const stored = Number(uplink?.['acknowledgedPackets']);
      expect(stored + dropped).toBe(capture?.['packets']);
      const sensor = join(soc, 'probe');
      let found = 0;
      for (const name of readdirSync(sensor))
        if (name.endsWith('.pcap')) found += (await packetsOfFile(join(sensor, name))).length;
      expect(found).toBe(stored);
      const gaps = readFileSync(join(sensor, 'gaps.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { packets: number }); // prettier-ignore
      expect(gaps.reduce((sum, { packets }) => sum + packets, 0)).toBe(dropped);
    } finally {
      pair.close();
    }
  },
);
