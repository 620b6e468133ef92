/**
 * Tail, merge and engine taken down and taken up again in the middle of a backlog, as often as there are pieces: what came of it is what an
 * uninterrupted analysis finds. Without processes, so that every restart point is hit; the daemon is killed in `tests/end-to-end/analyzer.test.ts`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { split } from '@tapline/forwarder/src/split-command.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Alert } from '../alert/alert-desk.ts';
import { analyzeFiles } from '../analysis.ts';
import { inputFiles } from '../merge/input-files.ts';
import { rulesSchema } from '../rule/rule-file.ts';
import { SensorStation, type StationState } from '../sensor-station.ts';
import { ArchiveTail, type TailState } from '../tail/archive-tail.ts';
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-resume-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const PIECE_BYTES = 1500;
const rules = rulesSchema.parse({});
const none = (): void => undefined;
const silent = { segmentDamaged: none, segmentCut: none, tooManySegments: none, unreadable: none };

interface Found {
  packets: number;
  flows: string[];
  alerts: string[];
}

function found(packets: number, flows: readonly string[], alerts: Iterable<Alert>): Found {
  return {
    packets,
    flows: flows.toSorted(),
    alerts: [...alerts].map(({ id, rule, count, evidence, slices }) => JSON.stringify({ id, rule, count, evidence, slices })).sort(), // prettier-ignore
  };
}

/** How many pieces the archive is read in. */
async function piecesThere(): Promise<number> {
  let pieces = 0;
  for await (const {} of new ArchiveTail(directory, silent, { pieceBytes: PIECE_BYTES }).poll()) pieces++;
  return pieces;
}

/** The row over the archive, ended and begun anew after so many pieces each time. */
async function resuming(pieces: number): Promise<Found & { restarts: number }> {
  const alerts = new Map<string, Alert>();
  const flows: string[] = [];
  let bytes: Buffer | null = null;
  for (let restarts = 0; ; restarts++) {
    const tail = new ArchiveTail(directory, silent, { pieceBytes: PIECE_BYTES });
    const station = new SensorStation(
      { sensor: '.', rules, fileName: (file) => tail.names.nameOf(file) },
      { windowMs: 2000 },
      {
        alert: (alert) => alerts.set(alert.id, structuredClone(alert)),
        flowEnded: ({ uid }) => flows.push(uid),
      },
    );
    if (bytes !== null) {
      const checkpoint = decodeCheckpoint(bytes);
      if (checkpoint.kind === 'refused') throw new Error(checkpoint.reason);
      tail.restore(checkpoint.sections[0] as TailState);
      station.restore(checkpoint.sections[1] as StationState, 0);
    }
    let left = pieces;
    for await (const {
      segment,
      batch,
      file,
      number,
      offset,
      unreadSeconds,
      unreadNanoseconds,
    } of tail.poll()) {
      station.merge.add({ file, path: segment.path, ...batch, number, offset }, 0);
      station.merge.release(unreadSeconds, unreadNanoseconds);
      if (--left === 0) break;
    }
    if (left > 0) {
      station.finish();
      return { ...found(station.engine.counters.packets, flows, alerts.values()), restarts };
    }
    bytes = Buffer.concat(encodeCheckpoint(Buffer.alloc(32), [tail.snapshot(), station.snapshot()]).parts);
    await tail.close();
  }
}

describeWithCorpus('taken up again from checkpoints', () => {
  it.each([
    'attacks/scans',
    'attacks/bruteforce',
    'attacks/lateral',
    'attacks/mitm',
    'ot/modbus',
    'ot/dnp3',
    'ot/enip-cip',
    'ot/iec104',
    'ot/iec61850',
    'ot/opcua',
    'ot/bacnet',
    'ot/profinet',
  ])('%s give the packets, flows, alerts and places of one uninterrupted analysis', async (folder) => {
    const report = await split(
      corpusFiles(folder).map(({ path }) => path),
      {
        output: directory,
        filter: '',
        snaplen: 262_144,
        linkType: 'ethernet',
        precision: 'ns',
        rule: [],
        json: false,
      },
    );
    const flows: string[] = [];
    const analysis = await analyzeFiles({
      files: inputFiles([directory]),
      rules,
      flowEnded: ({ uid }) => flows.push(uid),
    });
    const expected = found(report.packetsStored, flows, analysis.alerts);
    const { restarts, ...resumed } = await resuming(Math.ceil((await piecesThere()) / 12));
    expect(restarts).toBeGreaterThan(5);
    expect(resumed).toEqual(expected);
  });
});
