/**
 * What the archive's tests build and read with: frames by hand, batches of them, a reader of segments that shares no
 * code with the writer, a clock that stands still, and a disk that misbehaves on command.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchBuilder } from '../packet/batch.ts';
import type { Batch } from '../packet/batch.ts';
import { LINKTYPE_ETHERNET } from '../packet/link-type.ts';
import { systemFiles } from '../system/files.ts';
import type { Files } from '../system/files.ts';
import { Archive } from './archive.ts';
import { unaccountedPackets } from './archive-options.ts';
import type { ArchiveClock, ArchiveDependencies, ArchiveEvents, ArchiveOptions } from './archive-options.ts';

/** 2026-01-01 00:00:00 UTC. */
export const NEW_YEAR = 1_767_225_600;

export interface TestPacket {
  readonly seconds: number;
  readonly nanoseconds?: number;
  readonly frame: Uint8Array;
  /** Length on the wire; the frame's own by default. */
  readonly originalBytes?: number;
}

export function batchOf(packets: readonly TestPacket[], linkType = LINKTYPE_ETHERNET): Batch {
  const bytes = packets.reduce((sum, packet) => sum + 16 + packet.frame.length, 0);
  const builder = new BatchBuilder(linkType, 0, new Uint8Array(Math.max(bytes, 300_000)));
  for (const { seconds, nanoseconds = 0, frame, originalBytes = frame.length } of packets)
    builder.append(seconds, nanoseconds, originalBytes, frame, 0, frame.length);
  return builder.take();
}

export function ipv4Packet(
  source: string,
  destination: string,
  payload: Uint8Array = new Uint8Array(8),
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[8] = 64;
  header[9] = 17;
  header.set(source.split('.').map(Number), 12);
  header.set(destination.split('.').map(Number), 16);
  return Buffer.concat([header, payload]);
}

/** `source` and `destination` as 32 hexadecimal digits. */
export function ipv6Packet(
  source: string,
  destination: string,
  payload: Uint8Array = new Uint8Array(8),
): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = 17;
  header[7] = 64;
  return Buffer.concat([header, Buffer.from(source, 'hex'), Buffer.from(destination, 'hex'), payload]);
}

export interface EthernetExtras {
  readonly sourceMac?: string;
  readonly vlan?: number;
  readonly padding?: number;
}

export function ethernet(etherType: number, payload: Uint8Array, extras: EthernetExtras = {}): Buffer {
  const { sourceMac = '02:00:00:00:00:01', vlan, padding = 0 } = extras;
  const tag = Buffer.alloc(vlan === undefined ? 2 : 6);
  if (vlan !== undefined) {
    tag.writeUInt16BE(0x8100, 0);
    tag.writeUInt16BE(vlan, 2);
  }
  tag.writeUInt16BE(etherType, tag.length - 2);
  const macs = Buffer.from(`ffffffffffff${sourceMac.replaceAll(':', '')}`, 'hex');
  return Buffer.concat([macs, tag, payload, Buffer.alloc(padding)]);
}

export function ipv4Frame(source: string, destination: string, extras: EthernetExtras = {}): Buffer {
  return ethernet(0x0800, ipv4Packet(source, destination), extras);
}

export interface StoredRecord {
  readonly seconds: number;
  readonly fraction: number;
  readonly originalBytes: number;
  readonly frame: string;
}

export interface StoredSegment {
  readonly linkType: number;
  readonly precision: 'ns' | 'us';
  readonly records: StoredRecord[];
}

/** Reads a segment strictly: a torn tail, an odd header or an empty file is an error. */
export function readSegment(path: string): StoredSegment {
  const bytes = readFileSync(path);
  const magic = bytes.readUInt32LE(0);
  if (magic !== 0xa1b23c4d && magic !== 0xa1b2c3d4) throw new Error(`${path}: not a PCAP file`);
  const records: StoredRecord[] = [];
  let offset = 24;
  while (offset < bytes.length) {
    const end = offset + 16 + bytes.readUInt32LE(offset + 8);
    if (end > bytes.length) throw new Error(`${path}: torn at ${offset}`);
    records.push({
      seconds: bytes.readUInt32LE(offset),
      fraction: bytes.readUInt32LE(offset + 4),
      originalBytes: bytes.readUInt32LE(offset + 12),
      frame: bytes.toString('hex', offset + 16, end),
    });
    offset = end;
  }
  if (records.length === 0) throw new Error(`${path}: empty`);
  return { linkType: bytes.readUInt32LE(20), precision: magic === 0xa1b23c4d ? 'ns' : 'us', records };
}

/** Every visible segment of a directory, by name. */
export function readArchive(directory: string): Map<string, StoredSegment> {
  const names = readdirSync(directory).filter((name) => name.endsWith('.pcap'));
  return new Map(names.sort().map((name) => [name, readSegment(join(directory, name))]));
}

/** Name → number of packets. */
export function packetsByName(directory: string): Record<string, number> {
  return Object.fromEntries([...readArchive(directory)].map(([name, { records }]) => [name, records.length]));
}

/** A clock that moves when told, and whose timers fire when told. */
export class ManualClock implements ArchiveClock {
  nowMs = 1_000_000;
  nowWallMs = NEW_YEAR * 1000;
  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return this.nowWallMs;
  }
  every(): () => void {
    return () => undefined;
  }
  pass(ms: number): void {
    this.nowMs += ms;
    this.nowWallMs += ms;
  }
}

/** The real disk, with a say in every write: how many of the bytes it takes, or an error to throw. */
export class UnreliableFiles {
  /** Returns how many bytes to take (more than asked: all). Throws to refuse. */
  onWrite: (byteCount: number) => number = () => Infinity;
  onTruncate: () => void = () => undefined;
  onCreate: () => void = () => undefined;
  openDescriptors = 0;
  openDescriptorsMax = 0;
  readonly files: Files = {
    ...systemFiles,
    create: (path) => {
      this.onCreate();
      return this.#opened(systemFiles.create(path));
    },
    open: (path) => this.#opened(systemFiles.open(path)),
    lock: (path) => this.#opened(systemFiles.lock(path)),
    close: (descriptor) => {
      this.openDescriptors--;
      systemFiles.close(descriptor);
    },
    write: (descriptor, bytes, offset, byteCount, position) => {
      const taken = Math.min(byteCount, this.onWrite(byteCount));
      return taken === 0 ? 0 : systemFiles.write(descriptor, bytes, offset, taken, position);
    },
    truncate: (descriptor, byteLength) => {
      this.onTruncate();
      systemFiles.truncate(descriptor, byteLength);
    },
  };

  #opened(descriptor: number): number {
    // A lock that another holds has no descriptor.
    if (descriptor >= 0) this.openDescriptorsMax = Math.max(this.openDescriptorsMax, ++this.openDescriptors);
    return descriptor;
  }
}

export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: the test says so`), { code });
}

/** Every event, as `name details`, in order. */
export function recordEvents(): { events: ArchiveEvents; log: [string, unknown][] } {
  const log: [string, unknown][] = [];
  const note =
    (name: string) =>
    (details: unknown): void =>
      void log.push([name, details]);
  const names = [
    'segmentOpened',
    'segmentClosed',
    'segmentRepaired',
    'segmentSetAside',
    'writeFailed',
    'recovered',
    'sourcesExhausted',
  ] as const;
  return { events: Object.fromEntries(names.map((name) => [name, note(name)])), log };
}

const directories: string[] = [];

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-archive-'));
  directories.push(directory);
  return directory;
}

/** For `afterEach`. */
export function removeTemporaryDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** An open archive with everything left at its most usual. */
export function openArchive(
  directory: string,
  options: Partial<ArchiveOptions> = {},
  dependencies: Partial<ArchiveDependencies> = {},
): Archive {
  const archive = new Archive(
    { directory, linkType: 'ethernet', precision: 'ns', rules: [], ...options },
    { files: systemFiles, events: {}, clock: new ManualClock(), ...dependencies },
  );
  archive.open();
  return archive;
}

/** 0, always. */
export function imbalance({ counters }: Archive): number {
  return unaccountedPackets(counters);
}
