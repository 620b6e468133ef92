/** For tests: Kerberos messages, with as much in them as is read. */

/** An element of BER: tag, length (short or two bytes), content. */
export function element(tag: number, ...content: (number | readonly number[])[]): number[] {
  const bytes = content.flat();
  return bytes.length < 0x80 ? [tag, bytes.length, ...bytes] : [tag, 0x82, bytes.length >> 8, bytes.length & 0xff, ...bytes]; // prettier-ignore
}

/** PrincipalName: kind 1 is a person's. */
function principal(tag: number, name: string): number[] {
  const parts = name.split('/').map((part) => element(0x1b, [...Buffer.from(part)]));
  return element(tag, element(0x30, element(0xa0, [2, 1, 1]), element(0xa1, element(0x30, ...parts))));
}

/** AS-REQ of `name`, or of nobody, that offers these encryption types. */
export function ticketRequest(name: string | null, ...types: number[]): number[] {
  const body = element(0x30, element(0xa0, [3, 5, 0, 0, 0, 0, 0]), name === null ? [] : principal(0xa1, name), element(0xa7, [2, 1, 9]), element(0xa8, element(0x30, ...types.map((type) => [2, 1, type])))); // prettier-ignore
  return element(0x6a, element(0x30, element(0xa1, [2, 1, 5]), element(0xa2, [2, 1, 10]), element(0xa4, body))); // prettier-ignore
}

/** KRB-ERROR; servers name the client in it or not. */
export function refusal(code: number, name: string | null = null): number[] {
  return element(0x7e, element(0x30, element(0xa0, [2, 1, 5]), element(0xa1, [2, 1, 30]), element(0xa6, [2, 1, code]), name === null ? [] : principal(0xa8, name))); // prettier-ignore
}
