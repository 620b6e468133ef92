/**
 * Loaded into a collector before it starts: a clock that jumps and a disk that is slow, as a file says at each moment.
 *
 *   TAPLINE_CHAOS_FILE    {"clockMs": added to the wall clock, "syncMs": added to each sync}
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const file = process.env['TAPLINE_CHAOS_FILE'] ?? '';
let now = { clockMs: 0, syncMs: 0 };

function look(): void {
  try {
    now = JSON.parse(fs.readFileSync(file, 'utf8')) as typeof now;
  } catch {
    // Being written: the next look finds it.
  }
}

look();
setInterval(look, 50).unref();

const wallMs = Date.now.bind(Date);
Date.now = () => wallMs() + now.clockMs;

const open = fs.promises.open.bind(fs.promises);
fs.promises.open = async (...words: Parameters<typeof open>) => {
  const handle = await open(...words);
  for (const name of ['sync', 'datasync'] as const) {
    const real = handle[name].bind(handle);
    handle[name] = async () => {
      if (now.syncMs > 0) await sleep(now.syncMs);
      await real();
    };
  }
  return handle;
};
syncBuiltinESMExports();
