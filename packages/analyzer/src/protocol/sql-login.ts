/**
 * Databases, up to where a client is logged in: MySQL, PostgreSQL, SQL Server (TDS). What is asked of a database is nobody's business here: behind the login, and before TLS, the readers say
 * that they are done.
 *
 *   MySQL        length (3, little-endian)   number of the packet (1)   payload
 *                greeting: 10 (1)   version NUL ...     login: capabilities (4, little-endian)   8..31 sizes and zeros   32 user NUL
 *                answer: 0 done, 255 error and its code (2, little-endian), 254 and 1 go on
 *   PostgreSQL   first message: length (4)   196608 (4)   key NUL value NUL ... NUL      request for TLS: 8 (4)   80877103 (4), answered by S or N
 *                later: kind (1)   length (4)   body       R: 0 logged in (4)      E: fields, each a letter and text NUL; C is the code
 *   TDS          kind (1)   status (1)   length with this header (2)   channel (2)   number (1)   window (1)
 *                answer (4): tokens: 0xaa error, 0xab information, 0xad login, 0xe3 change: length (2, little-endian)   error: number (4, little-endian)
 */
import { be16, be32, le16, le24, le32, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Operation,
  type Sink,
} from './dissector.ts';
import { tlsRecordBytes } from './tls.ts';

const MYSQL_HEADER_BYTES = 4;
const MYSQL_LOGIN_BYTES = 32;
const MYSQL_TLS = 0x800;
const MYSQL_VERSION = 10;
/** ER_ACCESS_DENIED_ERROR, and without a password. */
const MYSQL_REFUSED: ReadonlySet<number> = new Set([1045, 1698]);
const MYSQL_PACKET_MAX = 0x4_0000;

const POSTGRESQL_VERSION = 196_608;
const POSTGRESQL_TLS = 80_877_103;
/** invalid_password, invalid_authorization_specification. */
const POSTGRESQL_REFUSED = /^28(?:P01|000)$/;
const FIELDS_MAX = 24;

const TDS_HEADER_BYTES = 8;
const TDS_ANSWER = 4;
const TDS_LOGIN = 16;
const TDS_PRELOGIN = 18;
const TDS_PACKET_MAX = 32_767;
const TOKEN_ERROR = 0xaa;
const TOKEN_LOGIN = 0xad;
const TOKENS: ReadonlySet<number> = new Set([TOKEN_ERROR, 0xab, TOKEN_LOGIN, 0xe3]);
const TOKENS_MAX = 32;
/** Login failed for user. */
const TDS_REFUSED = 18_456;

const operations = {
  mysql: createOperation('mysql'),
  postgresql: createOperation('postgresql'),
  tds: createOperation('tds'),
};

export const mysql: Dissector = {
  name: 'mysql',
  tcpPorts: [3306],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < MYSQL_HEADER_BYTES) return NEED_MORE;
    const length = le24(bytes, at);
    // An empty packet is an empty answer, within a dialogue.
    const isEmpty = length === 0 && bytes[at + 3] === 0;
    return isEmpty || length > MYSQL_PACKET_MAX ? NOT_OURS : MYSQL_HEADER_BYTES + length;
  },

  looksLike(bytes, at, end) {
    return (
      end - at >= 32 &&
      le24(bytes, at) + MYSQL_HEADER_BYTES === end - at &&
      bytes[at + 3] === 0 &&
      bytes[at + 4] === MYSQL_VERSION &&
      /^\d{1,2}\.\d{1,2}\.\d/.test(text(bytes, at + 5, end, 8))
    );
  },

  dissect({ bytes, at, end, memory, isFromClient }, sink) {
    if (memory['done'] === true || end - at < MYSQL_HEADER_BYTES + 1) return;
    const operation = operations.mysql;
    const number = bytes[at + 3] as number;
    const kind = bytes[at + 4] as number;
    const body = at + MYSQL_HEADER_BYTES;
    if (!isFromClient && number === 0 && kind === MYSQL_VERSION) {
      sink.fact('mysql-server', text(bytes, body + 1, nulAt(bytes, body + 1, end), 64));
      memory['isGreeted'] = true;
    } else if (memory['isGreeted'] !== true || number === 0) {
      // Joined in the middle, or the login is over.
      memory['done'] = true;
      if (!isFromClient && kind === 255 && number === 0) told(operation, memory, sink, mysqlError(bytes, body, end), kind); // prettier-ignore
    } else if (isFromClient) {
      if (memory['user'] !== undefined || end - body < MYSQL_LOGIN_BYTES) return;
      if ((le32(bytes, body) & MYSQL_TLS) !== 0 && end - body === MYSQL_LOGIN_BYTES) memory['done'] = true;
      else asked(operation, memory, sink, text(bytes, body + MYSQL_LOGIN_BYTES, nulAt(bytes, body + MYSQL_LOGIN_BYTES, end), OBJECT_CHARACTERS_MAX)); // prettier-ignore
    } else if (kind === 0 || kind === 255) {
      memory['done'] = true;
      told(operation, memory, sink, kind === 0 ? '' : mysqlError(bytes, body, end), kind);
    }
  },
};

function mysqlError(bytes: Uint8Array, body: number, end: number): string {
  const code = end - body >= 3 ? le16(bytes, body + 1) : 0;
  return MYSQL_REFUSED.has(code) ? 'refused' : `error-${code}`;
}

export const postgresql: Dissector = {
  name: 'postgresql',
  tcpPorts: [5432],
  udpPorts: [],
  etherTypes: [],

  looksLike(bytes, at, end) {
    if (end - at < 8 || be32(bytes, at) !== end - at) return false;
    const code = be32(bytes, at + 4);
    return code === POSTGRESQL_TLS ? end - at === 8 : code === POSTGRESQL_VERSION && text(bytes, at + 8, end, 4) === 'user'; // prettier-ignore
  },

  dissect({ bytes, at, end, memory, isFromClient }, sink) {
    if (memory['done'] === true || end <= at) return;
    if (isFromClient) startup(bytes, at, end, memory, sink);
    else if (memory['isBegun'] !== true) memory['done'] = true;
    // Yes to TLS is one letter.
    else if (end - at === 1) {
      if (bytes[at] === 0x53) memory['done'] = true;
    } else if (end - at >= 9) postgresqlAnswer(bytes, at, end, memory, sink);
  },
};

function startup(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  if (memory['user'] !== undefined) return;
  const code = end - at >= 8 ? be32(bytes, at + 4) : 0;
  if (code === POSTGRESQL_VERSION) {
    memory['isBegun'] = true;
    const isUser = text(bytes, at + 8, end, 5) === 'user.';
    asked(operations.postgresql, memory, sink, isUser ? text(bytes, at + 13, nulAt(bytes, at + 13, end), OBJECT_CHARACTERS_MAX) : ''); // prettier-ignore
  } else if (code === POSTGRESQL_TLS || code === POSTGRESQL_TLS + 1) memory['isBegun'] = true;
  else memory['done'] = true;
}

function postgresqlAnswer(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  const kind = bytes[at] as number;
  if (kind === 0x52) {
    if (be32(bytes, at + 5) !== 0) return;
    memory['done'] = true;
    told(operations.postgresql, memory, sink, '', 0);
  } else if (kind === 0x45) {
    memory['done'] = true;
    let next = at + 5;
    for (let i = 0; i < FIELDS_MAX && next < end && bytes[next] !== 0; i++) {
      const last = nulAt(bytes, next + 1, end);
      if (bytes[next] === 0x43) {
        const code = text(bytes, next + 1, last, 5);
        told(operations.postgresql, memory, sink, POSTGRESQL_REFUSED.test(code) ? 'refused' : `error-${code}`, kind); // prettier-ignore
        return;
      }
      next = last + 1;
    }
  } else if (kind !== 0x4e && kind !== 0x76) memory['done'] = true;
}

export const tds: Dissector = {
  name: 'tds',
  tcpPorts: [1433],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < TDS_HEADER_BYTES) return NEED_MORE;
    const record = tlsRecordBytes(bytes, at, end);
    if (record > 0) return record;
    const length = be16(bytes, at + 2);
    const kind = bytes[at] as number;
    return kind === 0 || kind > TDS_PRELOGIN || length < TDS_HEADER_BYTES || length > TDS_PACKET_MAX || (bytes[at + 1] as number) > 0x1f ? NOT_OURS : length; // prettier-ignore
  },

  looksLike(bytes, at, end) {
    // A prelogin begins with the token of the version, behind it that of the encryption.
    return end - at >= 32 && bytes[at] === TDS_PRELOGIN && bytes[at + 1] === 1 && be16(bytes, at + 2) === end - at && be32(bytes, at + 4) <= 0xffff && bytes[at + 8] === 0 && bytes[at + 13] === 1; // prettier-ignore
  },

  dissect({ bytes, at, end, memory, isFromClient }, sink) {
    if (memory['done'] === true || end - at < TDS_HEADER_BYTES) return;
    const kind = bytes[at] as number;
    if (isFromClient) {
      // The login itself is often encrypted inside of prelogins, its answer is not.
      if (kind === TDS_LOGIN || kind === TDS_PRELOGIN) {
        if (memory['user'] !== undefined) return;
        asked(operations.tds, memory, sink, '');
      } else memory['done'] = true;
    } else if (kind === TDS_ANSWER && memory['user'] !== undefined)
      tokens(bytes, at + TDS_HEADER_BYTES, end, memory, sink);
    else if (kind !== TDS_PRELOGIN) memory['done'] = true;
  },
};

function tokens(bytes: Uint8Array, at: number, end: number, memory: Memory, sink: Sink): void {
  let next = at;
  for (let i = 0; i < TOKENS_MAX && next + 3 <= end; i++) {
    const token = bytes[next] as number;
    if (!TOKENS.has(token)) return;
    if (token === TOKEN_LOGIN) {
      memory['done'] = true;
      told(operations.tds, memory, sink, '', token);
      return;
    }
    if (token === TOKEN_ERROR && next + 7 <= end) {
      const code = le32(bytes, next + 3);
      memory['done'] = true;
      told(operations.tds, memory, sink, code === TDS_REFUSED ? 'refused' : `error-${code}`, token);
      return;
    }
    next += 3 + le16(bytes, next + 1);
  }
}

function asked(operation: Operation, memory: Memory, sink: Sink, user: string): void {
  memory['user'] = user;
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'login';
  operation.object = user;
  sink.operation(operation);
}

function told(operation: Operation, memory: Memory, sink: Sink, exception: string, code: number): void {
  resetOperation(operation);
  operation.action = 'session';
  operation.name = 'login';
  operation.isResponse = true;
  operation.code = code;
  operation.object = (memory['user'] as string | undefined) ?? '';
  operation.exception = exception;
  sink.operation(operation);
}

function nulAt(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== 0) at++;
  return Math.min(at, end);
}
