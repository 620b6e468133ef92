/** Alerts as lines of Zeek's notice.log in JSON, for what reads Zeek: RITA, Brim/Zui, Security Onion, Malcolm. */
import type { AlertRecord } from './alert-record.ts';
import { ipOf } from './eve-sink.ts';
import { LineFile } from './line-file.ts';
import { QueuedSink } from './queued-sink.ts';
import type { Sink, SinkEvents } from './sink.ts';

const BATCH_MAX = 1000;

export function zeekSink(options: { readonly path: string }, events: SinkEvents): Sink {
  const file = new LineFile(options.path);
  const close = (): void => {
    file.close();
  };
  return new QueuedSink(
    { name: 'zeek' },
    {
      batchMax: BATCH_MAX,
      deliver: async (records) => {
        file.append(records.map(zeekNotice).join(''));
      },
      reopen: close,
      close: async () => {
        close();
      },
    },
    events,
  );
}

/** One line, with its end. Fields that are not known are left out, as Zeek does. */
export function zeekNotice(record: AlertRecord): string {
  const source = ipOf(record.source);
  const destination = ipOf(record.destination);
  const known = (key: string, value: string): object => (value === '' ? {} : { [key]: value });
  return `${JSON.stringify({
    _path: 'notice',
    ts: record.lastUs / 1e6,
    ...known('uid', record.flows[0] ?? ''),
    ...known('id.orig_h', source),
    ...known('id.resp_h', destination),
    ...(record.port >= 0 ? { 'id.resp_p': record.port } : {}),
    ...known('proto', record.transport),
    note: `Tapline::${noteName(record.rule)}`,
    msg: `${record.title}: ${record.evidence}`,
    sub: record.export,
    ...known('src', source),
    ...known('dst', destination),
    ...(record.port >= 0 ? { p: record.port } : {}),
    n: record.count,
    peer_descr: record.sensor,
    actions: ['Notice::ACTION_LOG'],
    suppress_for: 0,
    ...known('community_id', record.community_id),
    severity: record.severity,
    ...known('technique', record.technique?.id ?? ''),
    tapline_id: record.id,
    tapline_sequence: record.sequence,
  })}\n`;
}

/** `scan-vertical` is `Scan_Vertical`. */
function noteName(rule: string): string {
  return rule
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join('_');
}
