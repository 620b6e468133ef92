import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { createLog } from '@tapline/shared/observe/log.ts';
import { alertFields } from './publish-fields.ts';
import { openPublishing } from './publishing.ts';
import { idOf, removeTemporaryDirectories, sampleAlert, temporaryDirectory } from './publish-test-support.ts';

afterEach(removeTemporaryDirectories);

const LOG = createLog('test', 'error', false);
LOG.level = 'silent';

describe('the publishing side', () => {
  it('opens what its section names, beats, watches, and closes', async () => {
    const directory = temporaryDirectory();
    const keys = alertFields.parse({
      store: { path: join(directory, 'alerts.db') },
      eve: { path: join(directory, 'eve.json') },
      zeek: { path: join(directory, 'notice.log'), severity: 'critical' },
      bus: { listen: '127.0.0.1:0', replay: '127.0.0.1:0' },
      heartbeat: { interval: '1s', expect: ['plant-a', 'plant-b'] },
    });
    const missed: string[] = [];
    const publishing = await openPublishing(keys, {
      log: LOG,
      agent: 'soc-1',
      version: '0.1.0',
      packets: () => 7,
      missed: (name) => missed.push(name),
    });
    publishing.collect(sampleAlert(1));
    publishing.commit(() => {
      publishing.store.setState('checkpoint', Buffer.from('here'));
    });
    for (let i = 0; i < 8; i++) {
      publishing.heard('plant-a');
      await new Promise((resolve) => setTimeout(resolve, 520));
    }
    publishing.reopen();
    expect(missed).toEqual(['plant-b']);
    expect(publishing.books()).toMatchObject({ silentNow: 1, bus: { refused: 0 }, outputs: { eve: { published: 1 } } }); // prettier-ignore
    await publishing.close(1000);
    const lines = readFileSync(join(directory, 'eve.json'), 'utf8').split('\n').slice(0, -1);
    const types = lines.map((line) => (JSON.parse(line) as { event_type: string }).event_type);
    expect(types.filter((type) => type === 'alert')).toHaveLength(1);
    expect(types.filter((type) => type === 'stats').length).toBeGreaterThanOrEqual(3);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ stats: { decoder: { pkts: 7 }, tapline: { last_sequence: 1 } } }); // prettier-ignore
  });

  it('`told` resolves when the store has the alerts, and is rejected when the end comes first', async () => {
    const keys = alertFields.parse({ store: { path: join(temporaryDirectory(), 'alerts.db') } });
    const stop = new AbortController();
    const publishing = await openPublishing(keys, { log: LOG, agent: 'a', version: '1', stop: stop.signal, packets: () => 0 }); // prettier-ignore
    const full = new OperatingError('ARCHIVE_FAILED', 'the disk is full');
    const put = vi.spyOn(publishing.store, 'put').mockImplementationOnce(() => {
      throw full;
    });
    await publishing.told([sampleAlert(1)]);
    expect(put).toHaveBeenCalledTimes(2);
    expect(publishing.store.get(idOf(1))).not.toBeNull();
    put.mockImplementation(() => {
      throw full;
    });
    const late = publishing.told([sampleAlert(2)]);
    const outcome = expect(late).rejects.toThrow(/refused until the end/);
    stop.abort();
    await outcome;
    await publishing.close(100);
  });

  it('kill -9 at any moment: every stored telling is in the EVE file after the next start', async () => {
    const directory = temporaryDirectory();
    const script = new URL('./publisher-crash-child.ts', import.meta.url).pathname;
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [script, directory, String(1 + round * 100_000)], { stdio: ['ignore', 'pipe', 'inherit'] }); // prettier-ignore
      const ended = once(child, 'close');
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 40 + 31 * round));
      child.kill('SIGKILL');
      await ended;
    }
    const keys = alertFields.parse({
      store: { path: join(directory, 'alerts.db') },
      eve: { path: join(directory, 'eve.json'), stats: false },
    });
    const publishing = await openPublishing(keys, { log: LOG, agent: 'a', version: '1', packets: () => 0 });
    const { last } = publishing.store.range();
    await publishing.close(3000);
    const seen = new Set<number>();
    let torn = 0;
    for (const line of readFileSync(join(directory, 'eve.json'), 'utf8').split('\n').slice(0, -1))
      try {
        seen.add((JSON.parse(line) as { tapline: { sequence: number } }).tapline.sequence);
      } catch {
        torn++;
      }
    expect(last).toBeGreaterThan(0);
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    expect(torn).toBeLessThanOrEqual(3);
  });
});
