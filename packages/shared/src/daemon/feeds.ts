/** The feeds of a daemon: from its configuration to open doors, and what it does with them while it runs. */
import type { FeedKeys } from '../config/feed-fields.ts';
import { replayOf } from '../export/replay.ts';
import { FeedDoor, type FeedDoorEvents } from '../feed/feed-door.ts';
import { LiveFeed, type FeedEvents } from '../feed/live-feed.ts';
import type { Books } from '../observe/books.ts';
import type { Log } from '../observe/log.ts';
import { Sparingly } from '../observe/sparingly.ts';
import { messageOf } from '../base/errors.ts';
import type { Batch } from '../packet/batch.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../packet/link-type.ts';
import { readTlsFiles } from '../system/tls-files.ts';

/** Where the past of a feed is read from. */
export interface FeedArchive {
  readonly root: string;
  readonly isSinglePlace: boolean;
  /** Hands everything that was stored to the disk. */
  flush(): void;
}

export class Feeds {
  readonly #feeds: LiveFeed[] = [];
  readonly #doors: FeedDoor[] = [];
  readonly #keys: readonly FeedKeys[];
  readonly #archive: FeedArchive;
  readonly #log: Log;

  constructor(keys: readonly FeedKeys[], archive: FeedArchive, log: Log) {
    this.#keys = keys;
    this.#archive = archive;
    this.#log = log;
  }

  /** Opens them all. Throws LISTEN_FAILED, FILTER_INVALID, CONFIG_INVALID. */
  async open(): Promise<void> {
    const events = feedEvents(this.#log);
    for (const keys of this.#keys) {
      const { host, port } = (keys.listen ?? keys.connect) as { host: string; port: number };
      const mode = keys.listen === undefined ? 'connect' : 'listen';
      const linkType = keys.link_type === 'raw' ? LINKTYPE_RAW : LINKTYPE_ETHERNET;
      const feed = new LiveFeed(
        {
          name: `${host}:${port}`,
          sensor: keys.sensor,
          filter: keys.filter ?? '',
          linkType,
          precision: keys.precision,
          bufferBytesMax: keys.buffer_size,
          readersMax: keys.readers_max,
        },
        events,
      );
      const tls = keys.tls === undefined ? null : readTlsFiles(keys.tls);
      const door = new FeedDoor(feed, { mode, host, port, tls }, events, this.#replay(keys, linkType));
      this.#feeds.push(feed);
      this.#doors.push(door);
      const opened = await door.open();
      this.#log.info({ mode, host, port: opened, tls: tls !== null, sensor: keys.sensor ?? null }, 'Serving PCAP-over-IP.'); // prettier-ignore
    }
  }

  /** A feed that has no door of its own: readers are brought by the caller. */
  add(feed: LiveFeed): void {
    this.#feeds.push(feed);
  }

  remove(feed: LiveFeed): void {
    const at = this.#feeds.indexOf(feed);
    if (at >= 0) this.#feeds.splice(at, 1);
  }

  /** A batch that was stored, lent. */
  offer(sensor: string, batch: Batch): void {
    for (const feed of this.#feeds) feed.offer(sensor, batch);
  }

  books(): Books[] {
    return this.#feeds.map(({ options, counters, readerCount }) => ({
      feed: options.name,
      readersNow: readerCount,
      ...counters,
    }));
  }

  async close(): Promise<void> {
    for (const door of this.#doors) door.close();
    await Promise.all(this.#feeds.map((feed) => feed.close()));
  }

  #replay({ from, sensor }: FeedKeys, linkType: number): ReturnType<typeof replayOf> | undefined {
    if (from === undefined) return undefined;
    const { root, isSinglePlace } = this.#archive;
    return replayOf(
      { roots: [root], isSinglePlace, sensors: sensor === undefined ? [] : [sensor] },
      { spanMs: from, linkType },
      () => {
        this.#archive.flush();
      },
      (segment, error) => {
        this.#log.warn({ segment, problem: messageOf(error) }, 'A segment was left out of a replay.');
      },
    );
  }
}

export function feedEvents(log: Log): FeedEvents & FeedDoorEvents {
  const sparingly = new Sparingly();
  const told = (level: 'info' | 'warn', fields: object, message: string): void => {
    sparingly.tell(message, (leftOut) => {
      log[level]({ ...fields, leftOut }, message);
    });
  };
  return {
    readerJoined: (reader) => {
      told('info', reader, 'A reader joined.');
    },
    readerLeft: (reader) => {
      told('info', reader, 'A reader left.');
    },
    readerRefused: (reader) => {
      told('warn', reader, 'There are too many readers; one was turned away.');
    },
    connectFailed: (failure) => {
      told('warn', failure, 'A reader cannot be reached.');
    },
    handshakeFailed: (failure) => {
      told('warn', failure, 'The TLS handshake of a reader failed.');
    },
  };
}
