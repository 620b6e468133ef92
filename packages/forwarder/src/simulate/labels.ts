/**
 * Labels: which packets of a simulated capture are an attack, whose, on whom and when. One row per attack:
 *
 *   column       meaning
 *   attack       name, as given to `--attack`
 *   variant      which kind of it: horizontal, vertical, ssh, http …
 *   start, end   ISO 8601 in UTC, nanoseconds, of the first and the last packet; start_ns, end_ns since 1970
 *   attackers    addresses, separated by spaces; for spoofed sources the prefixes they were drawn from
 *   victims      addresses, separated by spaces
 *   ports        destination ports on the victims; a range is `first-last`
 *   packets      how many packets the attack has, answers of the victims included
 *   ranges       their numbers, counted from 1 like `frame.number` in Wireshark: `first-last` or `n`, separated by spaces
 *
 * As CSV (RFC 4180) or as JSON lines with the same names, lists as arrays. Every packet outside the ranges is benign.
 */
import { SECOND } from './scheduler.ts';

export type AttackName = 'scan' | 'syn-flood' | 'udp-flood' | 'brute-force' | 'modbus-write' | 'ransomware';

/** In the order in which `all` plays them. */
export const ATTACK_NAMES: readonly AttackName[] = [
  'scan',
  'brute-force',
  'modbus-write',
  'ransomware',
  'udp-flood',
  'syn-flood',
];

export interface AttackLabel {
  readonly attack: AttackName;
  readonly variant: string;
  /** Nanoseconds since 1970 of the first and last packet. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attackers: readonly string[];
  readonly victims: readonly string[];
  readonly ports: readonly string[];
  readonly packets: number;
  /** Pairs of packet numbers, counted from 1, both inclusive, ascending, never touching. */
  readonly ranges: readonly (readonly [first: number, last: number])[];
}

/** What an attack says about itself before its first packet. Lists may grow while it runs. */
export interface AttackIdentity {
  readonly attack: AttackName;
  readonly variant: string;
  readonly attackers: string[];
  readonly victims: string[];
  readonly ports: string[];
}

/** Collects the packets of one attack while the capture is made. */
export class LabelTally {
  readonly identity: AttackIdentity;
  readonly #captureStartNs: bigint;
  readonly #ranges: [number, number][] = [];
  #packets = 0;
  #firstNs = 0;
  #lastNs = 0;

  constructor(captureStartNs: bigint, identity: AttackIdentity) {
    this.#captureStartNs = captureStartNs;
    this.identity = identity;
  }

  /** Takes note of packet `number` (from 1), `atNs` after the start of the capture. */
  add(number: number, atNs: number): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && last[1] + 1 === number) last[1] = number;
    else this.#ranges.push([number, number]);
    if (this.#packets === 0) this.#firstNs = atNs;
    this.#lastNs = atNs;
    this.#packets++;
  }

  /** The label so far, or null while the attack has no packet in the capture. */
  label(): AttackLabel | null {
    if (this.#packets === 0) return null;
    return {
      ...this.identity,
      startNs: this.#captureStartNs + BigInt(this.#firstNs),
      endNs: this.#captureStartNs + BigInt(this.#lastNs),
      packets: this.#packets,
      ranges: this.#ranges,
    };
  }
}

const COLUMNS = 'attack,variant,start,end,start_ns,end_ns,attackers,victims,ports,packets,ranges';

/** The label file as CSV, with a header row. */
export function labelsAsCsv(labels: readonly AttackLabel[]): string {
  const rows = labels.map((label) =>
    [
      label.attack,
      label.variant,
      isoNs(label.startNs),
      isoNs(label.endNs),
      String(label.startNs),
      String(label.endNs),
      label.attackers.join(' '),
      label.victims.join(' '),
      label.ports.join(' '),
      String(label.packets),
      label.ranges.map(rangeText).join(' '),
    ].join(','),
  );
  return `${[COLUMNS, ...rows].join('\r\n')}\r\n`;
}

/** The label file as JSON lines; `start_ns` and `end_ns` are strings, as they do not fit a double. */
export function labelsAsJsonLines(labels: readonly AttackLabel[]): string {
  return labels.map((label) => `${JSON.stringify(labelAsJson(label))}\n`).join('');
}

/** One label in the shape of the JSON lines. */
export function labelAsJson(label: AttackLabel): Record<string, unknown> {
  return {
    attack: label.attack,
    variant: label.variant,
    start: isoNs(label.startNs),
    end: isoNs(label.endNs),
    start_ns: String(label.startNs),
    end_ns: String(label.endNs),
    attackers: label.attackers,
    victims: label.victims,
    ports: label.ports,
    packets: label.packets,
    ranges: label.ranges,
  };
}

/** `2026-01-05T08:00:00.000000000Z`. */
export function isoNs(ns: bigint): string {
  const seconds = ns / BigInt(SECOND);
  const fraction = String(ns % BigInt(SECOND)).padStart(9, '0');
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

function rangeText([first, last]: readonly [number, number]): string {
  return first === last ? String(first) : `${String(first)}-${String(last)}`;
}
