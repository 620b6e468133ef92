/**
 * Where alerts go. What the row demands of an outlet: `told` resolves when the alerts are in safe hands, for then the packets they came from may be
 * forgotten; after a kill alerts may be told again, with the same ids.
 */
import { appendFileSync } from 'node:fs';
import { messageOf } from '@tapline/shared/base/errors.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import type { Alert } from './alert/alert-desk.ts';

export interface AlertOutlet {
  /** New alerts, and known ones as they have grown; copies, each the newest of its id. */
  told(alerts: readonly Alert[]): Promise<void>;
}

/** Lines of the log in one call; a flood of alerts must not be a flood of lines. The file has all of them. */
const LINES_MAX = 50;

/** Logs alerts, and appends them to a file as JSON lines where one is given. */
export class LogOutlet implements AlertOutlet {
  readonly #log: Log;
  readonly #file: string | undefined;

  constructor(log: Log, file: string | undefined) {
    this.#log = log;
    this.#file = file;
  }

  async told(alerts: readonly Alert[]): Promise<void> {
    for (const { id, rule, severity, sensor, source, destination, count, title } of alerts.slice(
      0,
      LINES_MAX,
    ))
      this.#log.info({ id, rule, severity, sensor, source, destination, count, title }, 'Alert.');
    if (alerts.length > LINES_MAX)
      this.#log.info({ alerts: alerts.length - LINES_MAX }, 'More alerts, not shown here.');
    if (this.#file === undefined) return;
    try {
      appendFileSync(this.#file, alerts.map((alert) => `${JSON.stringify(alert)}\n`).join(''), {
        mode: 0o640,
      });
    } catch (error) {
      this.#log.error({ file: this.#file, problem: messageOf(error), alerts: alerts.length }, 'Alerts could not be written to their file.'); // prettier-ignore
    }
  }
}

/** To all of them, one after the other. */
export function outletToAll(outlets: readonly AlertOutlet[]): AlertOutlet {
  return {
    told: async (alerts) => {
      for (const outlet of outlets) await outlet.told(alerts);
    },
  };
}
