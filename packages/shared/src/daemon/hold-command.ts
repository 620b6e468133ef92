/** `hold`: keeps evidence from being deleted, whatever the limits say. A running daemon sees a change with its next round of retention. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type { z } from 'zod';
import { OperatingError } from '../base/errors.ts';
import { readHolds, writeHolds, type Hold } from '../catalog/hold-list.ts';
import type { KeepConfig } from '../config/keep-fields.ts';
import { loadConfig } from '../config/load.ts';
import { parseAddress } from '../packet/ip-address.ts';
import { parseTime } from './time-option.ts';

interface AddFlags {
  readonly config: string;
  readonly sensor?: string;
  readonly host?: string;
  readonly from?: string;
  readonly to?: string;
  readonly reason: string;
}

/** The `hold` subcommand. */
export function holdCommand(program: {
  readonly name: string;
  readonly schema: z.ZodType<KeepConfig>;
  readonly defaultConfig: string;
}): Command {
  const { name, schema, defaultConfig } = program;
  const command = new Command('hold')
    .summary('keep evidence from being deleted')
    .description(
      'Keeps what belongs to an incident from being deleted by retention: of a host, a sensor, a time, or all of these.',
    )
    .addHelpText(
      'after',
      `\nExamples:\n  ${name} hold add --host 10.0.1.7 --from 2026-01-05 --to 2026-01-07 --reason "incident 42"\n  ${name} hold list\n  ${name} hold remove 5f0c21ab\n`,
    );
  command
    .command('add')
    .description('add a hold')
    .option('-c, --config <file>', 'where the archive is', defaultConfig)
    .option('--sensor <name>', 'only this sensor')
    .option('--host <address>', 'only segments in which this address occurs')
    .option('--from <time>', 'from this time on: 2026-01-05, -3d; by default since ever')
    .option('--to <time>', 'before this time; by default for ever')
    .requiredOption('--reason <text>', 'why; shown by `hold list`')
    .action((flags: AddFlags) => {
      const root = rootOf(schema, flags.config);
      const hold = holdOf(flags);
      writeHolds(root, [...readHolds(root), hold]);
      process.stdout.write(`${hold.id}  is held from now on\n`);
    });
  command
    .command('list')
    .description('show the holds')
    .option('-c, --config <file>', 'where the archive is', defaultConfig)
    .option('--json', 'print them as JSON', false)
    .action((flags: { readonly config: string; readonly json: boolean }) => {
      const holds = readHolds(rootOf(schema, flags.config));
      if (flags.json) process.stdout.write(`${JSON.stringify(holds, null, 2)}\n`);
      else if (holds.length === 0) process.stdout.write('no holds\n');
      for (const hold of flags.json ? [] : holds)
        process.stdout.write(
          `${hold.id}  ${hold.host ?? 'all hosts'} at ${hold.sensor ?? 'all sensors'}, ${hold.from ?? 'since ever'} to ${hold.to ?? 'for ever'}: ${hold.reason}\n`,
        );
    });
  command
    .command('remove')
    .description('take a hold away')
    .argument('<id>', 'as `hold list` shows it')
    .option('-c, --config <file>', 'where the archive is', defaultConfig)
    .action((id: string, flags: { readonly config: string }) => {
      const root = rootOf(schema, flags.config);
      const holds = readHolds(root);
      if (!holds.some((hold) => hold.id === id))
        throw new OperatingError(
          'CONFIG_INVALID',
          `there is no hold ${id}: \`${name} hold list\` shows them`,
          { id },
        );
      writeHolds(root, holds.filter((hold) => hold.id !== id)); // prettier-ignore
      process.stdout.write(`${id}  is not held any more\n`);
    });
  return command;
}

function rootOf(schema: z.ZodType<KeepConfig>, file: string): string {
  const root = loadConfig(schema, file).value.output_directories.pcap_raw_output_path;
  if (!existsSync(root))
    throw new OperatingError('ARCHIVE_FAILED', `there is no archive ${root} yet`, { root });
  return root;
}

function holdOf({ sensor, host, from, to, reason }: AddFlags): Hold {
  if (host !== undefined && parseAddress(host) === null)
    throw new OperatingError('CONFIG_INVALID', `${host} is not an IP address: as in 10.0.1.7 or fe80::1`, {
      host,
    });
  const time = (text: string): string => new Date(Number(BigInt(parseTime(text)) / 1_000_000n)).toISOString();
  return {
    id: randomBytes(4).toString('hex'),
    reason,
    ...(sensor === undefined ? {} : { sensor }),
    ...(host === undefined ? {} : { host }),
    ...(from === undefined ? {} : { from: time(from) }),
    ...(to === undefined ? {} : { to: time(to) }),
    addedAt: new Date().toISOString(),
  };
}
