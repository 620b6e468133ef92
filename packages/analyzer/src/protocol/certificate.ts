/**
 * What a certificate (X.509, RFC 5280) says of whom it is about and who vouches for that. DER, one element in another:
 *
 *   certificate { to be signed { [0] version?   serial   algorithm   issuer   validity   subject ... } ... }
 *   name { set { { object identifier   text } } ... }
 *
 * Only names are read: whether a signature holds, no listener can do anything about.
 */
import { createElement, readElement } from './ber.ts';
import { text } from './byte-reader.ts';

const SEQUENCE = 0x30;
const SET = 0x31;
const OBJECT_IDENTIFIER = 0x06;
const VERSION = 0xa0;
/** Strings are UTF8String, PrintableString, T61String, IA5String or in two bytes a character (BMPString), which is read as it stands. */
const ATTRIBUTES_MAX = 16;
/** Last byte of 2.5.4.n. */
const ATTRIBUTES: ReadonlyMap<number, string> = new Map([
  [3, 'CN'],
  [10, 'O'],
  [11, 'OU'],
]);

export interface CertificateNames {
  /** `CN=plc-1, O=Plant`; '' where none of its parts is known. */
  readonly subject: string;
  readonly issuer: string;
  /** Both are the same, byte by byte: it vouches for itself. */
  readonly isSelfSigned: boolean;
}

const outer = createElement();
const field = createElement();
const part = createElement();

/** The names in the certificate that begins at `at`; null for what is none, or is cut before them. */
export function readCertificate(bytes: Uint8Array, at: number, end: number): CertificateNames | null {
  // The certificate itself and what of it is signed.
  if (!enter(bytes, at, end) || !enter(bytes, outer.from, outer.to)) return null;
  let next = outer.from;
  const to = outer.to;
  if (!readElement(field, bytes, next, to)) return null;
  if (field.tag === VERSION) next = field.to;
  // Serial number and algorithm.
  for (let i = 0; i < 2; i++) {
    if (!readElement(field, bytes, next, to)) return null;
    next = field.to;
  }
  if (!isWhole(bytes, next, to)) return null;
  const [issuerFrom, issuerTo] = [field.from, field.to];
  if (!readElement(field, bytes, issuerTo, to) || !isWhole(bytes, field.to, to)) return null;
  const [subjectFrom, subjectTo] = [field.from, field.to];
  const issuer = nameOf(bytes, issuerFrom, issuerTo);
  const subject = nameOf(bytes, subjectFrom, subjectTo);
  const isSelfSigned =
    Buffer.compare(bytes.subarray(issuerFrom, issuerTo), bytes.subarray(subjectFrom, subjectTo)) === 0;
  return { subject, issuer, isSelfSigned };
}

function enter(bytes: Uint8Array, at: number, end: number): boolean {
  return readElement(outer, bytes, at, end) && outer.tag === SEQUENCE;
}

function isWhole(bytes: Uint8Array, at: number, end: number): boolean {
  return readElement(field, bytes, at, end) && field.tag === SEQUENCE && !field.isCut;
}

function nameOf(bytes: Uint8Array, from: number, to: number): string {
  const parts: string[] = [];
  let next = from;
  for (let i = 0; i < ATTRIBUTES_MAX && readElement(field, bytes, next, to); i++) {
    next = field.to;
    // A set of one pair, hardly ever of more.
    if (field.tag !== SET || !readElement(outer, bytes, field.from, field.to)) continue;
    if (!readElement(part, bytes, outer.from, outer.to) || part.tag !== OBJECT_IDENTIFIER) continue;
    const name = attributeName(bytes, part.from, part.to);
    if (name !== undefined && readElement(part, bytes, part.to, outer.to))
      parts.push(`${name}=${text(bytes, part.from, part.to, 64)}`);
  }
  return parts.join(', ').slice(0, 200);
}

/** Of the identifiers below 2.5.4, the attributes of names. */
function attributeName(bytes: Uint8Array, from: number, to: number): string | undefined {
  if (to - from !== 3 || bytes[from] !== 0x55 || bytes[from + 1] !== 4) return undefined;
  return ATTRIBUTES.get(bytes[from + 2] as number);
}
