/**
 * ONC RPC (RFC 5531), big-endian: which program of a Unix host is called, with which procedure. Over UDP a datagram is a message; over TCP a record is, behind four bytes:
 *
 *   the highest bit: last fragment   length of what follows (31 bits)
 *   0 transaction (4)   4 kind (4): 0 call, 1 reply
 *   call: 8 version of RPC = 2 (4)   12 program (4)   16 its version (4)   20 procedure (4)   24 credential, verifier: each kind (4), length (4), bytes; arguments
 *   reply: 8 accepted = 0, denied = 1 (4)   accepted: verifier   status (4)   results         denied: reason (4)
 *
 * Programs live on ports that are drawn at each start, and the port mapper (program 100000, port 111) knows them: a call is known on any port by its shape and its
 * program's number. Of arguments that only read which program is asked for, and which path or name; of files nothing. Arguments that no program asks for are facts: `overlong`,
 * `sled`, `format-string`, `shell-path`.
 */
import { be32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Memory,
  type Sink,
} from './dissector.ts';
import { isFormatString, repeatedWordBytes } from './oddity.ts';

const MARK_BYTES = 4;
const CALL_BYTES_MIN = 40;
const REPLY_BYTES_MIN = 12;
/** NFS sends a megabyte at a time. */
const RECORD_BYTES_MAX = 8 * 1024 * 1024;
/** RFC 5531, 8.2: no credential is longer. */
const CREDENTIAL_BYTES_MAX = 400;
/** RFC 1813 (MNTPATHLEN) and X/Open XNFS (SM_MAXSTRLEN). */
const STRING_BYTES_MAX = 1024;
const ARGUMENT_BYTES_MAX = 8192;
const VERSION_MAX = 16;
const PROCEDURE_MAX = 512;
/** Calls waiting for their replies, as [transaction, program, version, procedure, program that is asked for]. */
const PENDING_FIELDS = 5;
const PENDING_MAX = 12 * PENDING_FIELDS;

const PORTMAP = 100_000;
const NFS = 100_003;
const MOUNT = 100_005;
const STATUS = 100_024;

/** Names of programs; those of the lists of RFC 5531's registry that are met on networks. */
const PROGRAMS: ReadonlyMap<number, string> = new Map([
  [PORTMAP, 'portmap'],
  [100_001, 'rstatd'],
  [100_002, 'rusersd'],
  [NFS, 'nfs'],
  [100_004, 'ypserv'],
  [MOUNT, 'mount'],
  [100_007, 'ypbind'],
  [100_008, 'walld'],
  [100_009, 'yppasswdd'],
  [100_011, 'rquotad'],
  [100_012, 'sprayd'],
  [100_017, 'rexd'],
  [100_020, 'llockmgr'],
  [100_021, 'nlockmgr'],
  [STATUS, 'status'],
  [100_026, 'bootparam'],
  [100_028, 'ypupdated'],
  [100_068, 'cmsd'],
  [100_069, 'ypxfrd'],
  [100_083, 'ttdbserver'],
  [100_099, 'autofs'],
  [100_227, 'nfs-acl'],
  [100_232, 'sadmind'],
  [100_235, 'cachefsd'],
  [100_249, 'snmpxdmid'],
  [100_300, 'nisd'],
  [150_001, 'pcnfsd'],
  [300_019, 'amd'],
  [391_002, 'fam'],
]);
/** Programs whose arguments are files and file handles: any bytes. */
const CARRIERS: ReadonlySet<number> = new Set([NFS, 100_021, 100_227]);

/** `program:procedure`, for version 3 of NFS `nfs3:procedure`. */
const PROCEDURES: Readonly<Record<string, readonly (string | null)[]>> = {
  portmap: ['null', 'set', 'unset', 'getport', 'dump', 'callit'],
  mount: ['null', 'mnt', 'dump', 'umnt', 'umntall', 'export', 'exportall'],
  status: ['null', 'stat', 'mon', 'unmon', 'unmon-all', 'simu-crash', 'notify'],
  nfs: ['null', 'getattr', 'setattr', 'root', 'lookup', 'readlink', 'read', 'writecache', 'write', 'create', 'remove', 'rename', 'link', 'symlink', 'mkdir', 'rmdir', 'readdir', 'statfs'],
  nfs3: ['null', 'getattr', 'setattr', 'lookup', 'access', 'readlink', 'read', 'write', 'create', 'mkdir', 'symlink', 'mknod', 'remove', 'rmdir', 'rename', 'link', 'readdir', 'readdirplus', 'fsstat', 'fsinfo', 'pathconf', 'commit'],
  nfs4: ['null', 'compound'],
}; // prettier-ignore

const ACTIONS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['portmap:dump', 'discover'],
  ['portmap:getport', 'discover'],
  ['portmap:set', 'control'],
  ['portmap:unset', 'control'],
  ['portmap:callit', 'other'],
  ['mount:export', 'discover'],
  ['mount:exportall', 'discover'],
  ['mount:dump', 'discover'],
  ['mount:mnt', 'session'],
  ['mount:umnt', 'session'],
  ['nfs:read', 'file'],
  ['nfs:write', 'file'],
  ['nfs:create', 'file'],
  ['nfs:remove', 'file'],
  ['nfs:rename', 'file'],
  ['nfs:readdir', 'file'],
  ['nfs:readdirplus', 'file'],
]);

const REFUSALS: readonly string[] = ['', 'no-such-program', 'version-mismatch', 'no-such-procedure', 'garbage-arguments', 'system-error']; // prettier-ignore
const SHELL_PATH = /\/bin\/(?:[kc]|ba)?sh\b/;

const operation = createOperation('rpc');

export const rpc: Dissector = {
  name: 'rpc',
  tcpPorts: [],
  udpPorts: [111],
  etherTypes: [],
  looksLikeDatagram: isCall,

  dissect({ bytes, at, end, memory }, sink) {
    dissectMessage(bytes, at, end, memory, sink);
  },
};

export const rpcOverTcp: Dissector = {
  name: 'rpc',
  tcpPorts: [111, 2049],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < MARK_BYTES) return NEED_MORE;
    const length = be32(bytes, at) & 0x7fff_ffff;
    return length < REPLY_BYTES_MIN || length > RECORD_BYTES_MAX ? NOT_OURS : MARK_BYTES + length;
  },

  looksLike(bytes, at, end) {
    return end - at >= MARK_BYTES + CALL_BYTES_MIN && (bytes[at] as number) >= 0x80 && isCall(bytes, at + MARK_BYTES, end); // prettier-ignore
  },

  dissect({ bytes, at, end, memory }, sink) {
    dissectMessage(bytes, at + MARK_BYTES, end, memory, sink);
  },
};

/** Whether the payload of a segment or datagram begins with a call. Its sender is a client, also where it uses a port of the kind that servers have, as NFS asks of it. */
export function isRpcCall(bytes: Uint8Array, at: number, end: number, isTcp: boolean): boolean {
  return isCall(bytes, isTcp ? at + MARK_BYTES : at, end);
}

/** Strict: kind, version of RPC, a program that is known, and credential and verifier of kinds and lengths that there are. */
function isCall(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < CALL_BYTES_MIN || be32(bytes, at + 4) !== 0 || be32(bytes, at + 8) !== 2) return false;
  return PROGRAMS.has(be32(bytes, at + 12)) && be32(bytes, at + 16) <= VERSION_MAX && be32(bytes, at + 20) <= PROCEDURE_MAX && be32(bytes, at + 24) <= 6; // prettier-ignore
}

function dissectMessage(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  if (end - at < REPLY_BYTES_MIN) return;
  const kind = be32(bytes, at + 4);
  // What is neither is the rest of a record that came in several fragments.
  if (kind === 0 && end - at >= CALL_BYTES_MIN && be32(bytes, at + 8) === 2)
    call(bytes, at, end, memory, sink); // prettier-ignore
  else if (kind === 1) reply(bytes, at, end, memory, sink);
}

function call(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  const [program, version, procedure] = [be32(bytes, at + 12), be32(bytes, at + 16), be32(bytes, at + 20)];
  resetOperation(operation);
  name(program, version, procedure);
  const credentialBytes = be32(bytes, at + 28);
  if (credentialBytes > CREDENTIAL_BYTES_MAX) sink.violation('credential longer than it may be');
  const arguments_ = behindOpaque(bytes, behindOpaque(bytes, at + 24, end), end);
  let asked = 0;
  if (arguments_ !== -1 && PROGRAMS.has(program) && !CARRIERS.has(program)) asked = read(bytes, arguments_, end, program, procedure, sink); // prettier-ignore
  const pending = (memory['rpcPending'] ??= []) as number[];
  if (pending.length >= PENDING_MAX) pending.splice(0, PENDING_FIELDS);
  pending.push(be32(bytes, at), program, version, procedure, asked);
  sink.operation(operation);
}

function reply(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  const pending = (memory['rpcPending'] ?? []) as number[];
  const transaction = be32(bytes, at);
  for (let i = 0; i < pending.length; i += PENDING_FIELDS) {
    if (pending[i] !== transaction) continue;
    const [, program = 0, version = 0, procedure = 0, asked = 0] = pending.splice(i, PENDING_FIELDS);
    resetOperation(operation);
    name(program, version, procedure);
    operation.isResponse = true;
    if (asked !== 0) operation.object = programName(asked);
    answer(bytes, at, end);
    sink.operation(operation);
    return;
  }
}

/** Status, and the port that was asked for. */
function answer(bytes: Uint8Array, at: number, end: number): void {
  if (be32(bytes, at + 8) !== 0) {
    operation.exception = 'denied';
    return;
  }
  const status = behindOpaque(bytes, at + 12, end);
  if (status === -1 || status + 4 > end) return;
  const code = be32(bytes, status);
  if (code !== 0) operation.exception = REFUSALS[code] ?? `status-${code}`;
  else if (operation.name === 'portmap:getport' && status + 8 === end) {
    operation.value = be32(bytes, status + 4);
    if (operation.value === 0) operation.exception = 'not-registered';
  }
}

function programName(program: number): string {
  return PROGRAMS.get(program) ?? String(program);
}

function name(program: number, version: number, procedure: number): void {
  const known = programName(program);
  const list = PROCEDURES[program === NFS && version >= 3 ? `nfs${Math.min(version, 4)}` : known];
  operation.name = `${known}:${list?.[procedure] ?? procedure}`;
  operation.action = ACTIONS.get(operation.name) ?? 'other';
  operation.code = procedure;
}

/** Behind kind, length and bytes (filled up to four) that begin at `at`; -1 where they do not fit. */
function behindOpaque(bytes: Uint8Array, at: number, end: number): number {
  if (at === -1 || at + 8 > end) return -1;
  const next = at + 8 + ((be32(bytes, at + 4) + 3) & ~3);
  return next > end || next < at + 8 ? -1 : next;
}

/** What is asked of the smaller programs; the program that the port mapper is asked for, else 0. */
function read(
  bytes: Uint8Array,
  at: number,
  end: number,
  program: number,
  procedure: number,
  sink: Sink,
): number {
  // prettier-ignore
  let asked = 0;
  if (program === PORTMAP && procedure >= 1 && procedure <= 5 && procedure !== 4 && end - at >= 12) {
    asked = be32(bytes, at);
    // Versions 3 and 4 say the same; of RPCB_SET and its kind the address follows.
    operation.object = programName(asked);
  } else if ((program === MOUNT || program === STATUS) && end - at >= 4) {
    const length = be32(bytes, at);
    const isNamed = procedure !== 0 && !(program === MOUNT && (procedure === 2 || procedure > 3));
    if (isNamed) {
      operation.object = text(bytes, at + 4, Math.min(end, at + 4 + length), OBJECT_CHARACTERS_MAX);
      if (length > STRING_BYTES_MAX && end - at > STRING_BYTES_MAX) sink.fact('overlong', `${operation.name} with a name of ${length} bytes`); // prettier-ignore
    }
  }
  const last = Math.min(end, at + ARGUMENT_BYTES_MAX);
  if (last - at < 16) return asked;
  const words = last - at >= 96 ? repeatedWordBytes(bytes, at, last) : 0;
  if (words > 0) sink.fact('sled', `${words} bytes of one word in the arguments of ${operation.name}`);
  const argument = text(bytes, at, last, ARGUMENT_BYTES_MAX);
  if (isFormatString(argument)) sink.fact('format-string', operation.name);
  if (program !== PORTMAP && SHELL_PATH.test(argument)) sink.fact('shell-path', operation.name);
  return asked;
}
