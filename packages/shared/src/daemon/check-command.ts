/** `tapline-… check FILE`: reads a configuration as the daemon would, and says every mistake at once or "ok". */
import { Command } from 'commander';
import { stringify } from 'yaml';
import type { z } from 'zod';
import { OperatingError } from '../base/errors.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import { problemsOf } from '../config/problem.ts';
import { EXIT_CONFIG } from './exit-code.ts';

/** The `check` subcommand for a schema. Exit code 0 when the file is right, 2 when it is not. */
export function checkCommand<T>(schema: z.ZodType<T>, verify?: (config: LoadedConfig<T>) => void): Command {
  return new Command('check')
    .summary('check a configuration file')
    .description(
      'Reads a configuration as the daemon would and names every mistake at once, with file, line and remedy.',
    )
    .argument('<file>', 'the configuration')
    .option('--json', 'print the resolved configuration, or the mistakes, as JSON', false)
    .addHelpText(
      'after',
      '\nExample:\n  check /etc/tapline/forwarder.yaml && systemctl reload tapline-forwarder\n',
    )
    .exitOverride()
    .action((file: string, options: { json: boolean }) => {
      try {
        const loaded = loadConfig(schema, file);
        verify?.(loaded);
        const { value } = loaded;
        process.stdout.write(
          options.json
            ? `${JSON.stringify({ file, ok: true, config: value }, null, 2)}\n`
            : summaryOf(file, value),
        );
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        const problems = problemsOf(error);
        if (options.json)
          process.stdout.write(
            `${JSON.stringify({ file, ok: false, problems, message: error.message }, null, 2)}\n`,
          );
        else process.stderr.write(`${error.message}\n`);
        process.exitCode = EXIT_CONFIG;
      }
    });
}

/** "ok", and what the daemon would run with, defaults included. It is YAML again, but for the units. */
function summaryOf(file: string, value: unknown): string {
  return `${file}: ok\n\n# With every default, sizes in bytes and times in milliseconds:\n${stringify(value)}`;
}
