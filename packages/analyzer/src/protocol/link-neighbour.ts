/**
 * What neighbours on a cable tell each other: LLDP (IEEE 802.1AB, EtherType 0x88CC), and Cisco's CDP and DTP behind SNAP AA AA 03 00 00 0C 20 00 and
 * 20 04. All are type, length, value, big-endian:
 *
 *   LLDP   type (7 bits) length (9 bits) value …                     the first is the chassis
 *   CDP    0 version   1 time to live   2 checksum (2)   4 type (2) length (2, these four included) value …    the first is the device
 *   DTP    0 version   1 type (2) length (2, these four included) value …    type 2 is the status: low bits 1 on, 2 off, 3 desirable, 4 auto
 */
import { fingerprint } from './ber.ts';
import { be16 } from './byte-reader.ts';

const CDP_HEADER_BYTES = 4;
const DTP_HEADER_BYTES = 1;
const DTP_STATUS = 2;
const DTP_STATUS_BITS = 0x07;
/** DTP has four of them. */
const ELEMENTS_MAX = 8;

/** A number for the chassis that the LLDP message at `at` names; -1 where it names none. */
export function lldpChassis(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 2) return -1;
  const header = be16(bytes, at);
  const to = at + 2 + (header & 0x1ff);
  return header >> 9 === 1 && to <= end ? fingerprint(bytes, at + 2, to) : -1;
}

/** A number for the device that the CDP message at `at` names; -1 where it names none. */
export function cdpDevice(bytes: Uint8Array, at: number, end: number): number {
  const first = at + CDP_HEADER_BYTES;
  if (end - first < 4 || be16(bytes, first) !== 1) return -1;
  const to = first + be16(bytes, first + 2);
  return to >= first + 4 && to <= end ? fingerprint(bytes, first + 4, to) : -1;
}

/** What the sender of the DTP message at `at` wants: 1 a trunk, 2 none, 3 to talk one into being, 4 one if it is asked; -1 where it does not say. */
export function dtpStatus(bytes: Uint8Array, at: number, end: number): number {
  let next = at + DTP_HEADER_BYTES;
  for (let elements = 0; elements < ELEMENTS_MAX && end - next >= 5; elements++) {
    const length = be16(bytes, next + 2);
    if (length < 5 || next + length > end) return -1;
    if (be16(bytes, next) === DTP_STATUS) return (bytes[next + 4] as number) & DTP_STATUS_BITS;
    next += length;
  }
  return -1;
}
