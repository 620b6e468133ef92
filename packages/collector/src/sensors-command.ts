/** `tapline-collector sensors`: the fleet at a glance, and one sensor with its gaps. Reads what the collector wrote. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { loadConfig } from '@tapline/shared/config/load.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { Command } from 'commander';
import { collectorSchema } from './config.ts';
import { FLEET_INTERVAL_MS, readFleet, type Fleet } from './fleet/fleet-status.ts';
import { lostPackets, type SensorStatus } from './fleet/sensor-status.ts';
import { GAP_LIST_NAME, type GapEntry } from './session/gap-list.ts';

/** Two writes missed, and some patience. */
const STALE_MS = 3 * FLEET_INTERVAL_MS;
const GAPS_SHOWN = 20;
const MINUTE_MS = 60_000;

interface Options {
  readonly config: string;
  readonly json: boolean;
  readonly watch: boolean;
}

/** The `sensors` subcommand. */
export function sensorsCommand(): Command {
  return new Command('sensors')
    .summary('the fleet: last seen, lag, loss, rate, gaps')
    .description(
      'Shows every sensor this collector has met. With a name: that sensor in full, and its latest gaps. Works beside a running collector and without one.',
    )
    .argument('[sensor]', 'one sensor, in full')
    .option('-c, --config <file>', "the collector's configuration", '/etc/tapline/collector.yaml')
    .option('--json', 'print everything as JSON', false)
    .option('-w, --watch', 'again every five seconds', false)
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-collector sensors\n  tapline-collector sensors plant-a-cell-3\n  tapline-collector sensors --json | jq ".sensors[] | select(.lagMs > 60000) | .sensor"\n',
    )
    .action(async (sensor: string | undefined, options: Options) => {
      const { value } = loadConfig(collectorSchema, options.config);
      const archive = value.output_directories.pcap_raw_output_path;
      do {
        const text = show(archive, sensor, options.json);
        process.stdout.write(options.watch && process.stdout.isTTY ? `\x1b[H\x1b[2J${text}` : text);
        if (options.watch) await sleep(FLEET_INTERVAL_MS);
      } while (options.watch);
    });
}

function show(archive: string, name: string | undefined, json: boolean): string {
  const fleet = readFleet(systemFiles, archive);
  if (fleet === null)
    throw new OperatingError('ARCHIVE_FAILED', `no collector has written to ${archive} yet`, { archive });
  const nowMs = Date.now();
  const isRunning = fleet.running && nowMs - fleet.writtenAtMs < STALE_MS;
  if (name === undefined) {
    if (json) return `${JSON.stringify({ ...fleet, running: isRunning }, null, 2)}\n`;
    return table(fleet, nowMs) + footer(fleet, isRunning);
  }
  const status = fleet.sensors.find(({ sensor }) => sensor === name);
  if (status === undefined)
    throw new OperatingError('ARCHIVE_FAILED', `no sensor ${name} was ever here`, { archive, sensor: name });
  const gaps = gapsOf(join(archive, name, GAP_LIST_NAME));
  if (json) return `${JSON.stringify({ ...status, running: isRunning, gapList: gaps }, null, 2)}\n`;
  return details(status) + gapTable(gaps) + footer(fleet, isRunning);
}

const COLUMNS = ['sensor', 'state', 'last seen', 'lag', 'rate', 'packets', 'lost', 'gaps', 'waiting', 'clock', 'software']; // prettier-ignore
const TEXT_COLUMNS = new Set([0, 1, 10]);

function table({ sensors }: Fleet, nowMs: number): string {
  const rows = sensors.map((status) => [
    status.sensor,
    status.connected ? 'connected' : 'away',
    `${duration(nowMs - status.lastHeardAtMs)} ago`,
    status.lagMs === null ? '–' : duration(status.lagMs),
    `${quantity(status.bitsPerSecond)}bit/s`,
    status.packets.toLocaleString('en-US'),
    lostPackets(status).toLocaleString('en-US'),
    String(status.gaps),
    waiting(status),
    status.clockOffsetMs === null ? '–' : `${status.clockOffsetMs >= 0 ? '+' : '-'}${duration(Math.abs(status.clockOffsetMs))}`, // prettier-ignore
    status.software,
  ]);
  return aligned([COLUMNS, ...rows], TEXT_COLUMNS);
}

function details(status: SensorStatus): string {
  const shown = Object.entries(status).map(([key, value]) => {
    const isTime = key.endsWith('AtMs') && typeof value === 'number' && value > 0;
    return [key, isTime ? new Date(value).toISOString() : String(value ?? '–')];
  });
  return aligned(shown, new Set([0, 1]));
}

function gapTable(gaps: readonly GapEntry[]): string {
  if (gaps.length === 0) return '\nno gaps\n';
  const time = (ns: string | null): string =>
    ns === null ? '–' : new Date(Number(BigInt(ns) / 1_000_000n)).toISOString();
  const rows = gaps
    .slice(-GAPS_SHOWN)
    .map(({ fromNs, toNs, packets, bytes, reason }) => [
      time(fromNs),
      time(toNs),
      packets === null ? 'unknown' : packets.toLocaleString('en-US'),
      bytes === null ? 'unknown' : bytes.toLocaleString('en-US'),
      reason,
    ]);
  const title = gaps.length > GAPS_SHOWN ? `\nthe latest ${GAPS_SHOWN} of ${gaps.length} gaps\n` : '\n';
  return (
    title + aligned([['from (UTC)', 'to (UTC)', 'packets', 'bytes', 'reason'], ...rows], new Set([0, 1, 4]))
  );
}

function footer(fleet: Fleet, isRunning: boolean): string {
  const connected = isRunning ? fleet.sensors.filter((sensor) => sensor.connected).length : 0;
  const at = new Date(fleet.writtenAtMs).toISOString();
  const state = isRunning
    ? `collector running, ${connected} connected`
    : `the collector is not running; as of ${at}`;
  return `\n${fleet.sensors.length} sensors, ${state}\n`;
}

/** One object per line; a torn last line is left out. */
function gapsOf(path: string): GapEntry[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as GapEntry);
}

function waiting({ queuedBytes, spooledBytes, spoolBytesMax }: SensorStatus): string {
  if (queuedBytes === null) return '–';
  const share =
    spoolBytesMax === null || spoolBytesMax === 0
      ? ''
      : ` (spool ${Math.round(((spooledBytes ?? 0) / spoolBytesMax) * 100)} %)`;
  return `${quantity(queuedBytes)}B${share}`;
}

function aligned(rows: readonly (readonly string[])[], textColumns: ReadonlySet<number>): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return textColumns.has(column) ? cell.padEnd(width) : cell.padStart(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
    .concat('\n');
}

/** `950`, `1.2 k`, `3.4 M`. */
function quantity(value: number): string {
  const unit = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ].find(([size]) => value >= (size as number)) as [number, string] | undefined;
  return unit === undefined ? `${Math.round(value)} ` : `${(value / unit[0]).toFixed(1)} ${unit[1]}`;
}

/** `35 ms`, `12 s`, `5 min`, `3 h`, `9 d`. */
function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 2 * MINUTE_MS) return `${Math.round(milliseconds / 1000)} s`;
  if (milliseconds < 120 * MINUTE_MS) return `${Math.round(milliseconds / MINUTE_MS)} min`;
  if (milliseconds < 48 * 60 * MINUTE_MS) return `${Math.round(milliseconds / (60 * MINUTE_MS))} h`;
  return `${Math.round(milliseconds / (24 * 60 * MINUTE_MS))} d`;
}
