/** A process that publishes to an EVE file as fast as it can, for tests that kill it. Arguments: the directory, the number of its first alert. */
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { createLog } from '@tapline/shared/observe/log.ts';
import { alertFields } from './publish-fields.ts';
import { openPublishing } from './publishing.ts';
import { sampleAlert } from './publish-test-support.ts';

const [, , directory = '', first = '1'] = process.argv;
const keys = alertFields.parse({
  store: { path: join(directory, 'alerts.db') },
  eve: { path: join(directory, 'eve.json'), stats: false },
});
const log = createLog('test', 'error');
const publishing = await openPublishing(keys, { log, agent: 'a', version: '1', packets: () => 0 });
process.stdout.write('publishing\n');
// Bounded, should nobody kill it.
for (let number = Number(first); number < Number(first) + 20_000; number++) {
  for (let copy = 0; copy < 20; copy++) publishing.collect(sampleAlert(number * 20 + copy));
  publishing.commit();
  // Sometimes the output gets its turn, sometimes the next transaction comes first.
  if (number % 3 !== 0) await turn();
}
