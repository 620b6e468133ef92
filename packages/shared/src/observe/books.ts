/**
 * The books of a daemon: all its counters at one moment, as one plain object. The log, the status page, the tunnel's
 * report and the metrics all show the same books, so they cannot disagree.
 *
 * A key says what kind of number it holds: `packetsStored` counts up for ever; a key that ends in `Now` is a level
 * (`packetsQueuedNow`); one that ends in `ByReason` holds one counter per reason. A list holds books that name their `sensor`, `archive`
 * or `feed`.
 */
export interface Books {
  readonly [key: string]: number | string | boolean | null | Books | readonly Books[];
}

/** One number with the name it has in Prometheus. */
export interface Sample {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All numbers of the books: `{capture: {packetsIn: 7}}` of `tapline_forwarder` is `tapline_forwarder_capture_packets_in_total 7`. */
export function samplesOf(
  prefix: string,
  books: Books,
  labels: Readonly<Record<string, string>> = {},
): Sample[] {
  return Object.entries(books).flatMap(([key, value]) => {
    const name = `${prefix}_${snakeCase(key)}`;
    if (typeof value === 'number') return [sample(name, value, labels)];
    if (typeof value !== 'object' || value === null) return [];
    if (Array.isArray(value)) return value.flatMap((entry: Books) => samplesOfEntry(name, entry, labels));
    if (key.endsWith('ByReason')) {
      const base = name.replace(/_by_reason$/, '');
      return Object.entries(value as Books).flatMap(([reason, count]) =>
        typeof count === 'number' ? [sample(base, count, { ...labels, reason })] : [],
      );
    }
    return samplesOf(name, value as Books, labels);
  });
}

/** What an entry of a list may be named by. */
const ENTRY_LABELS = ['sensor', 'archive', 'feed'] as const;

function samplesOfEntry(name: string, entry: Books, labels: Readonly<Record<string, string>>): Sample[] {
  const own = ENTRY_LABELS.flatMap((label) => {
    const value = entry[label];
    return typeof value === 'string' ? [[label, value] as const] : [];
  });
  return own.length === 0 ? [] : samplesOf(name, entry, { ...labels, ...Object.fromEntries(own) });
}

function sample(name: string, value: number, labels: Readonly<Record<string, string>>): Sample {
  if (name.endsWith('_now')) return { name: name.slice(0, -'_now'.length), kind: 'gauge', labels, value };
  return { name: `${name}_total`, kind: 'counter', labels, value };
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-z0-9_]/g, '_');
}

/** All counters of one `ByReason` added up. */
export function sumOf(counters: Readonly<Record<string, number>>): number {
  return Object.values(counters).reduce((sum, count) => sum + count, 0);
}

/** Books of the same shape, number by number added up. */
export function sumOfBooks(all: readonly Books[]): Books {
  const sums: Record<string, number | Books> = {};
  for (const [key, value] of all.flatMap((books) => Object.entries(books))) {
    const sum = sums[key];
    if (typeof value === 'number') sums[key] = (typeof sum === 'number' ? sum : 0) + value;
    else if (typeof value === 'object' && value !== null && !Array.isArray(value))
      sums[key] = sumOfBooks([typeof sum === 'object' ? sum : {}, value as Books]);
  }
  return sums;
}
