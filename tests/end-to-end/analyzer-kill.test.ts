/** The analyzer over an archive that grows, killed again and again, held against one plain analysis of the same packets. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Alert } from '@tapline/analyzer/src/alert/alert-desk.ts';
import { Prng } from '@tapline/shared/base/prng.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { booksOf } from '../support/child.ts';
import {
  SENSORS,
  Writer,
  alertsIn,
  analysed,
  cleanUp,
  directory,
  packetsCounted,
  start,
  traffic,
  until,
} from './analyzer-testing.ts';

afterAll(cleanUp);

const SECONDS = 130;

describe('killed again and again while the archive grows, the analyzer', () => {
  it('counts each packet once, and finds the flows and alerts of one uninterrupted run', async () => {
    const packets = traffic(SECONDS);
    const archive = join(directory, 'archive');
    const writer = new Writer(archive, packets);
    const alerts = join(directory, 'kill-alerts.jsonl');
    const flows = join(directory, 'kill-conn.log');
    const text =
      `input: {directory: ${archive}, poll_interval: 50ms, reorder_window: 12s}\nstate_directory: ${directory}/state\ncheckpoint_interval: 1s\n` +
      `alerts_file: ${alerts}\nflows: {format: json, file: ${flows}}\nstatistics_interval: 1s\n`;
    const seed = Number(process.env['TAPLINE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed}`);
    const prng = new Prng(seed);
    // Ten times as fast as the clock: a poll that is held up for a second still finds everything within the window.
    const writing = (async () => {
      const beganMs = performance.now();
      for (let at = 0; at < SECONDS; at = (performance.now() - beganMs) / 100) {
        writer.writeUntil(at);
        await sleep(10);
      }
      await sleep(500);
      writer.writeUntil(Infinity);
    })();
    let kills = 0;
    let resumed = 0;
    while (!writer.isDone || kills < 8) {
      const program = start(text);
      await program.line('Started.');
      resumed += program.log.some((line) => line.msg === 'Going on from the last checkpoint.') ? 1 : 0;
      // The first lives until there is something to go on from, however busy the disk is.
      if (kills === 0)
        await until('a checkpoint', () => existsSync(join(directory, 'state', 'analyzer.checkpoint')));
      else await sleep(prng.between(400, 2000));
      program.child.kill('SIGKILL');
      await program.exited;
      expect(program.log.filter((line) => Number(line['level']) > 30)).toEqual([]);
      kills++;
    }
    await writing;
    const last = start(text);
    await until('the last packet', () => packetsCounted(last) === packets.length);
    expect(await last.stop()).toBe(0);
    console.log(`${packets.length} packets, ${kills} kills, ${resumed} times gone on from a checkpoint`);
    expect(kills).toBeGreaterThanOrEqual(8);
    expect(resumed).toBeGreaterThan(0);

    const { analysis, flows: uids } = await analysed([archive]);
    const books = booksOf(last);
    const bytes = packets.reduce((sum, { frame }) => sum + frame.byteLength, 0);
    expect(books['count']).toEqual({ packets: packets.length, bytes });
    expect(books['engine']).toEqual({ packets: packets.length, bytes, packetsFailed: 0 });
    expect(books['merge']).toMatchObject({ packetsIn: packets.length, packetsOut: packets.length, packetsLate: 0, packetsHeldNow: 0 }); // prettier-ignore
    const segments = readdirSync(archive).reduce((sum, sensor) => sum + readdirSync(join(archive, sensor)).length, 0); // prettier-ignore
    expect(books['tail']).toMatchObject({ segments, segmentsGone: 0, segmentsDamaged: 0 });
    expect(books['sensorsNow'] as unknown).toBe(SENSORS);
    const flowsOfAll = analysis.engines.reduce((sum, engine) => sum + engine.flows.counters.flows, 0);
    expect(books['flows']?.['flows']).toBe(flowsOfAll);
    // The flows of the end are still open, one at each sensor.
    const told = readdirSync(directory)
      .filter((name) => name.startsWith('kill-conn_'))
      .flatMap((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'))
      .map((line) => (JSON.parse(line) as { uid: string }).uid);
    // Models have not seen those yet.
    const isScored = ({ rule, flows }: Alert): boolean => !rule.startsWith('model-') || flows.some((uid) => told.includes(uid)); // prettier-ignore
    const expected = analysis.alerts
      .filter(isScored)
      .map(({ id }) => id)
      .sort();
    expect(expected.length).toBeGreaterThan(3);
    expect([...alertsIn(alerts).keys()].sort()).toEqual(expected);
    const bySeverity = Object.values(books['alerts'] as Record<string, number>);
    expect(bySeverity.reduce((sum, count) => sum + count, 0)).toBe(expected.length);
    expect(told).toHaveLength(uids.length - SENSORS);
    expect(new Set(told).size).toBe(told.length);
    expect(told.every((uid) => uids.includes(uid))).toBe(true);
    // A stop with a last checkpoint: nothing is read again.
    const again = start(text);
    expect((await again.line('Going on from the last checkpoint.'))['packets']).toBe(packets.length);
    expect(await again.stop()).toBe(0);
    expect(booksOf(again)['engine']).toEqual({ packets: packets.length, bytes, packetsFailed: 0 });
  });
});
