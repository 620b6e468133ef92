/**
 * A process that stores tellings as fast as it can, for tests that kill it. Arguments: the file, the number of its first alert. Each line it prints is a
 * batch that `put` acknowledged: `sequence:id:count …`. Each alert is told three times, and each telling is offered twice.
 */
import { writeSync } from 'node:fs';
import { AlertStore } from './alert-store.ts';
import { sampleAlert } from './publish-test-support.ts';

const [, , path = '', first = '1'] = process.argv;
const store = new AlertStore({ path });
// Bounded, should nobody kill it.
for (let number = Number(first); number < Number(first) + 20_000; number++) {
  for (const count of [1, 2, 4]) {
    const batch = [
      sampleAlert(number, { count }),
      sampleAlert(number + 1_000_000, { count }),
      sampleAlert(number, { count }),
    ];
    const rows = store.transaction(() => {
      const stored = store.put(batch);
      store.setState('checkpoint', Buffer.from(`${number}:${count}`));
      return stored;
    });
    writeSync(1, `${rows.map((row) => `${row.sequence}:${row.alert.id}:${row.alert.count}`).join(' ')}\n`);
  }
}
