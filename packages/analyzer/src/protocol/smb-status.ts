/** What SMB servers answer with, and what SMB 1 and SMB 2 remember of a conversation alike. */
import { hex, le32 } from './byte-reader.ts';
import type { Memory, Operation, Sink } from './dissector.ts';
import { dissectDcerpc, isHeader } from './dcerpc.ts';

const STATUSES: ReadonlyMap<number, string> = new Map([
  [0xc000_0002, 'not-implemented'],
  [0xc000_0008, 'invalid-handle'],
  [0xc000_000d, 'invalid-parameter'],
  [0xc000_000f, 'no-such-file'],
  [0xc000_0010, 'invalid-device-request'],
  [0xc000_0011, 'end-of-file'],
  [0xc000_0022, 'access-denied'],
  [0xc000_0033, 'name-invalid'],
  [0xc000_0034, 'not-found'],
  [0xc000_0035, 'name-collision'],
  [0xc000_003a, 'path-not-found'],
  [0xc000_0043, 'sharing-violation'],
  [0xc000_0064, 'no-such-user'],
  [0xc000_006a, 'wrong-password'],
  [0xc000_006d, 'logon-failure'],
  [0xc000_006e, 'account-restriction'],
  [0xc000_0071, 'password-expired'],
  [0xc000_0072, 'account-disabled'],
  [0xc000_00ac, 'pipe-not-available'],
  [0xc000_00ba, 'file-is-a-directory'],
  [0xc000_00bb, 'not-supported'],
  [0xc000_00cc, 'bad-network-name'],
  [0xc000_0103, 'not-a-directory'],
  [0xc000_0120, 'cancelled'],
  [0xc000_014b, 'pipe-broken'],
  [0xc000_015b, 'logon-type-not-granted'],
  [0xc000_019c, 'fs-driver-required'],
  [0xc000_0203, 'user-session-deleted'],
  [0xc000_0205, 'insufficient-server-resources'],
  [0xc000_0225, 'not-found'],
  [0xc000_0234, 'account-locked'],
  [0xc000_0257, 'path-not-covered'],
]);

const MORE_PROCESSING_REQUIRED = 0xc000_0016;

/** '' for success, for what is only information or a warning, and for the middle of a logon. */
export function statusName(status: number): string {
  if (status < 0xc000_0000 || status === MORE_PROCESSING_REQUIRED) return '';
  return STATUSES.get(status) ?? hex(status, 8);
}

/** Which file the answer to a message is about, as [message, file] two by two. */
const PENDING_NUMBERS_MAX = 2 * 16;

export function rememberFile(memory: Memory, message: number, file: number): void {
  const pending = (memory['fileOf'] ??= []) as number[];
  if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 2);
  pending.push(message, file);
}

/** -1 where the request was not seen. */
export function recallFile(memory: Memory, message: number): number {
  const pending = (memory['fileOf'] ?? []) as number[];
  for (let i = 0; i < pending.length; i += 2) {
    if (pending[i] !== message) continue;
    const file = pending[i + 1] as number;
    pending.splice(i, 2);
    return file;
  }
  return -1;
}

/** Reads what goes through a named pipe, when it is DCE/RPC; `out` tells the SMB command before and is filled anew. */
export function throughPipe(
  bytes: Uint8Array,
  at: number,
  end: number,
  memory: Memory,
  file: number,
  out: Operation,
  sink: Sink,
): void {
  if (!isHeader(bytes, at, end)) return;
  out.isResponse = false;
  out.count = 0;
  out.value = NaN;
  out.exception = '';
  dissectDcerpc(bytes, at, end, memory, file, out, sink);
}

/** SMB 1 can answer with the two numbers of DOS instead of a status. */
export function dosStatus(bytes: Uint8Array, at: number): string {
  const value = le32(bytes, at);
  return value === 0 ? '' : `dos-${value & 0xff}-${value >>> 16}`;
}
