/** The rule the acknowledgements rest on, where it is hardest to keep: accepted packets that the archive had to drop. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { singleArchive } from '@tapline/shared/archive/archive-set.ts';
import { systemFiles, type Files } from '@tapline/shared/system/files.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { batchOf } from '../../../../tests/support/captured.ts';
import { ArchiveStore } from './sensor-store.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-store-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const MARKS = [{ epoch: '0123456789abcdef', sequence: 1 }];
/** Far too little for what the test writes while the disk refuses. */
const BUFFER_BYTES = 16 * 1024;

function open(files: Files): Promise<ArchiveStore> {
  return ArchiveStore.open(
    { directory },
    {
      files,
      events: {},
      createArchives: (events) =>
        singleArchive(
          { directory, linkType: 'ethernet', precision: 'ns', rules: [], bufferBytesMax: BUFFER_BYTES },
          { files, events },
        ),
    },
  );
}

const frames = (count: number): Buffer[] => Array.from({ length: count }, () => Buffer.alloc(1000, 0x02));

it('packets that were dropped are never acknowledged, also when the disk is well again; a restart goes back to before them', async () => {
  let isFull = false;
  const files: Files = {
    ...systemFiles,
    write: (...words) => {
      if (isFull) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      return systemFiles.write(...words);
    },
  };
  const store = await open(files);
  store.write(batchOf(frames(3)));
  await store.commit(MARKS);
  isFull = true;
  for (let i = 0; i < 20; i++) store.write(batchOf(frames(10)));
  expect(store.archives.packetsRefused).toBeGreaterThan(0);
  await expect(store.commit([{ epoch: '0123456789abcdef', sequence: 2 }])).rejects.toMatchObject({
    code: 'ARCHIVE_FAILED',
  });
  isFull = false;
  await expect(store.commit([{ epoch: '0123456789abcdef', sequence: 2 }])).rejects.toThrow(/sent again/);
  await store.close();

  const again = await open(systemFiles);
  expect(again.marks).toEqual(MARKS);
  again.write(batchOf(frames(3)));
  await again.commit([{ epoch: '0123456789abcdef', sequence: 2 }]);
  expect(again.archives.members[0]?.archive.counters.packetsStored).toBe(3);
  await again.close();
});
