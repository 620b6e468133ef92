/**
 * `tapline-analyzer tune`: what analysts said about alerts (`label ID true|false`) moves the models' thresholds: up, until the false ones would have been silent, but never over
 * one that was true.
 */
import { Command } from 'commander';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { readModels, rewriteThreshold } from './model/model-file.ts';
import { tunedThreshold } from './model/tuned-threshold.ts';
import { AlertStore, type StoredLabel } from './publish/alert-store.ts';
import { STORE_DEFAULT } from './publish/publish-fields.ts';

/** The `tune` subcommand. */
export function tuneCommand(): Command {
  return new Command('tune')
    .summary("moves the models' thresholds by what analysts said about alerts")
    .description(
      'Reads labelled alerts and raises the threshold of each model until the false ones would have been silent, as far as no true one falls silent with them. ' +
        'A running analyzer takes the models up with its next reload.',
    )
    .option('--store <file>', 'the alerts', STORE_DEFAULT)
    .requiredOption('--models <directory>', 'the models: a copy of the shipped ones, or trained ones')
    .option('--dry-run', 'only say what would change', false)
    .addHelpText('after', '\nExample:\n  tapline-analyzer tune --models /etc/tapline/models\n')
    .action((options: { store: string; models: string; dryRun: boolean }) => {
      const store = new AlertStore({ path: options.store, mustExist: true });
      let labels: StoredLabel[];
      try {
        labels = store.labels();
      } finally {
        store.close();
      }
      const models = readModels(options.models, ['baseline']);
      if (models.length === 0)
        throw new OperatingError('CONFIG_INVALID', `no model in ${options.models}: copy the shipped ones there first`, {}); // prettier-ignore
      for (const { manifest } of models) {
        const mine = labels.filter(({ alert }) => alert.rule === `model-${manifest.name}`);
        const scored = mine.map(({ alert, label }) => ({ score: alert.score, isTrue: label === 'true' }));
        const threshold = tunedThreshold(manifest.threshold, scored);
        const isSame = threshold === manifest.threshold;
        process.stdout.write(`${manifest.name}: ${mine.length} labels, threshold ${manifest.threshold.toFixed(4)}${isSame ? ' stays' : ` → ${threshold.toFixed(4)}`}\n`); // prettier-ignore
        if (!isSame && !options.dryRun) rewriteThreshold(options.models, manifest.name, threshold);
      }
    });
}
