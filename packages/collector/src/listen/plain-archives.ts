/**
 * Where the packets of plain senders go. Such a sender has no name: the routing rule that lists its address gives it one,
 * else its address is its name. Each has a directory of its own beside those of the sensors:
 *
 *   <archive>/<rule's output_prefix>/<output_prefix>_YYYYMMDD_HH.pcap     the rule lists the sender's address
 *   <archive>/<sender's address>/…                                        else: routed like any packet
 *   <archive>/plain-others/…                                              senders beyond SENDERS_MAX
 */
import type { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import type { ArchiveRule } from '@tapline/shared/archive/archive-options.ts';
import { cleanPrefix } from '@tapline/shared/archive/segment-name.ts';
import type { DiskLimit } from '../session/disk-limit.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';

/** A datagram's sender address can be forged; a directory for each would fill a disk with directories. */
export const SENDERS_MAX = 256;
const OTHERS = 'plain-others';

export interface PlainArchivesDependencies {
  /** Opens the archive of one sender. Throws ARCHIVE_FAILED. */
  readonly openArchive: (
    name: string,
    rules: readonly ArchiveRule[],
    defaultPrefix: string | undefined,
  ) => ArchiveSet;
  readonly openFailed: (name: string, error: unknown) => void;
  /** What the segments of one sender may take. */
  readonly limitOf: (name: string, archive: ArchiveSet) => DiskLimit;
}

export class PlainArchives {
  readonly counters = { packets: 0, droppedByReason: { 'archive-unusable': 0, 'disk-limit': 0 } };
  readonly #dependencies: PlainArchivesDependencies;
  readonly #byPeer = new Map<string, ArchiveSet | null>();
  readonly #byName = new Map<string, ArchiveSet | null>();
  readonly #limits = new Map<ArchiveSet, DiskLimit>();
  #rules: readonly ArchiveRule[];
  #defaultPrefix: string | undefined;

  constructor(
    rules: readonly ArchiveRule[],
    defaultPrefix: string | undefined,
    dependencies: PlainArchivesDependencies,
  ) {
    this.#rules = rules;
    this.#defaultPrefix = defaultPrefix;
    this.#dependencies = dependencies;
  }

  get archives(): readonly [string, ArchiveSet][] {
    return [...this.#byName].filter((entry): entry is [string, ArchiveSet] => entry[1] !== null);
  }

  write(peer: string, batch: Batch): void {
    let archive = this.#byPeer.get(peer);
    if (archive === undefined) {
      archive = this.#find(peer);
      if (this.#byPeer.size < SENDERS_MAX) this.#byPeer.set(peer, archive);
    }
    this.counters.packets += batch.packetCount;
    if (archive === null) this.counters.droppedByReason['archive-unusable'] += batch.packetCount;
    // Nobody can be told to wait: beyond the limit what comes is lost, and counted.
    else if (this.#limits.get(archive)?.isReached() === true)
      this.counters.droppedByReason['disk-limit'] += batch.packetCount;
    else archive.write(batch);
  }

  /** New rules for packets of senders without a rule of their own; a sender keeps the directory it has. */
  setRules(rules: readonly ArchiveRule[], defaultPrefix: string | undefined): void {
    const named = new Set(this.#rules.map((rule) => cleanPrefix(rule.prefix)));
    for (const [name, archive] of this.archives) if (!named.has(name)) archive.setRules(rules, defaultPrefix);
    this.#rules = rules;
    this.#defaultPrefix = defaultPrefix;
    this.#byPeer.clear();
  }

  async close(): Promise<void> {
    for (const limit of this.#limits.values()) limit.close();
    for (const [, archive] of this.archives) await archive.close();
  }

  #find(peer: string): ArchiveSet | null {
    const rule = this.#rules.find((candidate) => candidate.address === peer);
    const own = cleanPrefix(rule?.prefix ?? peer.replaceAll(':', '-'));
    const name = this.#byName.has(own) || this.#byName.size < SENDERS_MAX ? own : OTHERS;
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const archive = this.#open(name, rule);
    if (archive !== null) this.#limits.set(archive, this.#dependencies.limitOf(name, archive));
    this.#byName.set(name, archive);
    return archive;
  }

  #open(name: string, rule: ArchiveRule | undefined): ArchiveSet | null {
    try {
      if (rule !== undefined) return this.#dependencies.openArchive(name, [], rule.prefix);
      return this.#dependencies.openArchive(name, this.#rules, this.#defaultPrefix);
    } catch (error) {
      this.#dependencies.openFailed(name, error);
      return null;
    }
  }
}
