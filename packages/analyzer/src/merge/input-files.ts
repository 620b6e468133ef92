/**
 * The files behind a list of paths: a file is itself, a directory is every capture below it. In a collector's archive the directory of a segment is
 * its sensor; anywhere else all files together are what one sensor saw.
 */
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { isCaptureName } from '../tail/capture-name.ts';

export interface InputFile {
  readonly path: string;
  readonly sensor: string;
  /** 0 for a stream. */
  readonly bytes: number;
}

/** A PCAP-over-IP server: `tcp://host:57012`. */
const STREAM = /^tcp:\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/;
/** A path that means stdin. */
const STDIN = '-';

/** Sorted by path. Throws CAPTURE_FAILED for a path that is not there, or a directory without captures. */
export function inputFiles(paths: readonly string[]): InputFile[] {
  return paths.flatMap((path) => {
    if (path === STDIN || isStream(path)) return [{ path, sensor: '.', bytes: 0 }];
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) throw new OperatingError('CAPTURE_FAILED', `no such file or directory: ${path}`, { path }); // prettier-ignore
    if (!stat.isDirectory()) return [{ path, sensor: '.', bytes: stat.size }];
    const files = capturesIn(path);
    if (files.length === 0) throw new OperatingError('CAPTURE_FAILED', `no captures (.pcap, .pcapng, .cap, also .gz .zst .lz4) in ${path}`, { path }); // prettier-ignore
    return files;
  });
}

function capturesIn(directory: string): InputFile[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && isCaptureName(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => ({ path, sensor: sensorOf(directory, path), bytes: statSync(path).size }));
}

function sensorOf(directory: string, path: string): string {
  const folder = dirname(path);
  const isSegment = parseSegmentName(basename(path).replace(/\.(gz|zst)$/, '')) !== null;
  return isSegment && folder !== directory && dirname(folder) === directory ? basename(folder) : '.';
}

/** Whether the path names a PCAP-over-IP server. */
export function isStream(path: string): boolean {
  return STREAM.test(path);
}

/** Calls the server. Throws CAPTURE_FAILED when nobody answers. */
export async function openStream(path: string): Promise<Socket> {
  const match = STREAM.exec(path);
  const socket = connect({ host: match?.[1] ?? match?.[2] ?? '', port: Number(match?.[3]) });
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw new OperatingError('CAPTURE_FAILED', `cannot connect to ${path}: ${messageOf(error)}`, { path }, error); // prettier-ignore
  }
  return socket;
}
