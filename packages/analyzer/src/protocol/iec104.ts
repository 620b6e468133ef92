/**
 * IEC 60870-5-104 (telecontrol over TCP), little-endian:
 *
 *   0 0x68   1 length of what follows (1)   2 control (4)   6 ASDU, in I frames only
 *
 *   control   I: N(S) << 1 (2), N(R) << 1 (2)   S: 1 (2), N(R) << 1 (2)   U: function (1), 0 (3)
 *   ASDU      0 type   1 SQ (1 bit), number (7 bits)   2 test, negative, cause (6 bits)   3 originator   4 common address (2)
 *             6 objects: address (3) and element each, or one address and `number` elements where SQ is set
 *
 * Each direction numbers its I frames; the last number of both is remembered. Repeated TCP segments are not seen here, so a
 * number that is not the next one was put in by somebody else, or lost.
 */
import { le16, le24, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Message,
  type Sink,
} from './dissector.ts';

const START = 0x68;
const APCI_BYTES = 6;
const ASDU_HEAD_BYTES = 6;
const LENGTH_MAX = 253;
const SEQUENCE_MODULUS = 32_768;

/** How the value stands in the element: one bit or two, step, 32 bits, share of full scale, whole number, float, 32-bit counter. */
type ValueShape =
  'bit' | 'two-bits' | 'step' | 'bits' | 'normalized' | 'scaled' | 'float' | 'counter' | 'byte' | 'none';

interface TypeId {
  readonly name: string;
  readonly action: Action;
  /** Bytes behind the object's address; -1 where it is not fixed. */
  readonly bytes: number;
  readonly shape: ValueShape;
}

const TYPES: ReadonlyMap<number, TypeId> = new Map(
  ([
    [1, 'M_SP_NA_1', 'report', 1, 'bit'], [2, 'M_SP_TA_1', 'report', 4, 'bit'],
    [3, 'M_DP_NA_1', 'report', 1, 'two-bits'], [4, 'M_DP_TA_1', 'report', 4, 'two-bits'],
    [5, 'M_ST_NA_1', 'report', 2, 'step'], [6, 'M_ST_TA_1', 'report', 5, 'step'],
    [7, 'M_BO_NA_1', 'report', 5, 'bits'], [8, 'M_BO_TA_1', 'report', 8, 'bits'],
    [9, 'M_ME_NA_1', 'report', 3, 'normalized'], [10, 'M_ME_TA_1', 'report', 6, 'normalized'],
    [11, 'M_ME_NB_1', 'report', 3, 'scaled'], [12, 'M_ME_TB_1', 'report', 6, 'scaled'],
    [13, 'M_ME_NC_1', 'report', 5, 'float'], [14, 'M_ME_TC_1', 'report', 8, 'float'],
    [15, 'M_IT_NA_1', 'report', 5, 'counter'], [16, 'M_IT_TA_1', 'report', 8, 'counter'],
    [17, 'M_EP_TA_1', 'report', 6, 'two-bits'], [18, 'M_EP_TB_1', 'report', 7, 'byte'],
    [19, 'M_EP_TC_1', 'report', 7, 'byte'], [20, 'M_PS_NA_1', 'report', 5, 'bits'],
    [21, 'M_ME_ND_1', 'report', 2, 'normalized'], [30, 'M_SP_TB_1', 'report', 8, 'bit'],
    [31, 'M_DP_TB_1', 'report', 8, 'two-bits'], [32, 'M_ST_TB_1', 'report', 9, 'step'],
    [33, 'M_BO_TB_1', 'report', 12, 'bits'], [34, 'M_ME_TD_1', 'report', 10, 'normalized'],
    [35, 'M_ME_TE_1', 'report', 10, 'scaled'], [36, 'M_ME_TF_1', 'report', 12, 'float'],
    [37, 'M_IT_TB_1', 'report', 12, 'counter'], [38, 'M_EP_TD_1', 'report', 10, 'two-bits'],
    [39, 'M_EP_TE_1', 'report', 11, 'byte'], [40, 'M_EP_TF_1', 'report', 11, 'byte'],
    [45, 'C_SC_NA_1', 'control', 1, 'bit'], [46, 'C_DC_NA_1', 'control', 1, 'two-bits'],
    [47, 'C_RC_NA_1', 'control', 1, 'two-bits'], [48, 'C_SE_NA_1', 'write', 3, 'normalized'],
    [49, 'C_SE_NB_1', 'write', 3, 'scaled'], [50, 'C_SE_NC_1', 'write', 5, 'float'],
    [51, 'C_BO_NA_1', 'write', 4, 'bits'], [58, 'C_SC_TA_1', 'control', 8, 'bit'],
    [59, 'C_DC_TA_1', 'control', 8, 'two-bits'], [60, 'C_RC_TA_1', 'control', 8, 'two-bits'],
    [61, 'C_SE_TA_1', 'write', 10, 'normalized'], [62, 'C_SE_TB_1', 'write', 10, 'scaled'],
    [63, 'C_SE_TC_1', 'write', 12, 'float'], [64, 'C_BO_TA_1', 'write', 11, 'bits'],
    [70, 'M_EI_NA_1', 'report', 1, 'byte'], [100, 'C_IC_NA_1', 'read', 1, 'byte'],
    [101, 'C_CI_NA_1', 'read', 1, 'byte'], [102, 'C_RD_NA_1', 'read', 0, 'none'],
    [103, 'C_CS_NA_1', 'control', 7, 'none'], [104, 'C_TS_NA_1', 'session', 2, 'none'],
    [105, 'C_RP_NA_1', 'control', 1, 'byte'], [106, 'C_CD_NA_1', 'control', 2, 'none'],
    [107, 'C_TS_TA_1', 'session', 9, 'none'], [110, 'P_ME_NA_1', 'write', 3, 'normalized'],
    [111, 'P_ME_NB_1', 'write', 3, 'scaled'], [112, 'P_ME_NC_1', 'write', 5, 'float'],
    [113, 'P_AC_NA_1', 'write', 1, 'byte'], [120, 'F_FR_NA_1', 'file', 6, 'none'],
    [121, 'F_SR_NA_1', 'file', 7, 'none'], [122, 'F_SC_NA_1', 'file', 4, 'none'],
    [123, 'F_LS_NA_1', 'file', 5, 'none'], [124, 'F_AF_NA_1', 'file', 4, 'none'],
    [125, 'F_SG_NA_1', 'file', -1, 'none'], [126, 'F_DR_TA_1', 'file', 13, 'none'],
    [127, 'F_SC_NB_1', 'file', 16, 'none'],
  ] as const).map(([id, name, action, bytes, shape]) => [
    id,
    { name: name.toLowerCase().replaceAll('_', '-'), action, bytes, shape },
  ]),
); // prettier-ignore

const U_FUNCTIONS: ReadonlyMap<number, string> = new Map([
  [0x07, 'startdt'],
  [0x0b, 'startdt-confirm'],
  [0x13, 'stopdt'],
  [0x23, 'stopdt-confirm'],
  [0x43, 'testfr'],
  [0x83, 'testfr-confirm'],
]);

/** C_CI_NA_1: what becomes of the counters stands in the two highest bits of its qualifier; 0 only reads them. */
const COUNTER_INTERROGATION = 101;
const FREEZES: readonly string[] = ['', '-freeze', '-freeze-reset', '-reset'];

const CAUSE_REQUESTED = 5;
const CAUSE_ACTIVATION = 6;
const CAUSE_DEACTIVATION = 8;
const CAUSE_ACTIVATION_CONFIRM = 7;
const CAUSE_DEACTIVATION_CONFIRM = 9;
const CAUSE_TERMINATION = 10;
/** 20 to 41: what an interrogation brings; 44 to 47: what is refused as unknown. */
const CAUSE_INTERROGATED = 20;
const CAUSE_UNKNOWN = 44;
const UNKNOWN: readonly string[] = [
  'unknown-type',
  'unknown-cause',
  'unknown-common-address',
  'unknown-object-address',
];

const operation = createOperation('iec104');
const floatView = new DataView(new ArrayBuffer(4));

export const iec104: Dissector = {
  name: 'iec104',
  tcpPorts: [2404],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < 1) return NEED_MORE;
    if (bytes[at] !== START) return NOT_OURS;
    if (end - at < 2) return NEED_MORE;
    const length = bytes[at + 1] as number;
    return length < 4 ? NOT_OURS : 2 + length;
  },

  looksLike(bytes, at, end) {
    if (end - at < APCI_BYTES || bytes[at] !== START) return false;
    const length = bytes[at + 1] as number;
    const control = bytes[at + 2] as number;
    if ((control & 3) === 3)
      return length === 4 && U_FUNCTIONS.has(control) && bytes[at + 3] === 0 && le16(bytes, at + 4) === 0;
    if (
      (control & 1) !== 0 ||
      length > LENGTH_MAX ||
      2 + length !== end - at ||
      (bytes[at + 4] as number) & 1
    )
      return false;
    const asdu = at + APCI_BYTES;
    const known = end - asdu > ASDU_HEAD_BYTES ? TYPES.get(bytes[asdu] as number) : undefined;
    return (
      known !== undefined && objectBytes(known, bytes[asdu + 1] as number) === end - asdu - ASDU_HEAD_BYTES
    );
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < APCI_BYTES || bytes[at] !== START) {
      sink.violation('message shorter than its header');
      return;
    }
    const length = bytes[at + 1] as number;
    if (length > LENGTH_MAX) sink.violation('length above 253');
    else if (2 + length !== end - at) sink.violation('length field and message disagree');
    const control = bytes[at + 2] as number;
    resetOperation(operation);
    if ((control & 1) === 0) information(message, sink);
    else if ((control & 2) !== 0) unnumbered(message, control, sink);
    // An S frame only says how far the other side has read: nothing is done.
    else if (end - at !== APCI_BYTES) sink.violation('supervisory frame with data');
  },
};

function unnumbered(message: Message, control: number, sink: Sink): void {
  const name = U_FUNCTIONS.get(control);
  if (name === undefined) sink.violation('unnumbered function is not defined');
  if (message.end - message.at !== APCI_BYTES) sink.violation('unnumbered frame with data');
  operation.action = 'session';
  operation.name = name ?? `u-function-${control}`;
  operation.code = control;
  operation.isResponse = name?.endsWith('-confirm') ?? false;
  sink.operation(operation);
}

function information(message: Message, sink: Sink): void {
  const { bytes, at, end, memory } = message;
  const sent = le16(bytes, at + 2) >> 1;
  const key = message.isFromClient ? 'sentByClient' : 'sentByServer';
  const last = memory[key];
  if (typeof last === 'number' && sent !== (last + 1) % SEQUENCE_MODULUS)
    sink.violation('send sequence number is not the next one');
  memory[key] = sent;
  const asdu = at + APCI_BYTES;
  if (end - asdu < ASDU_HEAD_BYTES) {
    sink.violation('information frame without a whole header');
    return;
  }
  const code = bytes[asdu] as number;
  const qualifier = bytes[asdu + 1] as number;
  const cause = (bytes[asdu + 2] as number) & 0x3f;
  const known = TYPES.get(code);
  operation.code = code;
  operation.name = known?.name ?? `type-${code}`;
  operation.action = known?.action ?? 'other';
  operation.unit = le16(bytes, asdu + 4);
  operation.count = qualifier & 0x7f;
  operation.isResponse =
    cause === CAUSE_REQUESTED ||
    cause === CAUSE_ACTIVATION_CONFIRM ||
    cause === CAUSE_DEACTIVATION_CONFIRM ||
    cause === CAUSE_TERMINATION ||
    (cause >= CAUSE_INTERROGATED && cause <= CAUSE_UNKNOWN + 3);
  // Deactivation takes a command back: what it would have done is not done.
  if (!operation.isResponse && cause !== CAUSE_ACTIVATION && isCommand(code)) {
    operation.action = 'other';
    if (cause !== CAUSE_DEACTIVATION) sink.violation('command with a cause that no master gives');
  }
  if (cause >= CAUSE_UNKNOWN && cause < CAUSE_UNKNOWN + UNKNOWN.length)
    operation.exception = UNKNOWN[cause - CAUSE_UNKNOWN] as string;
  else if (((bytes[asdu + 2] as number) & 0x40) !== 0) operation.exception = 'negative-confirm';
  const objects = asdu + ASDU_HEAD_BYTES;
  if (end - objects >= 3) operation.object = `ioa:${le24(bytes, objects)}`;
  if (known === undefined) sink.violation('type is not defined');
  else {
    const demanded = objectBytes(known, qualifier);
    if (demanded >= 0 && demanded !== end - objects) sink.violation('number of objects and length disagree');
    if (end - objects >= 3 + known.bytes) operation.value = valueOf(known.shape, bytes, objects + 3, end);
  }
  if (code === COUNTER_INTERROGATION && !Number.isNaN(operation.value)) {
    const freeze = FREEZES[operation.value >> 6] as string;
    operation.name += freeze;
    if (freeze !== '' && (operation.isResponse || cause === CAUSE_ACTIVATION)) operation.action = 'control';
  }
  sink.operation(operation);
}

/** Commands to points, and to the station: its clock and its reset. */
function isCommand(code: number): boolean {
  return (code >= 45 && code <= 64) || code === 103 || code === 105;
}

/** What the objects of an ASDU take; -1 where the type does not say. */
function objectBytes(known: TypeId, qualifier: number): number {
  const count = qualifier & 0x7f;
  if (known.bytes < 0) return -1;
  return (qualifier & 0x80) === 0 ? count * (3 + known.bytes) : 3 + count * known.bytes;
}

function valueOf(shape: ValueShape, bytes: Uint8Array, at: number, end: number): number {
  if (shape === 'none' || at >= end) return NaN;
  const first = bytes[at] as number;
  if (shape === 'bit') return first & 1;
  if (shape === 'two-bits') return first & 3;
  if (shape === 'step') return ((first & 0x7f) << 25) >> 25;
  if (shape === 'byte') return first;
  if (shape === 'normalized' || shape === 'scaled') {
    if (end - at < 2) return NaN;
    const number = (le16(bytes, at) << 16) >> 16;
    return shape === 'scaled' ? number : number / 32_768;
  }
  if (end - at < 4) return NaN;
  if (shape === 'bits') return le32(bytes, at);
  if (shape === 'counter') return le32(bytes, at) | 0;
  floatView.setUint32(0, le32(bytes, at));
  return floatView.getFloat32(0);
}
