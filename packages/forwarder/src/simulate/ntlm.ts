/**
 * NTLMSSP (MS-NLMP, 2.2.1) in SPNEGO (RFC 4178): how SMB2 sessions are authenticated. Little-endian inside, BER around it.
 * The proofs are random bytes: nobody checks a password here.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { integer, tlv } from './ber.ts';
import { ByteWriter } from './byte-writer.ts';
import { fileTime } from './file-time.ts';

const NEGOTIATE = 1;
const CHALLENGE = 2;
const AUTHENTICATE = 3;
/** Unicode, request target, NTLM, always sign, extended session security, target info, version, 128, key exchange, 56. */
const FLAGS = 0xe288_8215;
/** Windows 10, NTLM revision 15. */
const VERSION = [10, 0, 0x61, 0x4a, 0, 0, 0, 15];

/** Attribute-value pairs of the target information (2.2.2.1). */
const AV_END = 0;
const AV_COMPUTER = 1;
const AV_DOMAIN = 2;
const AV_TIMESTAMP = 7;

const OID_SPNEGO = [0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const OID_NTLMSSP = [0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];

const ACCEPT_COMPLETED = 0;
const ACCEPT_INCOMPLETE = 1;

export interface Login {
  readonly domain: string;
  readonly user: string;
  readonly workstation: string;
  readonly server: string;
}

/** What a server offers in its negotiate response: NegTokenInit with NTLMSSP as the only mechanism. */
export function offeredMechanisms(): Uint8Array {
  return tlv(0x60, OID_SPNEGO, tlv(0xa0, tlv(0x30, tlv(0xa0, tlv(0x30, OID_NTLMSSP)))));
}

/** The client's first token. */
export function negotiateToken(): Uint8Array {
  const message = ntlm(NEGOTIATE).u32le(FLAGS).zeros(16).raw(VERSION);
  const inner = tlv(0xa2, tlv(0x04, message.done()));
  return tlv(0x60, OID_SPNEGO, tlv(0xa0, tlv(0x30, tlv(0xa0, tlv(0x30, OID_NTLMSSP)), inner)));
}

/** The server's answer: who it is, and a challenge. */
export function challengeToken(login: Login, epochMs: number, random: Prng): Uint8Array {
  const target = utf16(login.domain);
  const information = targetInformation(login, epochMs);
  const HEADER_BYTES = 56;
  const message = ntlm(CHALLENGE);
  field(message, target, HEADER_BYTES);
  message.u32le(FLAGS).raw(random.bytes(8)).zeros(8);
  field(message, information, HEADER_BYTES + target.byteLength);
  message.raw(VERSION).raw(target).raw(information);
  return negTokenResponse(ACCEPT_INCOMPLETE, message.done());
}

/** The client's proof: an NTLMv2 response of random bytes. */
export function authenticateToken(login: Login, epochMs: number, random: Prng): Uint8Array {
  const proof = new ByteWriter().raw(random.bytes(16)).u8(1).u8(1).zeros(6);
  proof.u64le(fileTime(epochMs)).raw(random.bytes(8)).zeros(4);
  proof.raw(targetInformation(login, epochMs)).zeros(4);
  const parts = [
    new Uint8Array(24),
    proof.copy(),
    utf16(login.domain),
    utf16(login.user),
    utf16(login.workstation),
    random.bytes(16),
  ];
  const HEADER_BYTES = 88;
  const message = ntlm(AUTHENTICATE);
  let at = HEADER_BYTES;
  for (const part of parts) {
    field(message, part, at);
    at += part.byteLength;
  }
  message.u32le(FLAGS).raw(VERSION).raw(random.bytes(16));
  for (const part of parts) message.raw(part);
  return tlv(0xa1, tlv(0x30, tlv(0xa2, tlv(0x04, message.done()))));
}

/** The server's last word: accepted. */
export function acceptedToken(): Uint8Array {
  return tlv(0xa1, tlv(0x30, tlv(0xa0, integer(0x0a, ACCEPT_COMPLETED))));
}

function negTokenResponse(state: number, token: Uint8Array): Uint8Array {
  return tlv(
    0xa1,
    tlv(0x30, tlv(0xa0, integer(0x0a, state)), tlv(0xa1, OID_NTLMSSP), tlv(0xa2, tlv(0x04, token))),
  );
}

function ntlm(type: number): ByteWriter {
  return new ByteWriter().ascii('NTLMSSP').u8(0).u32le(type);
}

/** Length, maximum length, offset of a part of the payload. */
function field(message: ByteWriter, part: Uint8Array, offset: number): void {
  message.u16le(part.byteLength).u16le(part.byteLength).u32le(offset);
}

function targetInformation(login: Login, epochMs: number): Uint8Array {
  const pairs = new ByteWriter();
  for (const [id, value] of [
    [AV_DOMAIN, login.domain],
    [AV_COMPUTER, login.server],
  ] as const)
    pairs
      .u16le(id)
      .u16le(2 * value.length)
      .utf16le(value);
  pairs.u16le(AV_TIMESTAMP).u16le(8).u64le(fileTime(epochMs));
  return pairs.u16le(AV_END).u16le(0).done();
}

function utf16(value: string): Uint8Array {
  return new ByteWriter().utf16le(value).done();
}
