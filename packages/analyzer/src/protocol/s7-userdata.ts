/**
 * Userdata of S7comm: what engineering tools use beside jobs. The parameters, big-endian:
 *
 *   0 head 00 01 12   3 length of what follows (1)   4 method (1)   5 request 4, answer 8, push 0 (4 bits), group (4 bits)
 *   6 subfunction (1)   7 sequence (1)   8 data unit (1)   9 last data unit (1)   10 error (2)   the last three not in requests
 *
 * The data: 0 return code (1)   1 transport size (1)   2 length (2)   4 what is asked or answered
 */
import { be16, hex } from './byte-reader.ts';
import type { Action, Operation, Sink } from './dissector.ts';

type Subfunctions = Readonly<Record<number, readonly [string, Action]>>;

interface Group {
  readonly name: string;
  readonly action: Action;
  readonly subfunctions: Subfunctions;
}

const GROUP_CPU = 4;
const SUBFUNCTION_SZL = 1;
const HEAD_BYTES = 8;

const GROUPS: readonly Group[] = [
  { name: 'mode-transition', action: 'report', subfunctions: {} },
  { name: 'programmer', action: 'other', subfunctions: {
    1: ['block-status', 'read'], 2: ['variable-status', 'read'], 3: ['read-istack', 'read'],
    4: ['read-bstack', 'read'], 5: ['read-lstack', 'read'], 6: ['time-measurement', 'read'],
    7: ['force-selection', 'read'], 8: ['modify-variable', 'write'], 9: ['force', 'control'],
    10: ['breakpoint', 'control'], 11: ['exit-hold', 'control'], 12: ['memory-reset', 'control'],
    13: ['disable-job', 'other'], 14: ['enable-job', 'other'], 15: ['delete-job', 'other'],
    16: ['read-job-list', 'read'], 17: ['read-job', 'read'], 18: ['replace-job', 'other'],
    19: ['block-status', 'read'], 22: ['flash-led', 'control'],
  } },
  { name: 'cyclic', action: 'read', subfunctions: {
    1: ['cyclic-read', 'read'], 4: ['cyclic-unsubscribe', 'read'], 5: ['change-driven-read', 'read'],
    7: ['change-driven-modify', 'read'], 8: ['read-record', 'read'],
  } },
  { name: 'block', action: 'discover', subfunctions: {
    1: ['list-blocks', 'discover'], 2: ['list-blocks-of-type', 'discover'], 3: ['get-block-info', 'discover'],
  } },
  { name: 'cpu', action: 'other', subfunctions: {
    1: ['read-szl', 'discover'], 2: ['message-service', 'session'], 3: ['diagnostic-message', 'report'],
    5: ['alarm-8-indication', 'report'], 6: ['notify-indication', 'report'], 7: ['alarm-lock', 'control'],
    8: ['alarm-unlock', 'control'], 9: ['scan-indication', 'report'], 11: ['alarm-acknowledge', 'write'],
    12: ['alarm-acknowledge-indication', 'report'], 13: ['alarm-lock-indication', 'report'],
    14: ['alarm-unlock-indication', 'report'], 17: ['alarm-sq-indication', 'report'],
    18: ['alarm-s-indication', 'report'], 19: ['alarm-query', 'read'], 22: ['notify-8-indication', 'report'],
  } },
  { name: 'security', action: 'session', subfunctions: { 1: ['plc-password', 'session'] } },
  { name: 'block-send', action: 'write', subfunctions: {} },
  { name: 'clock', action: 'read', subfunctions: {
    1: ['read-clock', 'read'], 2: ['set-clock', 'control'], 3: ['read-clock', 'read'], 4: ['set-clock', 'control'],
  } },
]; // prettier-ignore

/** The group that numerical controls load their programs with. */
const GROUP_NC = 15;
const NC: Group = { name: 'nc', action: 'program', subfunctions: {
  1: ['nc-request-download', 'program'], 2: ['nc-download-block', 'program'], 3: ['nc-continue-download', 'program'],
  4: ['nc-download-ended', 'program'], 6: ['nc-start-upload', 'program'], 7: ['nc-upload', 'program'],
  8: ['nc-continue-upload', 'program'],
} }; // prettier-ignore

/** Fills `operation` from the parameters `bytes[at, data)` and the data `bytes[data, end)`. */
export function readUserdata(
  operation: Operation,
  bytes: Uint8Array,
  at: number,
  data: number,
  end: number,
  sink: Sink,
): void {
  operation.name = 'userdata';
  if (data - at < HEAD_BYTES) {
    sink.violation('userdata shorter than its head');
    return;
  }
  const kind = (bytes[at + 5] as number) >> 4;
  const number = (bytes[at + 5] as number) & 0x0f;
  const subfunction = bytes[at + 6] as number;
  const group = number === GROUP_NC ? NC : GROUPS[number];
  const known = group?.subfunctions[subfunction];
  operation.code = number * 256 + subfunction;
  operation.name = known?.[0] ?? `${group?.name ?? `group-${number}`}-${subfunction}`;
  operation.action = known?.[1] ?? group?.action ?? 'other';
  operation.isResponse = (kind & 3) === 0 && (kind & 8) !== 0;
  if (kind === 11) operation.isResponse = true;
  if (kind === 0) operation.action = 'report';
  if (data - at >= 12) {
    const error = be16(bytes, at + 10);
    if (error !== 0) operation.exception = hex(error, 4);
  }
  // A request for more of a long list does not repeat which one.
  if (number === GROUP_CPU && subfunction === SUBFUNCTION_SZL && kind === 4 && end - data >= 8)
    operation.object = `szl:${hex(be16(bytes, data + 4), 4)}/${hex(be16(bytes, data + 6), 4)}`;
}
