/** `tapline-analyzer summary DIR`: one pass over an archive, and what it holds per sensor, source and protocol. */
import { existsSync } from 'node:fs';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { EXIT_DAMAGED_INPUT } from '@tapline/shared/daemon/exit-code.ts';
import { Command } from 'commander';
import { TrafficTable, type TrafficRow } from './count/traffic-table.ts';
import { ArchiveTail } from './tail/archive-tail.ts';
import type { Segment } from './tail/followed-segment.ts';

const ROWS_SHOWN = 30;

/** The `summary` subcommand. Exit code 7 when a segment is damaged; what stands before the damage is counted. */
export function summaryCommand(): Command {
  return new Command('summary')
    .summary('what an archive holds, per sensor, source and protocol')
    .description(
      'Reads an archive once and prints what it holds, per sensor and source, and per protocol (by well-known port).',
    )
    .argument('<directory>', "a collector's or a forwarder's archive")
    .option('--json', 'print all rows as JSON', false)
    .addHelpText('after', '\nExample:\n  tapline-analyzer summary /var/lib/tapline-collector/pcap\n')
    .action(async (directory: string, options: { json: boolean }) => {
      if (!existsSync(directory))
        throw new OperatingError('CAPTURE_FAILED', `no such directory: ${directory}`, { directory });
      const table = new TrafficTable();
      const damaged: string[] = [];
      const events = {
        segmentDamaged: ({ path }: Segment, reason: string) => damaged.push(`${path}: ${reason}`),
        segmentCut: () => undefined,
        tooManySegments: (limit: number) => damaged.push(`only the first ${limit} segments were read`),
        unreadable: (path: string, error: unknown) => damaged.push(`${path}: ${String(error)}`),
      };
      const tail = new ArchiveTail(directory, events, { settledMs: 0 });
      for await (const { segment, batch } of tail.poll()) {
        table.add(segment, batch);
        showProgress(table, tail);
      }
      endProgress();
      const report = {
        directory,
        segments: tail.counters.segments,
        packets: table.packets,
        bytes: table.bytes,
        damaged,
      };
      if (options.json)
        process.stdout.write(
          `${JSON.stringify({ ...report, sources: table.sources(), protocols: table.protocols() }, null, 2)}\n`,
        );
      else
        process.stdout.write(
          render('source', table.sources()) +
            render('protocol', table.protocols()) +
            `${table.packets} packets in ${report.segments} segments\n`,
        );
      for (const line of options.json ? [] : damaged) console.error(`damaged: ${line}`);
      if (damaged.length > 0) process.exitCode = EXIT_DAMAGED_INPUT;
    });
}

function render(title: string, rows: readonly TrafficRow[]): string {
  const shown = rows.slice(0, ROWS_SHOWN);
  const sensorWidth = Math.max(6, ...shown.map((row) => row.sensor.length));
  const nameWidth = Math.max(title.length, ...shown.map((row) => row.name.length));
  const line = (
    sensor: string,
    name: string,
    packets: string,
    bytes: string,
    first: string,
    last: string,
  ): string =>
    `${sensor.padEnd(sensorWidth)}  ${name.padEnd(nameWidth)}  ${packets.padStart(11)}  ${bytes.padStart(14)}  ${first.padEnd(23)}  ${last}\n`;
  const number = (value: number): string => value.toLocaleString('en-US');
  const time = (milliseconds: number): string => new Date(milliseconds).toISOString().slice(0, 23);
  return [
    line('sensor', title, 'packets', 'bytes', 'first (UTC)', 'last (UTC)'),
    ...shown.map((row) =>
      line(
        row.sensor,
        row.name,
        number(row.packets),
        number(row.bytes),
        time(row.firstAtMs),
        time(row.lastAtMs),
      ),
    ),
    rows.length > ROWS_SHOWN ? `… and ${rows.length - ROWS_SHOWN} more (--json shows all)\n\n` : '\n',
  ].join('');
}

/** How many segments there are is not known before the end, so the progress is a count. */
function showProgress(table: TrafficTable, tail: ArchiveTail): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r${table.packets} packets, ${tail.counters.segments} segments `);
}

function endProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}
