/** For tests: messages of SNMP and SIP. */

/** Version 2c, `kind` 0xa0 to 0xa8, one request without variables. */
export function snmpMessage(community: string, kind = 0xa0): Uint8Array {
  const pdu = [kind, 11, 2, 1, 1, 2, 1, 0, 2, 1, 0, 0x30, 0];
  const body = [2, 1, 1, 4, community.length, ...Buffer.from(community), ...pdu];
  return Uint8Array.from([0x30, body.length, ...body]);
}

/** A request or an answer, by its first line; `user`: of the To header. `more`: whole headers. */
export function sipMessage(first: string, user: string, branch: string, more = ''): string {
  const method = /^[A-Z]+ /.exec(first)?.[0].trim() ?? 'REGISTER';
  return `${first}\r\nVia: SIP/2.0/UDP 10.0.0.66:5060;branch=${branch}\r\nFrom: <sip:${user}@10.0.0.2>;tag=1\r\nTo: <sip:${user}@10.0.0.2>\r\nCall-ID: 1@x\r\nCSeq: 1 ${method === 'SIP' ? 'REGISTER' : method}\r\n${more}Content-Length: 0\r\n\r\n`;
}
