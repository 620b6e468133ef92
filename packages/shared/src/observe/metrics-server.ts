/**
 * The status page, on loopback only: `GET /metrics` for Prometheus, `GET /status` for people and scripts. Read-only.
 */
import { createServer } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import { OperatingError, messageOf } from '../base/errors.ts';
import { samplesOf, type Books, type Sample } from './books.ts';

/** A scraper that opens more than this at once is none. */
const CONNECTIONS_MAX = 16;
const REQUEST_TIMEOUT_MS = 5000;

export interface MetricsAddress {
  /** A loopback address: the configuration takes no other. */
  readonly host: string;
  readonly port: number;
}

/**
 * Starts serving `books()`, and `more()` under the names it gives; resolves when the port is open, with what closes it. Throws LISTEN_FAILED when it cannot be.
 */
export async function serveMetrics(
  prefix: string,
  address: MetricsAddress,
  books: () => Books,
  more: () => readonly Sample[] = () => [],
): Promise<() => void> {
  const server = createServer((request, response) => {
    const send = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type }).end(text);
    };
    if (request.method !== 'GET') send(405, 'text/plain', 'GET only\n');
    else if (request.url === '/status')
      send(200, 'application/json', `${JSON.stringify(books(), null, 2)}\n`);
    else if (request.url !== '/metrics') send(404, 'text/plain', 'try /metrics or /status\n');
    else
      render([...samplesOf(prefix, books()), ...more()]).then(
        (text) => {
          send(200, Registry.PROMETHEUS_CONTENT_TYPE, text);
        },
        (error: unknown) => {
          send(500, 'text/plain', `${messageOf(error)}\n`);
        },
      );
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new OperatingError(
          'LISTEN_FAILED',
          `cannot serve metrics on ${address.host}:${address.port}: ${error.message}`,
          { ...address },
          error,
        ),
      );
    });
    server.listen(address.port, address.host, resolve);
  });
  server.unref();
  return () => {
    server.close();
    // A scraper that sent half a request would hold up the end of the daemon.
    server.closeAllConnections();
  };
}

/** The books in Prometheus' text form. A registry per scrape: the books are the only place where numbers live. */
async function render(samples: Iterable<Sample>): Promise<string> {
  const registry = new Registry();
  for (const { name, kind, labels, value } of samples) {
    const help = name.replaceAll('_', ' ');
    const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
    const known = registry.getSingleMetric(name);
    if (kind === 'counter') ((known as Counter | undefined) ?? new Counter(options)).inc(labels, value);
    else ((known as Gauge | undefined) ?? new Gauge(options)).set(labels, value);
  }
  return registry.metrics();
}
