/**
 * The one door to the file system for what stores packets. Everything behind it takes a `Files`, so a test can hand in
 * a disk that is full, writes short or fails, and production hands in `systemFiles`.
 *
 * Descriptors are plain numbers. Calls that answer at once are synchronous on purpose: a `write` of a large buffer into
 * the page cache costs less than the round trip through libuv's thread pool; only the calls that wait for the disk
 * itself (`sync`, `syncDirectory`) are asynchronous. All but the documented cases throw Node's error with its `code`.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import koffi from 'koffi';

/** Captures hold what people typed: readable by the owner and the archive's group, nobody else. */
const FILE_MODE = 0o640;
const DIRECTORY_MODE = 0o750;

/** flock(2): exclusive, and refuse instead of waiting. */
const LOCK_EXCLUSIVE_NOW = 2 | 4;

export interface FileStatus {
  readonly bytes: number;
  /** Wall time of the file system, milliseconds since 1970. */
  readonly modifiedAtMs: number;
}

export interface Files {
  /** Creates the directory and its parents; fine when it is there. */
  makeDirectory(path: string): void;
  /** Names in a directory, in no order. */
  list(directory: string): string[];
  exists(path: string): boolean;
  /** `null` when there is no such file. */
  status(path: string): FileStatus | null;
  /** A new empty file for reading and writing; throws EEXIST when the name is taken. */
  create(path: string): number;
  /** An existing file for reading and writing; throws ENOENT when there is none. Symbolic links are refused (ELOOP). */
  open(path: string): number;
  byteLength(descriptor: number): number;
  /** Reads up to `byteCount` bytes from `position` into `bytes` at `offset`; returns how many, 0 at the end. */
  read(descriptor: number, bytes: Uint8Array, offset: number, byteCount: number, position: number): number;
  /** Writes at `position`; returns how many bytes were taken, which may be fewer than `byteCount`. */
  write(descriptor: number, bytes: Uint8Array, offset: number, byteCount: number, position: number): number;
  truncate(descriptor: number, byteLength: number): void;
  close(descriptor: number): void;
  remove(path: string): void;
  /** Takes an empty directory away. */
  removeDirectory(path: string): void;
  /** Moves a file; whatever stood under the new name is replaced. */
  rename(from: string, to: string): void;
  /** Gives the file at `hidden` the name `visible` and takes the first away; false, changing nothing, when taken. */
  publish(hidden: string, visible: string): boolean;
  /**
   * Opens or creates `path` and takes an exclusive flock(2) on it, which the kernel gives up when the process dies
   * however it dies. Returns its descriptor, or -1 when another holder has it (another process, or this one).
   */
  lock(path: string): number;
  /** The file's bytes are on the disk when this resolves. A file that is gone has nothing to lose: resolves. */
  sync(path: string): Promise<void>;
  /** The directory's names are on the disk when this resolves. */
  syncDirectory(path: string): Promise<void>;
  /** How many descriptors this process may have (soft RLIMIT_NOFILE). */
  descriptorsMax(): number;
  /** Changes with every boot of the machine; empty where the system does not say. */
  bootId(): string;
}

/** The errno name of anything a `Files` call threw, e.g. `ENOSPC`; empty when it has none. */
export function errnoOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

let flock: ((descriptor: number, operation: number) => number) | null = null;

/** Loaded at the first lock: whoever only reads files does not pay for the foreign-function library. */
function takeFlock(descriptor: number): boolean {
  flock ??= koffi.load(null).func('int flock(int descriptor, int operation)') as unknown as (
    descriptor: number,
    operation: number,
  ) => number;
  return flock(descriptor, LOCK_EXCLUSIVE_NOW) === 0;
}

async function syncPath(path: string, flags: number): Promise<void> {
  // A descriptor of its own: the archive's may be closed by its descriptor limit while the disk is still busy.
  let handle;
  try {
    handle = await open(path, flags);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    if ((flags & constants.O_DIRECTORY) !== 0) await handle.sync();
    else await handle.datasync();
  } finally {
    await handle.close();
  }
}

function readTextOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** The real disk. */
export const systemFiles: Files = {
  makeDirectory: (path) => void mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE }),
  list: (directory) => readdirSync(directory),
  exists: (path) => existsSync(path),
  status(path) {
    const status = statSync(path, { throwIfNoEntry: false });
    return status === undefined ? null : { bytes: status.size, modifiedAtMs: status.mtimeMs };
  },
  create: (path) => openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, FILE_MODE),
  open: (path) => openSync(path, constants.O_RDWR | constants.O_NOFOLLOW),
  byteLength: (descriptor) => fstatSync(descriptor).size,
  read: (descriptor, bytes, offset, byteCount, position) =>
    readSync(descriptor, bytes, offset, byteCount, position),
  write: (descriptor, bytes, offset, byteCount, position) =>
    writeSync(descriptor, bytes, offset, byteCount, position),
  truncate: (descriptor, byteLength) => {
    ftruncateSync(descriptor, byteLength);
  },
  close: (descriptor) => {
    closeSync(descriptor);
  },
  remove: (path) => {
    unlinkSync(path);
  },
  removeDirectory: (path) => {
    rmdirSync(path);
  },
  rename: (from, to) => {
    renameSync(from, to);
  },
  publish(hidden, visible) {
    try {
      linkSync(hidden, visible);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EEXIST') return false;
      // File systems without hard links (FAT, some network mounts): look, then move.
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw error;
      if (existsSync(visible)) return false;
      renameSync(hidden, visible);
      return true;
    }
    unlinkSync(hidden);
    return true;
  },
  lock(path) {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const descriptor = openSync(path, flags, FILE_MODE);
    if (takeFlock(descriptor)) return descriptor;
    closeSync(descriptor);
    return -1;
  },
  sync: (path) => syncPath(path, constants.O_RDONLY),
  syncDirectory: (path) => syncPath(path, constants.O_RDONLY | constants.O_DIRECTORY),
  descriptorsMax() {
    const limit = /^Max open files\s+(\d+)/m.exec(readTextOrEmpty('/proc/self/limits'))?.[1];
    return limit === undefined ? 1024 : Number(limit);
  },
  bootId: () => readTextOrEmpty('/proc/sys/kernel/random/boot_id').trim(),
};
