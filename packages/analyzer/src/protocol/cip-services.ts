/** What the service codes of CIP are called and do, by the class they are sent to, and those of PCCC that travel inside. */
import { hex } from './byte-reader.ts';
import type { Action, Operation } from './dissector.ts';

export const CLASS_MANAGER = 0x06;
const CLASS_FILE = 0x37;
export const CLASS_PCCC = 0x67;
const CLASS_TEMPLATE = 0x6c;
const CLASS_CLOCK = 0x8b;
/** Programs, tasks, routines and types of a controller, and its firmware: who writes there changes the logic. */
const PROGRAM_CLASSES: ReadonlySet<number> = new Set([0x68, 0x69, 0x6a, 0x6c, 0x6d, 0x6e, 0x70, 0xa1]);

type Services = ReadonlyMap<number, readonly [string, Action]>;
const COMMON: Services = new Map([
  [0x01, ['get-attributes-all', 'read']],
  [0x02, ['set-attributes-all', 'write']],
  [0x03, ['get-attribute-list', 'read']],
  [0x04, ['set-attribute-list', 'write']],
  [0x05, ['reset', 'control']],
  [0x06, ['start', 'control']],
  [0x07, ['stop', 'control']],
  [0x08, ['create', 'write']],
  [0x09, ['delete', 'write']],
  [0x0a, ['multiple-service-packet', 'other']],
  [0x0d, ['apply-attributes', 'write']],
  [0x0e, ['get-attribute-single', 'read']],
  [0x10, ['set-attribute-single', 'write']],
  [0x11, ['find-next-object-instance', 'read']],
  [0x15, ['restore', 'write']],
  [0x16, ['save', 'write']],
  [0x17, ['no-operation', 'other']],
  [0x18, ['get-member', 'read']],
  [0x19, ['set-member', 'write']],
  [0x1a, ['insert-member', 'write']],
  [0x1b, ['remove-member', 'write']],
  [0x1c, ['group-sync', 'control']],
  [0x4c, ['read-tag', 'read']],
  [0x4d, ['write-tag', 'write']],
  [0x4e, ['read-modify-write-tag', 'write']],
  [0x52, ['read-tag-fragmented', 'read']],
  [0x53, ['write-tag-fragmented', 'write']],
  [0x54, ['forward-open', 'session']],
  [0x55, ['get-instance-attribute-list', 'read']],
  [0x5b, ['large-forward-open', 'session']],
] as const); // prettier-ignore
const OF_MANAGER: Services = new Map([
  [0x4e, ['forward-close', 'session']],
  [0x52, ['unconnected-send', 'other']],
  [0x56, ['get-connection-data', 'read']],
  [0x57, ['search-connection-data', 'read']],
  [0x5a, ['get-connection-owner', 'read']],
] as const); // prettier-ignore
const OF_FILE: Services = new Map([
  [0x4b, ['initiate-upload', 'file']],
  [0x4c, ['initiate-download', 'file']],
  [0x4d, ['initiate-partial-read', 'file']],
  [0x4e, ['initiate-partial-write', 'file']],
  [0x4f, ['upload-transfer', 'file']],
  [0x50, ['download-transfer', 'file']],
  [0x51, ['clear-file', 'file']],
] as const); // prettier-ignore
/** PCCC by command and function; of the commands below 0x06 and of 0x08 the function does not exist. */
export const PCCC: Services = new Map([
  [0x0000, ['pccc-protected-write', 'write']],
  [0x0100, ['pccc-unprotected-read', 'read']],
  [0x0200, ['pccc-protected-bit-write', 'write']],
  [0x0500, ['pccc-unprotected-bit-write', 'write']],
  [0x0600, ['pccc-echo', 'other']],
  [0x0603, ['pccc-diagnostic-status', 'read']],
  [0x0800, ['pccc-unprotected-write', 'write']],
  [0x0f00, ['pccc-word-range-write', 'write']],
  [0x0f01, ['pccc-word-range-read', 'read']],
  [0x0f02, ['pccc-bit-write', 'write']],
  [0x0f11, ['pccc-get-edit-resource', 'program']],
  [0x0f12, ['pccc-return-edit-resource', 'program']],
  [0x0f17, ['pccc-read-bytes-physical', 'read']],
  [0x0f18, ['pccc-write-bytes-physical', 'program']],
  [0x0f26, ['pccc-read-modify-write', 'write']],
  [0x0f29, ['pccc-read-section-size', 'read']],
  [0x0f3a, ['pccc-set-cpu-mode', 'control']],
  [0x0f41, ['pccc-disable-forces', 'control']],
  [0x0f50, ['pccc-download-all-request', 'program']],
  [0x0f52, ['pccc-download-completed', 'program']],
  [0x0f53, ['pccc-upload-all-request', 'file']],
  [0x0f55, ['pccc-upload-completed', 'file']],
  [0x0f57, ['pccc-initialize-memory', 'program']],
  [0x0f67, ['pccc-typed-write', 'write']],
  [0x0f68, ['pccc-typed-read', 'read']],
  [0x0f80, ['pccc-change-mode', 'control']],
  [0x0f81, ['pccc-open-file', 'file']],
  [0x0f82, ['pccc-close-file', 'file']],
  [0x0f88, ['pccc-execute-multiple-commands', 'program']],
  [0x0f8f, ['pccc-apply-port-configuration', 'control']],
  [0x0fa1, ['pccc-protected-typed-logical-read-2', 'read']],
  [0x0fa2, ['pccc-protected-typed-logical-read-3', 'read']],
  [0x0fa7, ['pccc-protected-typed-file-read', 'file']],
  [0x0fa9, ['pccc-protected-typed-logical-write-2', 'write']],
  [0x0faa, ['pccc-protected-typed-logical-write-3', 'write']],
  [0x0fab, ['pccc-protected-typed-logical-write-masked', 'write']],
  [0x0faf, ['pccc-protected-typed-file-write', 'program']],
] as const); // prettier-ignore
/** Letters of the data files of a PLC, by type. */
export const FILE_LETTERS: ReadonlyMap<number, string> = new Map([[0x82, 'O'], [0x83, 'I'], [0x84, 'S'], [0x85, 'B'], [0x86, 'T'], [0x87, 'C'], [0x88, 'R'], [0x89, 'N'], [0x8a, 'F'], [0x8d, 'ST'], [0x8e, 'A'], [0x91, 'L']]); // prettier-ignore

/** Names `operation` by its code. `classId` is -1 where the message does not say it. */
export function nameService(operation: Operation, classId: number, isSymbolic: boolean): void {
  const { code } = operation;
  const known =
    (classId === CLASS_MANAGER ? OF_MANAGER : classId === CLASS_FILE ? OF_FILE : COMMON).get(code) ??
    (code < 0x4b || classId === CLASS_MANAGER ? COMMON.get(code) : undefined);
  operation.name = known?.[0] ?? `service-${hex(code)}`;
  operation.action = known?.[1] ?? 'other';
  if (classId === CLASS_TEMPLATE && code === 0x4c) operation.name = 'read-template';
  else if (classId === CLASS_CLOCK && operation.action === 'write') operation.action = 'control';
  else if (PROGRAM_CLASSES.has(classId) && !isSymbolic) {
    // There tags do not exist: what is no common service is one of the class's own.
    if (code >= 0x4b && code !== 0x55) operation.name = `service-${hex(code)}`;
    if (operation.action === 'write' || (code >= 0x4b && code !== 0x55)) operation.action = 'program';
  }
}
