/**
 * HTTP/1.1 (RFC 9112) on the web pages of devices, and the beginning of TLS 1.3 (RFC 8446) to servers. What follows the
 * handshake of TLS is random bytes in application data records, as an observer sees it.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const HTTP_PORT = 80;
export const HTTPS_PORT = 443;

const CONTENT_CHANGE_CIPHER_SPEC = 20;
const CONTENT_HANDSHAKE = 22;
const CONTENT_APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const AES_128_GCM_SHA256 = 0x1301;
const CHACHA20_POLY1305_SHA256 = 0x1303;
const X25519 = 0x001d;

/** Looks at a few pages of a device; then the device closes, or the browser resets the idle connection. */
export function* browse(world: World, client: Host, server: Host, random: Prng): Process {
  const tcp = new TcpConversation(world, 'http', client, server, HTTP_PORT, random);
  yield* tcp.open();
  for (const path of ['/', '/style.css', '/diagnostics']) {
    yield* request(
      tcp,
      `GET ${path} HTTP/1.1\r\nHost: ${server.address}\r\nUser-Agent: Mozilla/5.0\r\n\r\n`,
      random,
    );
    yield* answer(tcp, '200 OK', random.between(200, 6000));
    yield* tcp.sleep(random.between(5 * MILLISECOND, 900 * MILLISECOND));
  }
  if (random.chance(0.5)) yield* tcp.close(tcp.server);
  else tcp.reset(tcp.client);
}

/** A login form that is posted to; the status says whether it helped. */
export function* postLogin(tcp: TcpConversation, user: string, password: string, random: Prng): Process {
  const form = `user=${user}&password=${password}`;
  yield* request(
    tcp,
    `POST /login HTTP/1.1\r\nHost: ${tcp.server.host.address}\r\nContent-Type: application/x-www-form-urlencoded\r\n` +
      `Content-Length: ${form.length}\r\n\r\n${form}`,
    random,
  );
  yield* answer(tcp, '401 Unauthorized', 120);
}

/** A TLS 1.3 connection: hello, hello, then a few encrypted exchanges. */
export function* tlsExchange(world: World, client: Host, server: Host, name: string, random: Prng): Process {
  const tcp = new TcpConversation(world, 'tls', client, server, HTTPS_PORT, random);
  yield* tcp.open();
  yield* tcp.send(tcp.client, clientHello(name, random));
  yield* tcp.think(random.between(500 * MICROSECOND, 2000 * MICROSECOND));
  yield* tcp.send(tcp.server, serverFlight(random));
  yield* tcp.sleep(random.between(300 * MICROSECOND, 900 * MICROSECOND));
  yield* tcp.send(tcp.client, record(CONTENT_APPLICATION_DATA, random.bytes(53)));
  for (let exchanges = random.between(1, 4); exchanges > 0; exchanges--) {
    yield* tcp.send(tcp.client, record(CONTENT_APPLICATION_DATA, random.bytes(random.between(90, 700))));
    yield* tcp.think(random.between(MILLISECOND, 20 * MILLISECOND));
    yield* tcp.send(tcp.server, record(CONTENT_APPLICATION_DATA, random.bytes(random.between(200, 4000))));
    yield* tcp.sleep(random.between(10 * MILLISECOND, 400 * MILLISECOND));
  }
  yield* tcp.close(tcp.client);
}

function* request(tcp: TcpConversation, text: string, random: Prng): Process {
  yield* tcp.send(tcp.client, new ByteWriter().ascii(text).done());
  yield* tcp.think(random.between(2 * MILLISECOND, 12 * MILLISECOND));
}

function* answer(tcp: TcpConversation, status: string, bodyBytes: number): Process {
  const head = `HTTP/1.1 ${status}\r\nServer: device\r\nContent-Type: text/html\r\nContent-Length: ${bodyBytes}\r\n\r\n`;
  yield* tcp.send(tcp.server, new ByteWriter().ascii(head).fill(0x2e, bodyBytes).done());
}

/** ClientHello (4.1.2) in a record that says TLS 1.0, as clients still do (5.1). */
function clientHello(name: string, random: Prng): Uint8Array {
  const extensions = new ByteWriter();
  extension(extensions, 0, (data) =>
    data
      .u16(name.length + 3)
      .u8(0)
      .u16(name.length)
      .ascii(name),
  ); // server name
  extension(extensions, 10, (data) => data.u16(2).u16(X25519)); // supported groups
  extension(extensions, 13, (data) => data.u16(4).u16(0x0403).u16(0x0804)); // signature algorithms
  extension(extensions, 43, (data) => data.u8(2).u16(0x0304)); // supported versions
  extension(extensions, 51, (data) => data.u16(36).u16(X25519).u16(32).raw(random.bytes(32))); // key share
  const body = new ByteWriter().u16(0x0303).raw(random.bytes(32)).u8(32).raw(random.bytes(32));
  body.u16(4).u16(AES_128_GCM_SHA256).u16(CHACHA20_POLY1305_SHA256).u8(1).u8(0);
  body.u16(extensions.length).raw(extensions.done());
  return record(CONTENT_HANDSHAKE, handshake(CLIENT_HELLO, body.done()), 0x0301);
}

/** ServerHello (4.1.3), a change of cipher for middleboxes (D.4), and the encrypted rest of the server's first flight. */
function serverFlight(random: Prng): Uint8Array {
  const extensions = new ByteWriter();
  extension(extensions, 43, (data) => data.u16(0x0304));
  extension(extensions, 51, (data) => data.u16(X25519).u16(32).raw(random.bytes(32)));
  const body = new ByteWriter().u16(0x0303).raw(random.bytes(32)).u8(32).raw(random.bytes(32));
  body.u16(AES_128_GCM_SHA256).u8(0).u16(extensions.length).raw(extensions.done());
  return new ByteWriter()
    .raw(record(CONTENT_HANDSHAKE, handshake(SERVER_HELLO, body.done())))
    .raw(record(CONTENT_CHANGE_CIPHER_SPEC, [1]))
    .raw(record(CONTENT_APPLICATION_DATA, random.bytes(random.between(1200, 2600))))
    .done();
}

/** Type · length (3) · body. */
function handshake(type: number, body: Uint8Array): Uint8Array {
  return new ByteWriter().u8(type).u24(body.byteLength).raw(body).done();
}

/** TLSPlaintext (5.1): content type · version (2) · length (2) · fragment. */
function record(type: number, fragment: ArrayLike<number>, version = 0x0303): Uint8Array {
  return new ByteWriter().u8(type).u16(version).u16(fragment.length).raw(fragment).done();
}

function extension(to: ByteWriter, type: number, write: (data: ByteWriter) => unknown): void {
  const data = new ByteWriter();
  write(data);
  to.u16(type).u16(data.length).raw(data.done());
}
