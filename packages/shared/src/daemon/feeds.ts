/** The feeds of a daemon: from its configuration to open doors, and what it does with them while it runs. */
import type { Socket } from 'node:net';
import type { ControlRequest } from '../control/control-protocol.ts';
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

/** What may wait for a reader that came through the control socket. */
const SERVED_BUFFER_BYTES = 64 * 1024 * 1024;

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

  /** A stream for one who asked through the control socket. Throws FILTER_INVALID. */
  serve(request: Extract<ControlRequest, { command: 'stream' }>, socket: Socket): void {
    const { sensor, filter, precision, spanMs } = request;
    const linkType = request.linkType === 'raw' ? LINKTYPE_RAW : LINKTYPE_ETHERNET;
    const feed = new LiveFeed(
      {
        name: 'control',
        sensor,
        filter,
        linkType,
        precision,
        bufferBytesMax: SERVED_BUFFER_BYTES,
        readersMax: 1,
      },
      feedEvents(this.#log),
    );
    socket.write('{"ok":true}\n');
    this.#feeds.push(feed);
    socket.once('close', () => {
      const at = this.#feeds.indexOf(feed);
      if (at >= 0) this.#feeds.splice(at, 1);
    });
    feed.join(socket, 'control', spanMs === 0 ? undefined : this.#replayOf(spanMs, sensor, linkType)());
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
    return from === undefined ? undefined : this.#replayOf(from, sensor, linkType);
  }

  #replayOf(spanMs: number, sensor: string | undefined, linkType: number): ReturnType<typeof replayOf> {
    const { root, isSinglePlace } = this.#archive;
    return replayOf(
      { roots: [root], isSinglePlace, sensors: sensor === undefined ? [] : [sensor] },
      { spanMs, linkType },
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
