import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { cef } from './cef.ts';
import { readClientTls } from './client-tls.ts';
import {
  recordEvents,
  removeTemporaryDirectories,
  sampleRecord,
  sampleRecords,
  temporaryDirectory,
  testPki,
  until,
  type RecordedEvents,
} from './publish-test-support.ts';
import type { Sink } from './sink.ts';
import { syslogSink, type SyslogSinkOptions } from './syslog-sink.ts';
import { webhookSink, type WebhookSinkOptions } from './webhook-sink.ts';

const pki = testPki('plant authority');
const otherPki = testPki('another authority');
const closers: (() => unknown)[] = [];
const RETRY = { retry: { firstMs: 20, capMs: 40 } };

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(removeTemporaryDirectories);

/** Takes octet-counted messages to pieces, by bytes, and knows nothing of how they were made. */
class Collector {
  readonly messages: string[] = [];
  readonly sockets: Socket[] = [];

  take(socket: Socket): void {
    this.sockets.push(socket);
    let bytes: Buffer = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        const space = bytes.indexOf(0x20);
        if (space < 0) return;
        const digits = bytes.toString('latin1', 0, space);
        expect(digits).toMatch(/^[1-9]\d{0,5}$/);
        const end = space + 1 + Number(digits);
        if (bytes.byteLength < end) return;
        this.messages.push(bytes.toString('utf8', space + 1, end));
        bytes = bytes.subarray(end);
      }
    });
  }
}

async function listen(server: Server | HttpServer, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function tlsReceiver(
  files = pki,
  requestCert = false,
): Promise<{ port: number; collector: Collector }> {
  const collector = new Collector();
  const server = createTlsServer(
    {
      key: readFileSync(files.server.key),
      cert: readFileSync(files.server.certificate),
      ca: readFileSync(pki.ca),
      requestCert,
      rejectUnauthorized: requestCert,
    },
    (socket) => {
      collector.take(socket);
    },
  );
  server.on('tlsClientError', () => undefined);
  const port = await listen(server);
  closers.push(() => {
    for (const socket of collector.sockets) socket.destroy();
  });
  return { port, collector };
}

function syslog(
  fields: Partial<SyslogSinkOptions> & { port: number },
  events = recordEvents(),
): { sink: Sink; events: RecordedEvents } {
  const sink = syslogSink(
    {
      host: '127.0.0.1',
      facility: 'local3',
      version: '0.1.0',
      hostname: 'probe',
      tls: () => readClientTls({ ca: pki.ca }),
      ...fields,
    },
    events,
    RETRY,
  );
  closers.push(() => sink.close(500));
  return { sink, events };
}

describe('CEF', () => {
  it('escapes what would end a field, in the header and in values', () => {
    const record = sampleRecord(1, { title: 'a|b\\c\nd', evidence: 'x=1 \\ y\nz|w', port: 0 });
    expect(cef(record, '1.0')).toMatch(/^CEF:0\|Tapline\|tapline-analyzer\|1\.0\|scan-vertical\|a\\\|b\\\\c d\|8\|/);
    expect(cef(record, '1.0')).toContain(' msg=x\\=1 \\\\ y\\nz|w cs1=T0846 cs1Label=mitre_technique_id ');
    expect(cef(record, '1.0')).toContain(' src=10.0.0.7 dst=10.0.0.9 dpt=0 proto=TCP ');
  }); // prettier-ignore

  it('has its own keys for IPv6 and MAC addresses', () => {
    const text = cef(sampleRecord(1, { source: 'fe80::1', destination: '00:11:22:33:44:55' }), '1');
    expect(text).toContain('c6a2=fe80::1 c6a2Label=Source IPv6 Address dmac=00:11:22:33:44:55');
    expect(text).not.toMatch(/ (src|dst)=/);
  });
});

describe('syslog', () => {
  it('loses the one record that cannot be written, says so, and none of those before and behind it', async () => {
    const collector = new Collector();
    const port = await listen(createServer((socket) => collector.take(socket)));
    const { sink, events } = syslog({ port, tls: null });
    const poison = sampleRecord(3, { title: undefined as unknown as string });
    sink.publish([...sampleRecords(2), poison, ...sampleRecords(3, 4)]);
    await until(() => sink.queued === 0, 'an empty queue');
    await until(() => collector.messages.length === 5, 'five messages');
    expect(sink.counters).toMatchObject({ published: 5, dropped: 1 });
    expect(JSON.stringify(events)).toContain('it cannot be written');
    for (const socket of collector.sockets) socket.destroy();
  });

  it('comes over TLS, with its length in bytes before each message, and CEF inside', async () => {
    const { port, collector } = await tlsReceiver();
    const { sink } = syslog({ port });
    sink.publish([sampleRecord(1, { evidence: 'Zähler läuft über: π ≠ 3' }), ...sampleRecords(299, 2)]);
    await until(() => collector.messages.length === 300, 'all messages');
    const [message = ''] = collector.messages;
    // local3 is 19, high is 3.
    expect(message).toMatch(new RegExp(`^<155>1 2026-01-01T00:00:01\\.123956Z probe tapline-analyzer ${process.pid} scan-vertical - CEF:0\\|Tapline\\|tapline-analyzer\\|0\\.1\\.0\\|scan-vertical\\|Port scan of one host\\|8\\|rt=1767225601123 `)); // prettier-ignore
    expect(message).toContain('msg=Zähler läuft über: π ≠ 3 ');
    expect(collector.messages.map((text) => / cn1=(\d+) /.exec(text)?.[1])).toEqual(Array.from({ length: 300 }, (_, i) => String(i + 1))); // prettier-ignore
    expect(sink.counters).toEqual({ published: 300, dropped: 0, failed: 0 });
  });

  it('is given to nobody whose certificate is of another authority, or bears another name', async () => {
    const { port, collector } = await tlsReceiver(otherPki);
    const { sink, events } = syslog({ port });
    sink.publish(sampleRecords(1));
    await until(() => sink.counters.failed > 0, 'a failure');
    expect(events.log[0]?.[1]).toMatchObject({ sink: 'syslog' });
    expect(JSON.stringify(events.log)).toMatch(/certificate/);
    const right = await tlsReceiver();
    const named = syslog({
      port: right.port,
      tls: () => readClientTls({ ca: pki.ca, server_name: 'siem.example' }),
    });
    named.sink.publish(sampleRecords(1));
    await until(() => named.sink.counters.failed > 0, 'a failure');
    expect(JSON.stringify(named.events.log)).toMatch(/altnames/);
    expect([...collector.messages, ...right.collector.messages]).toEqual([]);
    expect(sink.oldestPending).toBe(1);
  });

  it('shows its own certificate where one is asked for; without one it is turned away', async () => {
    const { port, collector } = await tlsReceiver(pki, true);
    const { sink } = syslog({ port, tls: () => readClientTls({ ca: pki.ca, ...pki.client }) });
    sink.publish(sampleRecords(2));
    await until(() => collector.messages.length === 2, 'both messages');
    const bare = syslog({ port });
    bare.sink.publish(sampleRecords(1));
    await until(() => bare.sink.counters.failed > 0, 'a failure');
    expect(collector.messages).toHaveLength(2);
  });

  it('a receiver that was away gets what waited, in order, when it is back', async () => {
    const collector = new Collector();
    const first = createServer((socket) => {
      collector.take(socket);
    });
    const port = await listen(first);
    const { sink, events } = syslog({ port, tls: null });
    sink.publish(sampleRecords(2));
    await until(() => collector.messages.length === 2, 'the first messages');
    first.close();
    for (const socket of collector.sockets) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 30));
    sink.publish(sampleRecords(3, 3));
    await until(() => sink.counters.failed > 1, 'failures');
    expect(sink.oldestPending).toBe(3);
    await listen(
      createServer((socket) => {
        collector.take(socket);
      }),
      port,
    );
    await until(() => collector.messages.length === 5, 'the others');
    expect(collector.messages.map((text) => / cn1=(\d+) /.exec(text)?.[1])).toEqual(['1', '2', '3', '4', '5']); // prettier-ignore
    expect(events.log.at(-1)).toEqual(['recovered', { sink: 'syslog' }]);
    await sink.close(500);
    for (const socket of collector.sockets) socket.destroy();
  });
});

interface Posted {
  readonly authorization: string | undefined;
  readonly body: { readonly version: number; readonly alerts: readonly { readonly sequence: number }[] };
}

async function webhookReceiver(
  answer: (posts: number) => number | 'hang',
  https = false,
): Promise<{ url: string; posts: Posted[] }> {
  const posts: Posted[] = [];
  const handle = async (request: IncomingMessage): Promise<number | 'hang'> => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    posts.push({ authorization: request.headers.authorization, body: JSON.parse(text) as Posted['body'] });
    return answer(posts.length);
  };
  const onRequest = (
    request: IncomingMessage,
    response: { writeHead(status: number): { end(): void } },
  ): void => {
    void handle(request).then((status) => {
      if (status !== 'hang') response.writeHead(status).end();
    });
  };
  const server = https
    ? createHttpsServer(
        { key: readFileSync(pki.server.key), cert: readFileSync(pki.server.certificate) },
        onRequest,
      )
    : createHttpServer(onRequest);
  server.on('tlsClientError', () => undefined);
  const port = await listen(server);
  closers.push(() => {
    server.closeAllConnections();
  });
  return { url: `${https ? 'https' : 'http'}://127.0.0.1:${port}/alerts?x=1`, posts };
}

function webhook(fields: Partial<WebhookSinkOptions> & { url: string }): {
  sink: Sink;
  events: RecordedEvents;
} {
  const events = recordEvents();
  const sink = webhookSink(
    { tls: null, timeoutMs: 2000, batchMax: 100, attemptsMax: 4, ...fields },
    events,
    RETRY,
  );
  closers.push(() => sink.close(100));
  return { sink, events };
}

describe('the webhook', () => {
  it('posts batches in order, with its token', async () => {
    const { url, posts } = await webhookReceiver(() => 202);
    const tokenFile = join(temporaryDirectory(), 'token');
    writeFileSync(tokenFile, 's3cret\n');
    const { sink } = webhook({ url, tokenFile });
    sink.publish(sampleRecords(250));
    await until(() => sink.queued === 0, 'all posts');
    expect(posts.map(({ body }) => body.alerts.length)).toEqual([100, 100, 50]);
    expect(posts.flatMap(({ body }) => body.alerts.map(({ sequence }) => sequence))).toEqual(Array.from({ length: 250 }, (_, i) => i + 1)); // prettier-ignore
    expect(posts[0]).toMatchObject({ authorization: 'Bearer s3cret', body: { version: 1 } });
  });

  it('tries again after a 500, and gives a batch up after so many', async () => {
    const { url, posts } = await webhookReceiver((count) => (count < 3 ? 500 : 200));
    const { sink } = webhook({ url });
    sink.publish(sampleRecords(1));
    await until(() => sink.counters.published === 1, 'the post');
    expect(posts).toHaveLength(3);
    const broken = await webhookReceiver(() => 503);
    const { sink: second, events } = webhook({ url: broken.url });
    second.publish(sampleRecords(5));
    await until(() => second.queued === 0, 'the end of patience');
    expect(broken.posts).toHaveLength(4);
    expect(second.counters).toEqual({ published: 0, dropped: 5, failed: 4 });
    expect(events.log.at(-1)).toEqual(['dropped', { sink: 'webhook', tellings: 5, reason: 'the answer was 503' }]);
  }); // prettier-ignore

  it('does not repeat what was refused, and goes on with the next', async () => {
    const { url, posts } = await webhookReceiver((count) => (count === 1 ? 400 : 200));
    const { sink } = webhook({ url, batchMax: 1 });
    sink.publish(sampleRecords(2));
    await until(() => sink.queued === 0, 'both');
    expect(posts).toHaveLength(2);
    expect(sink.counters).toEqual({ published: 1, dropped: 1, failed: 1 });
  });

  it('a server that never answers costs its timeout, and nobody else anything', async () => {
    const { url } = await webhookReceiver(() => 'hang');
    const { sink, events } = webhook({ url, timeoutMs: 100, attemptsMax: 2 });
    const healthy = await webhookReceiver(() => 200);
    const { sink: other } = webhook({ url: healthy.url });
    sink.publish(sampleRecords(3));
    other.publish(sampleRecords(3));
    await until(() => other.counters.published === 3, 'the healthy one');
    expect(sink.counters.published).toBe(0);
    await until(() => sink.counters.dropped === 3, 'the end of patience');
    expect(JSON.stringify(events.log)).toMatch(/no answer within 100 ms/);
  });

  it('checks the certificate against the authority it was given', async () => {
    const { url, posts } = await webhookReceiver(() => 200, true);
    const { sink } = webhook({ url, tls: () => readClientTls({ ca: pki.ca }) });
    sink.publish(sampleRecords(1));
    await until(() => sink.counters.published === 1, 'the post');
    const { sink: stranger } = webhook({ url, tls: () => readClientTls({ ca: otherPki.ca }) });
    stranger.publish(sampleRecords(1));
    await until(() => stranger.counters.failed > 0, 'a failure');
    expect(posts).toHaveLength(1);
  });
});
