/**
 * EtherNet/IP (CIP Networks Library, volume 2), little-endian. Over TCP and UDP 44818 each message has a header:
 *
 *   0 command (2)   2 length of the data (2)   4 session (4)   8 status (4)   12 sender context (8)   20 options (4)   24 data
 *
 * SendRRData and SendUnitData carry interface (4), timeout (2) and items: a count (2), then type (2), length (2) and data of
 * each. An unconnected item is a CIP message, a connected one has a sequence count (2) in front. I/O over UDP 2222 is items
 * alone.
 */
import { hex, le16, le32, text } from './byte-reader.ts';
import { dissectCip } from './cip.ts';
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

const HEADER_BYTES = 24;
const LIST_IDENTITY = 0x63;
const SEND_RR_DATA = 0x6f;
const SEND_UNIT_DATA = 0x70;
const ITEM_IDENTITY = 0x000c;
const ITEM_CONNECTED_ADDRESS = 0x00a1;
const ITEM_CONNECTED_DATA = 0x00b1;
const ITEM_UNCONNECTED_DATA = 0x00b2;
const ITEM_SEQUENCED_ADDRESS = 0x8002;
/** More than this no packet needs. */
const ITEMS_MAX = 16;

const COMMANDS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0x00, ['nop', 'other']],
  [0x04, ['list-services', 'discover']],
  [LIST_IDENTITY, ['list-identity', 'discover']],
  [0x64, ['list-interfaces', 'discover']],
  [0x65, ['register-session', 'session']],
  [0x66, ['unregister-session', 'session']],
  [SEND_RR_DATA, ['send-rr-data', 'other']],
  [SEND_UNIT_DATA, ['send-unit-data', 'other']],
  [0x72, ['indicate-status', 'report']],
  [0x73, ['cancel', 'other']],
] as const); // prettier-ignore

const STATUSES: ReadonlyMap<number, string> = new Map([
  [0x01, 'unsupported-command'],
  [0x02, 'insufficient-memory'],
  [0x03, 'incorrect-data'],
  [0x64, 'invalid-session'],
  [0x65, 'invalid-length'],
  [0x69, 'unsupported-protocol-revision'],
]);

const operation = createOperation('enip');

export const enip: Dissector = {
  name: 'enip',
  tcpPorts: [44_818],
  udpPorts: [44_818, 2222],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < 4) return NEED_MORE;
    return COMMANDS.has(le16(bytes, at)) ? HEADER_BYTES + le16(bytes, at + 2) : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    return isEncapsulation(bytes, at, end) && le16(bytes, at) !== 0;
  },

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (!isEncapsulation(bytes, at, end) && isIo(bytes, at, end)) {
      items(message, at, '', sink);
      return;
    }
    if (end - at < HEADER_BYTES) {
      sink.violation('message shorter than its header');
      return;
    }
    const code = le16(bytes, at);
    const known = COMMANDS.get(code);
    const length = le16(bytes, at + 2);
    const session = le32(bytes, at + 4);
    const status = le32(bytes, at + 8);
    if (known === undefined) sink.violation('command is not defined');
    if (HEADER_BYTES + length !== end - at) sink.violation('length field and message disagree');
    if ((code === SEND_RR_DATA || code === SEND_UNIT_DATA) && status === 0) {
      let key = '';
      for (let i = at + 12; i < at + 20; i++) key += hex(bytes[i] as number).slice(2);
      if (end - at < HEADER_BYTES + 8) sink.violation('message without items');
      else items(message, at + HEADER_BYTES + 6, key, sink);
      return;
    }
    resetOperation(operation);
    operation.code = code;
    operation.name = known?.[0] ?? `command-${hex(code, 4)}`;
    operation.action = known?.[1] ?? 'other';
    // Who lists asks without data, who registers asks without a session; the others are answered by nobody or in their status.
    operation.isResponse =
      status !== 0 || (operation.action === 'discover' ? length > 0 : code === 0x65 && session !== 0);
    if (status !== 0) operation.exception = STATUSES.get(status) ?? `status-${hex(status)}`;
    else if (code === LIST_IDENTITY && length > 0) items(message, at + HEADER_BYTES, '', sink);
    sink.operation(operation);
  },
};

/** The items at `at`; `key` is what pairs answers with requests where the item has no sequence count. */
function items(message: Message, start: number, key: string, sink: Sink): void {
  const { bytes, end, memory } = message;
  const count = start + 2 <= end ? le16(bytes, start) : 0;
  if (count > ITEMS_MAX) sink.violation('more items than a packet can mean');
  let connection = '';
  let isIoData = false;
  for (let i = 0, at = start + 2; i < Math.min(count, ITEMS_MAX); i++) {
    const from = at + 4;
    const length = from <= end ? le16(bytes, at + 2) : 0;
    const to = from + length;
    if (from > end || to > end) {
      sink.violation('item is longer than its message');
      return;
    }
    const type = le16(bytes, at);
    if (type === ITEM_CONNECTED_ADDRESS && length >= 4) connection = hex(le32(bytes, from), 8);
    else if (type === ITEM_SEQUENCED_ADDRESS && length >= 8) {
      connection = hex(le32(bytes, from), 8);
      isIoData = true;
    } else if (type === ITEM_UNCONNECTED_DATA) dissectCip(bytes, from, to, key, memory, operation, sink);
    else if (type === ITEM_CONNECTED_DATA && isIoData) io(connection, length, sink);
    else if (type === ITEM_CONNECTED_DATA && length >= 2)
      dissectCip(bytes, from + 2, to, `#${le16(bytes, from)}`, memory, operation, sink);
    else if (type === ITEM_IDENTITY) identity(bytes, from, to, sink);
    at = to;
  }
}

/** What is exchanged over an I/O connection means something only to its two ends. */
function io(connection: string, length: number, sink: Sink): void {
  resetOperation(operation);
  operation.name = 'io-data';
  operation.action = 'report';
  operation.object = `connection:${connection}`;
  operation.count = length;
  sink.operation(operation);
}

/** Version (2), socket address (16), vendor (2), type (2), product (2), revision (2), status (2), serial (4), name, state (1). */
function identity(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  if (end - at < 33) {
    sink.violation('identity is cut');
    return;
  }
  const revision = `${bytes[at + 24] as number}.${bytes[at + 25] as number}`;
  sink.fact('vendor-id', String(le16(bytes, at + 18)));
  sink.fact('device-type', String(le16(bytes, at + 20)));
  sink.fact('product-code', String(le16(bytes, at + 22)));
  sink.fact('firmware', revision);
  sink.fact('serial-number', hex(le32(bytes, at + 28), 8));
  const name = text(bytes, at + 33, Math.min(end, at + 33 + (bytes[at + 32] as number)), 256);
  if (name !== '') sink.fact('product-name', name);
}

function isEncapsulation(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    end - at >= HEADER_BYTES &&
    COMMANDS.has(le16(bytes, at)) &&
    HEADER_BYTES + le16(bytes, at + 2) === end - at &&
    le32(bytes, at + 20) === 0
  );
}

/** Two items or three, the first of them the sequenced address. */
function isIo(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 18) return false;
  const count = le16(bytes, at);
  return (
    count >= 2 && count <= 4 && le16(bytes, at + 2) === ITEM_SEQUENCED_ADDRESS && le16(bytes, at + 4) === 8
  );
}
