/** `tapline-analyzer label ID true|false`: what a person says of an alert. Models learn from it. Works beside a running analyzer and without one. */
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { Argument, Command } from 'commander';
import type { Label } from './publish/alert-record.ts';
import { AlertStore } from './publish/alert-store.ts';
import { STORE_DEFAULT } from './publish/publish-fields.ts';

interface LabelOptions {
  readonly note?: string;
  readonly store: string;
}

/** The `label` subcommand. */
export function labelCommand(): Command {
  return new Command('label')
    .summary('say whether an alert was one')
    .description(
      'Notes that an alert was one (true) or a false alarm (false), and why. A second label replaces the first.',
    )
    .argument('<id>', 'of the alert: 16 hexadecimal digits')
    .addArgument(new Argument('<label>', 'true: it was one; false: a false alarm').choices(['true', 'false']))
    .option('--note <text>', 'why', '')
    .option('--store <file>', 'the store of alerts', STORE_DEFAULT)
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-analyzer label 0f3a9c51d2e84b76 false --note "the vendor\'s weekly inventory"\n',
    )
    .action((id: string, label: Label, options: LabelOptions) => {
      const store = new AlertStore({ path: options.store, mustExist: true });
      try {
        if (!store.label(id, label, options.note))
          throw new OperatingError('ARCHIVE_FAILED', `there is no alert ${id} in ${options.store}`, { id });
      } finally {
        store.close();
      }
      console.log(`${id}: ${label === 'true' ? 'an alert' : 'a false alarm'}`);
    });
}
