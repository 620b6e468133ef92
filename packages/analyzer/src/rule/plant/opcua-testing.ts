/** For tests: messages of OPC UA without security, written field by field. */

/** A chunk that is whole: channel 1, token 1, and the request's number for both counts. */
function message(type: number, request: number, body: string): Buffer {
  const header = '0000' + '00'.repeat(16) + 'ffffffff' + '00000000' + '000000';
  const code = Buffer.alloc(2);
  code.writeUInt16LE(type);
  const content = Buffer.from(`0100${code.toString('hex')}${header}${body}`, 'hex');
  const head = Buffer.alloc(24);
  head.write('MSGF');
  head.writeUInt32LE(24 + content.byteLength, 4);
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(1, 12);
  head.writeUInt32LE(request, 16);
  head.writeUInt32LE(request, 20);
  return Buffer.concat([head, content]);
}

/** No signature, no certificates, no locales; then the token by its type: 321 anonymous, 324 a user's name. */
export function activateSession(request: number, token: number): Buffer {
  const type = Buffer.alloc(2);
  type.writeUInt16LE(token);
  return message(467, request, `ffffffffffffffff00000000ffffffff0100${type.toString('hex')}0100000000`);
}

/** The value 7 to node 5. */
export function writeNode(request: number): Buffer {
  return message(673, request, '01000000' + '0005' + '0d000000' + 'ffffffff' + '010607000000');
}
