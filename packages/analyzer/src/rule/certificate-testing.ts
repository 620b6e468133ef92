/** For tests: certificates as a server shows them, with names and no signature worth reading. */

/** A certificate of TLS 1.2 in its handshake message: version, serial and algorithm, and the names around when it is valid. */
export function certificate(subject: string, issuer: string = subject): Buffer {
  const signed = der(0x30, der(0xa0, der(2, Buffer.from([2]))), der(2, Buffer.from([1])), der(0x30), nameOf(issuer), der(0x30), nameOf(subject)); // prettier-ignore
  const whole = der(0x30, signed);
  const length = (count: number): Buffer => Buffer.from([0, count >> 8, count & 255]);
  const body = Buffer.concat([length(whole.byteLength + 3), length(whole.byteLength), whole]);
  const message = Buffer.concat([Buffer.from([11]), length(body.byteLength), body]);
  return Buffer.concat([Buffer.from([22, 3, 3, message.byteLength >> 8, message.byteLength & 255]), message]);
}

/** A common name, in ASCII; '' is a name without parts. */
function nameOf(text: string): Buffer {
  if (text === '') return der(0x30);
  const pair = der(0x30, der(0x06, Buffer.from([0x55, 4, 3])), der(0x0c, Buffer.from(text)));
  return der(0x30, der(0x31, pair));
}

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.byteLength < 0x80 ? [body.byteLength] : [0x82, body.byteLength >> 8, body.byteLength & 255]; // prettier-ignore
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
