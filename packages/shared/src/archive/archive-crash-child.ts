/** A process that writes to an archive as fast as it can, for tests that kill it. Argument: the directory. */
import { systemFiles } from '../system/files.ts';
import { Archive } from './archive.ts';
import { NEW_YEAR, batchOf, ethernet, ipv4Packet } from './archive-test-support.ts';

const [, , directory = ''] = process.argv;
const archive = new Archive(
  { directory, linkType: 'ethernet', precision: 'ns', rules: [], flushIntervalMs: 5 },
  { files: systemFiles, events: {} },
);
archive.open();
const batch = batchOf(
  Array.from({ length: 500 }, (_, i) => ({
    seconds: NEW_YEAR + i,
    frame: ethernet(0x0800, ipv4Packet(`10.0.0.${i % 5}`, '10.0.0.9', Buffer.alloc(i * 3))),
  })),
);
archive.write(batch);
archive.flush();
process.stdout.write('writing\n');
// Bounded, should nobody kill it: 8 s. Every turn gives the flush timer a chance.
for (let round = 0; round < 4000; round++) {
  archive.write(batch);
  await new Promise((resolve) => setTimeout(resolve, 2));
}
