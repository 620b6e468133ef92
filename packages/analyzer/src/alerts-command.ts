/** `tapline-analyzer alerts`: what is in the store, and with --follow what comes. Works beside a running analyzer and without one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { Command, Option } from 'commander';
import { SEVERITIES, severityRank, type Severity } from './alert/finding.ts';
import { recordText } from './publish/alert-record.ts';
import { AlertStore, type ListQuery, type StoredTelling } from './publish/alert-store.ts';
import { STORE_DEFAULT } from './publish/publish-fields.ts';
import { recordOf } from './publish/publisher.ts';
import { jsonLine } from './publish/stdout-sink.ts';

const FOLLOW_INTERVAL_MS = 500;
const PAGE = 1000;

interface AlertsOptions {
  readonly since?: string;
  readonly severity: Severity;
  readonly label?: NonNullable<ListQuery['label']>;
  readonly limit: string;
  readonly json: boolean;
  readonly follow: boolean;
  readonly store: string;
}

/** The `alerts` subcommand. */
export function alertsCommand(): Command {
  return new Command('alerts')
    .summary('what was found: the latest alerts, or those that come')
    .description(
      'Lists alerts as they were told last, the oldest first. With --follow every telling after those, until it is stopped.',
    ) // prettier-ignore
    .option('--since <sequence>', 'only what was told after this sequence')
    .addOption(new Option('--severity <severity>', 'at least this').choices([...SEVERITIES]).default('info'))
    .addOption(new Option('--label <label>', 'only with this label').choices(['true', 'false', 'none']))
    .option('--limit <count>', 'at most so many, the latest', '1000')
    .option('--json', 'one JSON object per line', false)
    .option('-f, --follow', 'go on with what comes', false)
    .option('--store <file>', 'the store of alerts', STORE_DEFAULT)
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-analyzer alerts --severity high\n  tapline-analyzer alerts --follow --json | jq -r .title\n  tapline-analyzer alerts --label none\n',
    )
    .action(async (options: AlertsOptions) => {
      const store = new AlertStore({ path: options.store, mustExist: true });
      try {
        await showAlerts(store, options);
      } finally {
        store.close();
      }
    });
}

async function showAlerts(store: AlertStore, options: AlertsOptions): Promise<void> {
  const { severity, label, follow } = options;
  const since = wholeNumber('since', options.since ?? '0');
  // Asked before the list: a telling that comes between the two is shown twice rather than not at all.
  let { last } = store.range();
  const limit = wholeNumber('limit', options.limit);
  for (const telling of store.list({ severity, since, limit, ...(label === undefined ? {} : { label }) }))
    show(telling, options);
  if (!follow) return;
  const stop = new AbortController();
  const onSignal = (): void => {
    stop.abort();
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  while (!stop.signal.aborted) {
    const page = store.since(last, PAGE);
    for (const telling of page) {
      last = telling.sequence;
      if (severityRank(telling.alert.severity) >= severityRank(severity) && hasLabel(telling, label))
        show(telling, options);
    }
    if (page.length < PAGE) await sleep(FOLLOW_INTERVAL_MS, undefined, { signal: stop.signal }).catch(() => undefined); // prettier-ignore
  }
}

function show(telling: StoredTelling, { json }: AlertsOptions): void {
  const record = recordOf(telling);
  process.stdout.write(json ? jsonLine(record) : `${recordText(record)}\n`);
}

function hasLabel(telling: StoredTelling, label: ListQuery['label']): boolean {
  return label === undefined || (telling.label ?? 'none') === label;
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number))
    throw new OperatingError('CONFIG_INVALID', `--${name} needs a whole number, not ${text}`, {});
  return number;
}
