/**
 * Which source a packet belongs to.
 *
 *   IP packet      the first rule, in list order, whose address is its source or its destination
 *                  else the default prefix, when one is configured
 *                  else its source address                                  (beyond sourcesMax: `overflow`)
 *   anything else  its source MAC; never a rule's or the default's file     (beyond sourcesMax: `overflow-non-ip`)
 *                  `non-ip` where the link layer has no MAC
 *
 * That is the split by source. The split by host asks the same for the destination, unless it is a group's, and stores the
 * packet there as well; by pair it is the two addresses in ascending order; without a split everything has one prefix.
 * Rules and the default prefix name hosts, so only the first two ask them.
 *
 * "Anything else" includes IP packets too damaged to have addresses. A file has one link type, so each link type routes
 * through a `RouteGroup` of its own; the batch names it once, and per packet there are one to three lookups in
 * typed-array tables, whatever the number of rules. The destination is only looked at when there are rules.
 */
import { assert } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import { FRAME_IPV4 } from '../packet/frame-cursor.ts';
import type { FrameCursor } from '../packet/frame-cursor.ts';
import { formatAddress, formatMac, parseAddress } from '../packet/ip-address.ts';
import { readU32 } from '../packet/record.ts';
import { ABSENT, AddressTable } from './address-table.ts';
import { PairTable } from './pair-table.ts';
import type { ArchiveRule, Split } from './archive-options.ts';
import {
  ALL_FRAMES_PREFIX,
  ALL_PREFIX,
  NO_MAC_PREFIX,
  OVERFLOW_FRAMES_PREFIX,
  OVERFLOW_PREFIX,
  PAIR_SEPARATOR,
  cleanPrefix,
  prefixWithLinkType,
} from './segment-name.ts';
import type { SourceTable } from './source-table.ts';

/** A sensor says which link type its batches have. One that invents them must not make us tables without end. */
export const LINK_TYPES_MAX = 64;
/** The field in a PCAP header has 16 bits; the others carry FCS flags. */
const LINK_TYPE_LAST = 0xffff;

/** A prefix in a file name for an address: no colon, and no leading `-` (`::1` becomes `0--1`, still an address). */
export function addressPrefix(bytes: Uint8Array, offset: number, byteLength: 4 | 16): string {
  const text = formatAddress(bytes, offset, byteLength).replaceAll(':', '-');
  return text.startsWith('-') ? `0${text}` : text;
}

/** A prefix in a file name for a MAC: `00-11-22-33-44-55`. */
export function macPrefix(bytes: Uint8Array, offset: number): string {
  return formatMac(bytes, offset).replaceAll(':', '-');
}

/** The rules, by address. The value is the rule's index, so the smaller of two wins. */
class RuleTable {
  readonly prefixes: readonly string[];
  readonly #ipv4 = new AddressTable(4);
  readonly #ipv6 = new AddressTable(16);

  constructor(rules: readonly ArchiveRule[]) {
    this.prefixes = rules.map((rule) => cleanPrefix(rule.prefix));
    rules.forEach((rule, index) => {
      const bytes = parseAddress(rule.address);
      if (bytes === null)
        throw new OperatingError(
          'CONFIG_INVALID',
          `the rule's address ${rule.address} is not an IP address`,
          {
            address: rule.address,
          },
        );
      const table = bytes.length === 4 ? this.#ipv4 : this.#ipv6;
      if (table.find(bytes, 0) === ABSENT) table.set(bytes, 0, index);
    });
  }

  /** Index of the first rule that names the address, or ABSENT. */
  matchOne(bytes: Uint8Array, offset: number, isIpv4: boolean): number {
    const table = isIpv4 ? this.#ipv4 : this.#ipv6;
    return table.size === 0 ? ABSENT : table.find(bytes, offset);
  }

  /** Index of the first rule that names either address, or ABSENT. */
  match(bytes: Uint8Array, cursor: FrameCursor): number {
    const table = cursor.kind === FRAME_IPV4 ? this.#ipv4 : this.#ipv6;
    if (table.size === 0) return ABSENT;
    const bySource = table.find(bytes, cursor.sourceOffset);
    const byDestination = table.find(bytes, cursor.destinationOffset);
    if (bySource === ABSENT) return byDestination;
    return byDestination === ABSENT || bySource < byDestination ? bySource : byDestination;
  }
}

export class RouteTable {
  readonly sources: SourceTable;
  readonly archiveLinkType: 'ethernet' | 'raw';
  readonly split: Split;
  rules = new RuleTable([]);
  defaultPrefix: string | null = null;
  /** Called for each packet that goes to an overflow segment. */
  readonly onOverflow: (prefix: string) => void;
  readonly #groups = new Map<number, RouteGroup>();

  constructor(
    sources: SourceTable,
    options: { readonly linkType: 'ethernet' | 'raw'; readonly split: Split },
    onOverflow: (prefix: string) => void,
  ) {
    this.sources = sources;
    this.archiveLinkType = options.linkType;
    this.split = options.split;
    this.onOverflow = onOverflow;
    sources.onEvicted = (isLive) => {
      for (const group of this.#groups.values()) group.retain(isLive);
    };
  }

  /** Takes effect with the next packet. Throws CONFIG_INVALID, changing nothing, for what is not an address. */
  setRules(rules: readonly ArchiveRule[], defaultPrefix: string | undefined): void {
    this.rules = new RuleTable(rules);
    this.defaultPrefix = defaultPrefix === undefined ? null : cleanPrefix(defaultPrefix);
    for (const group of this.#groups.values()) group.forgetRules();
  }

  /** The group whose files have this link type; null for a link type that cannot have files. */
  group(linkType: number): RouteGroup | null {
    const known = this.#groups.get(linkType);
    if (known !== undefined) return known;
    if (linkType > LINK_TYPE_LAST || this.#groups.size >= LINK_TYPES_MAX) return null;
    const group = new RouteGroup(this, linkType);
    this.#groups.set(linkType, group);
    return group;
  }
}

/** All routes into files of one link type. */
export class RouteGroup {
  readonly linkType: number;
  readonly #table: RouteTable;
  readonly #ipv4 = new AddressTable(4);
  readonly #ipv6 = new AddressTable(16);
  readonly #mac = new AddressTable(6);
  readonly #pairs = { 4: new PairTable(8), 6: new PairTable(12), 16: new PairTable(32) };
  readonly #pair = new Uint8Array(32);
  /** Rows of prefixes that the configuration or this file names, found by name: `rule 3` → row. */
  readonly #fixedRows = new Map<string, number>();
  #ruleRows: number[] = [];
  #defaultRow = ABSENT;
  // The packet before this one: traffic comes in bursts, and a burst has one source.
  #lastSource = 0;
  #lastRow = ABSENT;

  constructor(table: RouteTable, linkType: number) {
    this.#table = table;
    this.linkType = linkType;
  }

  /** The row of an IPv4 or IPv6 packet, located by `cursor` in `bytes`. */
  rowOfPacket(bytes: Uint8Array, cursor: FrameCursor): number {
    const { rules, split } = this.#table;
    if (split === 'none') return this.#fixedRow(ALL_PREFIX);
    if (split === 'pair')
      return this.#rowOfPair(
        bytes,
        cursor.sourceOffset,
        cursor.destinationOffset,
        cursor.kind === FRAME_IPV4 ? 4 : 16,
      );
    if (rules.prefixes.length > 0) {
      const rule =
        split === 'host'
          ? rules.matchOne(bytes, cursor.sourceOffset, cursor.kind === FRAME_IPV4)
          : rules.match(bytes, cursor);
      if (rule !== ABSENT) return this.#ruleRows[rule] ?? this.#rowOfRule(rule);
    }
    if (this.#table.defaultPrefix !== null)
      return this.#defaultRow === ABSENT ? this.#rowOfDefault(this.#table.defaultPrefix) : this.#defaultRow;
    const at = cursor.sourceOffset;
    if (cursor.kind !== FRAME_IPV4) {
      const row = this.#ipv6.find(bytes, at);
      return row === ABSENT ? this.#claim(this.#ipv6, bytes, at, 16) : row;
    }
    const source = readU32(bytes, at);
    if (source === this.#lastSource && this.#lastRow !== ABSENT) return this.#lastRow;
    let row = this.#ipv4.find(bytes, at);
    if (row === ABSENT) {
      row = this.#claim(this.#ipv4, bytes, at, 4);
      // What overflowed is counted packet by packet, and may be let in later: not remembered.
      if (row === this.#fixedRows.get(OVERFLOW_PREFIX)) return row;
    }
    this.#lastSource = source;
    this.#lastRow = row;
    return row;
  }

  /** The row of the packet's other host, or ABSENT when that is a group or has the packet already, as `row`. */
  rowOfDestination(bytes: Uint8Array, cursor: FrameCursor, row: number): number {
    const { rules, defaultPrefix } = this.#table;
    const isIpv4 = cursor.kind === FRAME_IPV4;
    const at = cursor.destinationOffset;
    if (isGroup(bytes, at, isIpv4)) return ABSENT;
    const rule = rules.prefixes.length > 0 ? rules.matchOne(bytes, at, isIpv4) : ABSENT;
    const other =
      rule !== ABSENT
        ? (this.#ruleRows[rule] ?? this.#rowOfRule(rule))
        : defaultPrefix !== null
          ? this.#rowOfDefault(defaultPrefix)
          : this.#rowOf(isIpv4 ? this.#ipv4 : this.#ipv6, bytes, at);
    return other === row ? ABSENT : other;
  }

  /** The row of a frame that is not an IP packet. */
  rowOfFrame(bytes: Uint8Array, cursor: FrameCursor): number {
    const at = cursor.linkSourceOffset;
    const { split, archiveLinkType } = this.#table;
    if (split === 'none') return this.#fixedRow(archiveLinkType === 'raw' ? ALL_FRAMES_PREFIX : ALL_PREFIX);
    if (at < 0) return this.#fixedRow(NO_MAC_PREFIX);
    if (split === 'pair' && cursor.linkDestinationOffset >= 0)
      return this.#rowOfPair(bytes, at, cursor.linkDestinationOffset, 6);
    return this.#rowOf(this.#mac, bytes, at);
  }

  /** The same of a frame that is not an IP packet. */
  rowOfFrameDestination(bytes: Uint8Array, cursor: FrameCursor, row: number): number {
    const at = cursor.linkDestinationOffset;
    if (at < 0 || ((bytes[at] as number) & 1) === 1) return ABSENT;
    const other = this.#rowOf(this.#mac, bytes, at);
    return other === row ? ABSENT : other;
  }

  #rowOf(addresses: AddressTable, bytes: Uint8Array, offset: number): number {
    const row = addresses.find(bytes, offset);
    return row === ABSENT ? this.#claim(addresses, bytes, offset, addresses.keyBytes) : row;
  }

  /** Both directions of a conversation have one row: the smaller address stands first. */
  #rowOfPair(bytes: Uint8Array, a: number, b: number, addressBytes: AddressBytes): number {
    const pair = this.#pair;
    const isAscending = compareBytes(bytes, a, b, addressBytes) <= 0;
    for (let i = 0; i < addressBytes; i++) {
      pair[i] = bytes[(isAscending ? a : b) + i] as number;
      pair[addressBytes + i] = bytes[(isAscending ? b : a) + i] as number;
    }
    const table = this.#pairs[addressBytes];
    const row = table.find(pair, 0);
    return row === ABSENT ? this.#claim(table, pair, 0, addressBytes) : row;
  }

  retain(isLive: (row: number) => boolean): void {
    for (const table of [this.#ipv4, this.#ipv6, this.#mac, ...Object.values(this.#pairs)])
      table.retain(isLive);
    this.#lastRow = ABSENT;
  }

  forgetRules(): void {
    this.#ruleRows = [];
    this.#defaultRow = ABSENT;
    this.#lastRow = ABSENT;
  }

  #claim(
    addresses: AddressTable | PairTable,
    bytes: Uint8Array,
    offset: number,
    addressBytes: AddressBytes,
  ): number {
    const { sources } = this.#table;
    const isMac = addressBytes === 6;
    if (!sources.hasRoom()) {
      const prefix = isMac ? OVERFLOW_FRAMES_PREFIX : OVERFLOW_PREFIX;
      this.#table.onOverflow(prefix);
      return this.#fixedRow(prefix);
    }
    let prefix = prefixOf(bytes, offset, addressBytes);
    if (addresses.keyBytes > addressBytes)
      prefix += PAIR_SEPARATOR + prefixOf(bytes, offset + addressBytes, addressBytes);
    const row = sources.acquire(this.#named(prefix), this.linkType, false);
    addresses.set(bytes, offset, row);
    return row;
  }

  #rowOfRule(rule: number): number {
    const prefix = this.#table.rules.prefixes[rule];
    assert(prefix !== undefined, 'a rule without a prefix matched');
    return (this.#ruleRows[rule] = this.#fixedRow(prefix));
  }

  #rowOfDefault(prefix: string): number {
    return (this.#defaultRow = this.#fixedRow(prefix));
  }

  #fixedRow(prefix: string): number {
    let row = this.#fixedRows.get(prefix);
    if (row === undefined) {
      row = this.#table.sources.acquire(this.#named(prefix), this.linkType, true);
      this.#fixedRows.set(prefix, row);
    }
    return row;
  }

  #named(prefix: string): string {
    return prefixWithLinkType(prefix, this.linkType, this.#table.archiveLinkType);
  }
}

/** IPv4, MAC, IPv6. */
type AddressBytes = 4 | 6 | 16;

function prefixOf(bytes: Uint8Array, offset: number, addressBytes: AddressBytes): string {
  return addressBytes === 6 ? macPrefix(bytes, offset) : addressPrefix(bytes, offset, addressBytes);
}

function compareBytes(bytes: Uint8Array, a: number, b: number, byteCount: number): number {
  for (let i = 0; i < byteCount; i++) {
    const difference = (bytes[a + i] as number) - (bytes[b + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Multicast, or IPv4's broadcast to all: no host. */
function isGroup(bytes: Uint8Array, at: number, isIpv4: boolean): boolean {
  const first = bytes[at] as number;
  return isIpv4 ? first >> 4 === 0xe || readU32(bytes, at) === 0xffff_ffff : first === 0xff;
}
