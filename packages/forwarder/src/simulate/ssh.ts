/**
 * SSH (RFC 4253) as an observer sees it: banners, key exchange, then encrypted packets. Ends when the server refuses the
 * password.
 *
 *   banner   SSH-2.0-… CR LF
 *   packet   length (4) · padding length · message number and fields · padding; all of it a multiple of eight bytes
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const SSH_PORT = 22;

const KEXINIT = 20;
const NEWKEYS = 21;
const KEX_ECDH_INIT = 30;
const KEX_ECDH_REPLY = 31;

/** The name lists of KEXINIT (7.1), both ways the same. */
const ALGORITHMS = [
  'curve25519-sha256',
  'ssh-rsa',
  'aes128-ctr',
  'aes128-ctr',
  'hmac-sha2-256',
  'hmac-sha2-256',
  'none',
  'none',
  '',
  '',
];

/** One connection with a few wrong passwords; the server closes it. */
export function* sshLoginAttempt(
  world: World,
  client: Host,
  server: Host,
  passwords: number,
  random: Prng,
): Process {
  const tcp = new TcpConversation(world, 'ssh', client, server, SSH_PORT, random);
  yield* tcp.open();
  yield* tcp.sleep(random.between(4 * MILLISECOND, 15 * MILLISECOND));
  yield* tcp.send(tcp.server, banner('OpenSSH_7.4'));
  yield* tcp.sleep(random.between(300 * MICROSECOND, 900 * MICROSECOND));
  yield* tcp.send(tcp.client, banner('libssh2_1.10.0'));
  yield* tcp.think(200 * MICROSECOND);
  yield* tcp.send(tcp.server, keyExchangeInit(random));
  yield* tcp.sleep(random.between(300 * MICROSECOND, 900 * MICROSECOND));
  yield* tcp.send(tcp.client, keyExchangeInit(random));
  yield* tcp.sleep(random.between(2 * MILLISECOND, 5 * MILLISECOND));
  yield* tcp.send(
    tcp.client,
    packet(new ByteWriter().u8(KEX_ECDH_INIT).u32(32).raw(random.bytes(32)), random),
  );
  yield* tcp.think(random.between(2 * MILLISECOND, 6 * MILLISECOND));
  yield* tcp.send(tcp.server, keyExchangeReply(random));
  yield* tcp.sleep(random.between(MILLISECOND, 3 * MILLISECOND));
  yield* tcp.send(tcp.client, packet(new ByteWriter().u8(NEWKEYS), random));
  yield* tcp.sleep(random.between(MILLISECOND, 2 * MILLISECOND));
  // Service request and its acceptance, then one request and one refusal for each password.
  for (let exchange = 0; exchange <= passwords; exchange++) {
    yield* tcp.send(tcp.client, encrypted(random.between(4, 8), random));
    yield* tcp.think(random.between(MILLISECOND, (exchange === 0 ? 2 : 40) * MILLISECOND));
    yield* tcp.send(tcp.server, encrypted(4, random));
    yield* tcp.sleep(random.between(MILLISECOND, 5 * MILLISECOND));
  }
  yield* tcp.close(tcp.server);
}

function banner(software: string): Uint8Array {
  return new ByteWriter().ascii(`SSH-2.0-${software}\r\n`).done();
}

function keyExchangeInit(random: Prng): Uint8Array {
  const payload = new ByteWriter().u8(KEXINIT).raw(random.bytes(16));
  for (const names of ALGORITHMS) payload.u32(names.length).ascii(names);
  return packet(payload.u8(0).u32(0), random);
}

/** Host key, the server's ephemeral key (RFC 5656, 4), signature; and NEWKEYS behind it in the same segment. */
function keyExchangeReply(random: Prng): Uint8Array {
  const payload = new ByteWriter().u8(KEX_ECDH_REPLY);
  // The key (RFC 4253, 6.6): exponent 65537 and a modulus of 2,048 bits, a zero in front of it, as it is not negative.
  sshStrings(payload, [ascii('ssh-rsa'), Uint8Array.of(1, 0, 1), modulus(random)]);
  payload.u32(32).raw(random.bytes(32));
  sshStrings(payload, [ascii('ssh-rsa'), random.bytes(256)]);
  return new ByteWriter()
    .raw(packet(payload, random))
    .raw(packet(new ByteWriter().u8(NEWKEYS), random))
    .done();
}

/** A string that holds strings, each with its length. */
function sshStrings(to: ByteWriter, parts: readonly Uint8Array[]): void {
  to.u32(parts.reduce((sum, part) => sum + 4 + part.byteLength, 0));
  for (const part of parts) to.u32(part.byteLength).raw(part);
}

function modulus(random: Prng): Uint8Array {
  const bytes = random.bytes(257);
  bytes[0] = 0;
  bytes[1] = 0x80 | (bytes[1] as number);
  return bytes;
}

function ascii(text: string): Uint8Array {
  return new ByteWriter().ascii(text).done();
}

/** An unencrypted packet (section 6): at least four bytes of padding. */
function packet(payload: ByteWriter, random: Prng): Uint8Array {
  const padding = 4 + ((8 - ((5 + payload.length + 4) % 8)) % 8);
  return new ByteWriter()
    .u32(1 + payload.length + padding)
    .u8(padding)
    .raw(payload.done())
    .raw(random.bytes(padding))
    .done();
}

/** An encrypted packet of some cipher blocks, and its authentication code. */
function encrypted(blocks: number, random: Prng): Uint8Array {
  return random.bytes(16 * blocks + 32);
}
