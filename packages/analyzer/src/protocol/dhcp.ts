/**
 * DHCP (RFC 2131, options RFC 2132), big-endian:
 *
 *   0 operation (1)   1 hardware type (1)   2 hardware address length (1)   3 hops (1)   4 transaction (4)   8 seconds (2)
 *   10 flags (2)   12 client address (4)   16 your address (4)   20 server address (4)   24 relay address (4)
 *   28 hardware address (16)   44 server name (64)   108 file (128)   236 magic (4)   240 options: code (1), length (1), data
 *
 * Without the magic it is BOOTP, which has no message type.
 */
import { be32, text } from './byte-reader.ts';
import { createOperation, resetOperation, type Dissector } from './dissector.ts';

const FIXED_BYTES = 236;
const MAGIC = 0x6382_5363;

const OPTION_PAD = 0;
const OPTION_HOSTNAME = 12;
const OPTION_REQUESTED_ADDRESS = 50;
const OPTION_MESSAGE_TYPE = 53;
const OPTION_SERVER = 54;
const OPTION_VENDOR_CLASS = 60;
const OPTION_END = 255;

const MESSAGE_TYPES: readonly string[] = [
  '',
  'discover',
  'offer',
  'request',
  'decline',
  'ack',
  'nak',
  'release',
  'inform',
  'force-renew',
  'lease-query',
  'lease-unassigned',
  'lease-unknown',
  'lease-active',
];
const TYPE_NAK = 6;

const operation = createOperation('dhcp');

export const dhcp: Dissector = {
  name: 'dhcp',
  tcpPorts: [],
  udpPorts: [67, 68],
  etherTypes: [],

  looksLike(bytes, at, end) {
    const kind = end - at < FIXED_BYTES + 4 ? 0 : (bytes[at] as number);
    return (kind === 1 || kind === 2) && be32(bytes, at + FIXED_BYTES) === MAGIC;
  },

  dissect({ bytes, at, end }, sink) {
    if (end - at < FIXED_BYTES) {
      sink.violation('message shorter than its header');
      return;
    }
    const kind = bytes[at] as number;
    if (kind !== 1 && kind !== 2) sink.violation('operation is neither request nor reply');
    if ((bytes[at + 2] as number) > 16) sink.violation('hardware address longer than its field');
    resetOperation(operation);
    operation.action = 'session';
    operation.isResponse = kind === 2;
    operation.name = kind === 2 ? 'bootp-reply' : 'bootp-request';
    // What the server gives; in a request what the client has, or wants by option 50.
    operation.object = address(bytes, kind === 2 ? at + 16 : at + 12);
    if (end - at >= FIXED_BYTES + 4 && be32(bytes, at + FIXED_BYTES) === MAGIC) {
      let next = at + FIXED_BYTES + 4;
      while (next < end) {
        const code = bytes[next] as number;
        if (code === OPTION_END) break;
        if (code === OPTION_PAD) {
          next++;
          continue;
        }
        const dataEnd = next + 2 >= end ? end + 1 : next + 2 + (bytes[next + 1] as number);
        if (dataEnd > end) {
          if (next + 2 !== end || bytes[next + 1] !== 0)
            sink.violation('option beyond the end of the message');
          break;
        }
        const data = next + 2;
        switch (code) {
          case OPTION_MESSAGE_TYPE:
            if (dataEnd - data !== 1) sink.violation('message type is not one byte');
            else {
              operation.code = bytes[data] as number;
              operation.name = MESSAGE_TYPES[operation.code] || `message-type-${operation.code}`;
              if (operation.code === TYPE_NAK) operation.exception = 'nak';
            }
            break;
          case OPTION_REQUESTED_ADDRESS:
            if (dataEnd - data === 4 && kind === 1) operation.object = address(bytes, data);
            break;
          case OPTION_SERVER:
            if (dataEnd - data === 4) sink.fact('dhcp-server', address(bytes, data));
            break;
          case OPTION_HOSTNAME:
            if (dataEnd > data) sink.fact('hostname', text(bytes, data, trimmed(bytes, data, dataEnd), 255));
            break;
          case OPTION_VENDOR_CLASS:
            if (dataEnd > data)
              sink.fact('vendor-class', text(bytes, data, trimmed(bytes, data, dataEnd), 255));
            break;
        }
        next = dataEnd;
      }
    }
    sink.operation(operation);
  },
};

/** '' for 0.0.0.0, which stands for no address. */
function address(bytes: Uint8Array, at: number): string {
  if (be32(bytes, at) === 0) return '';
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** Some clients count the zero behind their name. */
function trimmed(bytes: Uint8Array, at: number, end: number): number {
  let last = end;
  while (last > at && bytes[last - 1] === 0) last--;
  return last;
}
