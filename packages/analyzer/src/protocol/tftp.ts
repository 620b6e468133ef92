/**
 * TFTP (RFC 1350), big-endian: which file is fetched or put. Only the request goes to port 69; the file travels between two other ports.
 *
 *   kind (2): 1 read, 2 write   name NUL   mode NUL
 */
import { be16, text } from './byte-reader.ts';
import { OBJECT_CHARACTERS_MAX, createOperation, resetOperation, type Dissector } from './dissector.ts';

const NAME_BYTES_MAX = 512;
const MODE = /^(?:octet|netascii|mail|binary)$/;

const operation = createOperation('tftp');

export const tftp: Dissector = {
  name: 'tftp',
  tcpPorts: [],
  udpPorts: [69],
  etherTypes: [],

  dissect({ bytes, at, end, isFromClient }, sink) {
    const kind = end - at >= 6 ? be16(bytes, at) : 0;
    if ((kind !== 1 && kind !== 2) || !isFromClient) return;
    let nameEnd = at + 2;
    while (nameEnd < end && bytes[nameEnd] !== 0) nameEnd++;
    if (nameEnd - at - 2 > NAME_BYTES_MAX) sink.fact('overlong', `name of ${nameEnd - at - 2} bytes`);
    let modeEnd = nameEnd + 1;
    while (modeEnd < end && bytes[modeEnd] !== 0) modeEnd++;
    if (modeEnd > end || !MODE.test(text(bytes, nameEnd + 1, modeEnd, 12).toLowerCase())) return;
    resetOperation(operation);
    operation.action = 'file';
    operation.name = kind === 1 ? 'read' : 'write';
    operation.code = kind;
    operation.object = text(bytes, at + 2, nameEnd, OBJECT_CHARACTERS_MAX);
    sink.operation(operation);
  },
};
