/**
 * Alerts posted as JSON to a URL, in batches: `{"version": 1, "alerts": [AlertRecord, …]}`. An answer of 2xx takes the batch. 408, 429, 5xx and silence are
 * tried again, so often and no more; any other answer is a refusal.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { AlertRecord } from './alert-record.ts';
import type { ClientTls } from './client-tls.ts';
import { QueuedSink, RefusedError, type Courier, type QueuedSinkOptions } from './queued-sink.ts';
import type { Sink, SinkEvents } from './sink.ts';

const TOKEN_BYTES_MAX = 8192;

export interface WebhookSinkOptions {
  readonly url: string;
  /** Holds a bearer token; read for each request, so that a new one counts at once. */
  readonly tokenFile?: string | undefined;
  readonly tls: (() => ClientTls) | null;
  readonly timeoutMs: number;
  readonly batchMax: number;
  readonly attemptsMax: number;
}

export function webhookSink(
  options: WebhookSinkOptions,
  events: SinkEvents,
  queue: Partial<QueuedSinkOptions> = {},
): Sink {
  return new QueuedSink({ name: 'webhook', ...queue }, new WebhookCourier(options), events);
}

class WebhookCourier implements Courier {
  readonly batchMax: number;
  readonly attemptsMax: number;
  readonly #options: WebhookSinkOptions;
  readonly #isTls: boolean;
  #agent: HttpAgent;

  constructor(options: WebhookSinkOptions) {
    this.#options = options;
    this.#isTls = options.url.startsWith('https:');
    this.batchMax = options.batchMax;
    this.attemptsMax = options.attemptsMax;
    this.#agent = this.#createAgent();
  }

  async deliver(records: readonly AlertRecord[], signal: AbortSignal): Promise<void> {
    const body = Buffer.from(JSON.stringify({ version: 1, alerts: records }));
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    // One timer over all of it: a server that answers a byte a second would keep a socket's own timer quiet for ever.
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs)]);
    const options: RequestOptions = {
      method: 'POST',
      agent: this.#agent,
      signal: limit,
      headers: {
        'content-type': 'application/json',
        'content-length': body.byteLength,
        'user-agent': 'tapline-analyzer',
        ...this.#authorization(),
      },
    };
    const request = (this.#isTls ? httpsRequest : httpRequest)(this.#options.url, options, (response) => {
      response.resume();
      response.once('end', () => {
        resolve(response.statusCode ?? 0);
      });
      response.once('error', reject);
      response.once('close', () => {
        reject(new Error('the answer was cut off'));
      });
    });
    request.once('error', (error) => {
      reject(limit.aborted && !signal.aborted ? new Error(`no answer within ${this.#options.timeoutMs} ms`) : error); // prettier-ignore
    });
    request.end(body);
    judge(await promise);
  }

  reopen(): void {
    this.#agent.destroy();
    this.#agent = this.#createAgent();
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #createAgent(): HttpAgent {
    const common = { keepAlive: true, maxSockets: 1 };
    return this.#isTls
      ? new HttpsAgent({ ...common, minVersion: 'TLSv1.2', ...(this.#options.tls?.() ?? {}) })
      : new HttpAgent(common);
  }

  #authorization(): Record<string, string> {
    const { tokenFile } = this.#options;
    if (tokenFile === undefined) return {};
    const token = readFileSync(tokenFile, 'latin1').slice(0, TOKEN_BYTES_MAX).trim();
    if (!/^[!-~]+$/.test(token)) throw new Error(`${tokenFile} holds no token`);
    return { authorization: `Bearer ${token}` };
  }
}

function judge(status: number): void {
  if (status >= 200 && status < 300) return;
  const sentence = `the answer was ${status}`;
  if (status === 408 || status === 429 || status >= 500) throw new Error(sentence);
  throw new RefusedError(sentence);
}
