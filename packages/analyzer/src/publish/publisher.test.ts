import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { samplesOf } from '@tapline/shared/observe/books.ts';
import type { AlertRecord } from './alert-record.ts';
import { AlertStore } from './alert-store.ts';
import { Publisher, type PublisherEvents } from './publisher.ts';
import { idOf, removeTemporaryDirectories, sampleAlert, temporaryDirectory } from './publish-test-support.ts';
import type { Sink } from './sink.ts';

afterEach(removeTemporaryDirectories);

/** An output that keeps what it gets, and says it has delivered as much as the test wants. */
class KeepingSink implements Sink {
  readonly name: string;
  readonly counters = { published: 0, dropped: 0, failed: 0 };
  readonly got: AlertRecord[] = [];
  delivered = Infinity;

  constructor(name: string) {
    this.name = name;
  }

  get queued(): number {
    return this.got.filter(({ sequence }) => sequence > this.delivered).length;
  }

  get oldestPending(): number | null {
    return this.got.find(({ sequence }) => sequence > this.delivered)?.sequence ?? null;
  }

  get sequences(): number[] {
    return this.got.map(({ sequence }) => sequence);
  }

  publish(records: readonly AlertRecord[]): void {
    this.got.push(...records);
  }

  async close(): Promise<void> {
    return undefined;
  }
}

function quiet(): PublisherEvents & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    storeFailed: (problem, pending) => log.push(`failed ${problem.code} ${pending}`),
    storeRecovered: () => log.push('recovered'),
    resumed: ({ sink, tellings, skipped }) => log.push(`resumed ${sink} ${tellings} ${skipped}`),
  };
}

describe('the publisher', () => {
  it('stores, then gives every output what it wants to hear, as it was when it was told', () => {
    const store = new AlertStore({ path: join(temporaryDirectory(), 'alerts.db') });
    const all = new KeepingSink('all');
    const high = new KeepingSink('high');
    const publisher = new Publisher(store, [{ sink: all, severity: 'info' }, { sink: high, severity: 'high' }], quiet()); // prettier-ignore
    publisher.resume();
    const alert = sampleAlert(1, { severity: 'low' });
    publisher.collect(alert);
    // The desk lends its alerts: they go on changing.
    alert.count = 99;
    publisher.collect(sampleAlert(2));
    expect(all.got).toEqual([]);
    expect(publisher.commit()).toBe(true);
    publisher.collect(sampleAlert(2));
    publisher.commit();
    expect(all.got.map(({ sequence, id, count }) => [sequence, id, count])).toEqual([[1, idOf(1), 1], [2, idOf(2), 1]]); // prettier-ignore
    expect(high.sequences).toEqual([2]);
    expect(publisher.books()).toMatchObject({
      told: 2,
      stored: 2,
      known: 1,
      pendingNow: 0,
      outputs: { all: { queuedNow: 0 } },
    });
    expect(samplesOf('tapline_analyzer', { publish: publisher.books() }).map(({ name }) => name)).toContain(
      'tapline_analyzer_publish_outputs_all_dropped_total',
    );
    store.close();
  });

  it('after a restart each output gets what it had not delivered, and a new one only what comes', async () => {
    const path = join(temporaryDirectory(), 'alerts.db');
    const first = new AlertStore({ path });
    const slow = new KeepingSink('slow');
    const fast = new KeepingSink('fast');
    slow.delivered = 3;
    const before = new Publisher(first, [{ sink: slow, severity: 'info' }, { sink: fast, severity: 'info' }], quiet()); // prettier-ignore
    before.resume();
    for (let number = 1; number <= 8; number++) before.collect(sampleAlert(number));
    before.commit();
    await before.close(10);
    first.close();

    const second = new AlertStore({ path });
    const sinks = ['slow', 'fast', 'new'].map((name) => new KeepingSink(name));
    const events = quiet();
    const after = new Publisher(second, sinks.map((sink) => ({ sink, severity: 'info' as const })), events); // prettier-ignore
    after.resume();
    after.collect(sampleAlert(9));
    after.commit();
    expect(sinks.map(({ sequences }) => sequences)).toEqual([[4, 5, 6, 7, 8, 9], [9], [9]]);
    expect(events.log).toEqual(['resumed slow 5 0']);
    second.close();
  });

  it('a crash between the store and the outputs costs nothing: the next start gives them', () => {
    const path = join(temporaryDirectory(), 'alerts.db');
    const store = new AlertStore({ path });
    const sink = new KeepingSink('eve');
    const publisher = new Publisher(store, [{ sink, severity: 'info' }], quiet());
    publisher.resume();
    publisher.collect(sampleAlert(1));
    publisher.commit();
    store.put([sampleAlert(2)]);
    store.close();
    const again = new AlertStore({ path });
    const next = new KeepingSink('eve');
    new Publisher(again, [{ sink: next, severity: 'info' }], quiet()).resume();
    expect(next.sequences).toEqual([1, 2]);
    again.close();
  });

  it('while the store refuses nothing is told and nothing lost, and the checkpoint stays where it was', () => {
    const store = new AlertStore({ path: join(temporaryDirectory(), 'alerts.db') });
    const sink = new KeepingSink('eve');
    const events = quiet();
    const publisher = new Publisher(store, [{ sink, severity: 'info' }], events);
    publisher.resume();
    publisher.collect(sampleAlert(1));
    const refuse = (): void => {
      store.setState('checkpoint', Buffer.from('1'));
      throw new OperatingError('ARCHIVE_FAILED', 'the disk is full');
    };
    expect(publisher.commit(refuse)).toBe(false);
    for (let number = 2; number <= 10_000; number++) publisher.collect(sampleAlert(number));
    expect(publisher.isStalled).toBe(true);
    expect(sink.got).toEqual([]);
    expect(store.getState('checkpoint')).toBeNull();
    expect(publisher.commit()).toBe(true);
    expect(sink.got).toHaveLength(10_000);
    expect(publisher.isStalled).toBe(false);
    expect(events.log).toEqual(['failed ARCHIVE_FAILED 1', 'recovered']);
    store.close();
  });
});
