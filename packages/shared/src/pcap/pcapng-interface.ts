/** The interface description block of pcapng: link type, snap length, and the three options that change what packets mean. */
import type { CaptureInterface } from './format.ts';
import {
  OPTION_END,
  OPTION_INTERFACE_NAME,
  OPTION_TIME_OFFSET,
  OPTION_TIME_RESOLUTION,
  linkTypeOfField,
  readFieldU16,
  readFieldU32,
} from './format.ts';
import { TimeUnit } from './record-time.ts';

const OPTIONS_START = 16;
const TRAILER_BYTES = 4;
const RESOLUTION_DEFAULT = 6;
/** Longest interface name kept: Linux has 15 characters, Windows device names about 60. */
const NAME_BYTES_MAX = 128;

export interface ParsedInterface {
  readonly captureInterface: CaptureInterface;
  readonly time: TimeUnit;
}

/** Decodes the block at `bytes[at, at + totalBytes)`, whole and with a checked trailer; or says what is wrong with it. */
export function parseInterface(
  bytes: Uint8Array,
  at: number,
  totalBytes: number,
  bigEndian: boolean,
): ParsedInterface | string {
  const optionsEnd = at + totalBytes - TRAILER_BYTES;
  let option = at + OPTIONS_START;
  if (option > optionsEnd) return `an interface block of ${totalBytes} bytes is shorter than 20`;
  let name: string | undefined;
  let resolution = RESOLUTION_DEFAULT;
  let offsetSeconds = 0;
  while (optionsEnd - option >= 4) {
    const code = readFieldU16(bytes, option, bigEndian);
    const length = readFieldU16(bytes, option + 2, bigEndian);
    const value = option + 4;
    if (code === OPTION_END) break;
    if (value + length > optionsEnd) return `option ${code} of an interface block is longer than the block`;
    if (code === OPTION_INTERFACE_NAME) name = printableName(bytes, value, length);
    else if (code === OPTION_TIME_RESOLUTION && length >= 1) resolution = bytes[value] as number;
    else if (code === OPTION_TIME_OFFSET && length >= 8) offsetSeconds = readI64(bytes, value, bigEndian);
    option = value + Math.ceil(length / 4) * 4;
  }
  const time = new TimeUnit(resolution, offsetSeconds);
  const linkType = linkTypeOfField(readFieldU16(bytes, at + 8, bigEndian));
  const snapBytes = readFieldU32(bytes, at + 12, bigEndian);
  const described = { linkType, snapBytes, precision: time.precision };
  return { captureInterface: name === undefined ? described : { ...described, name }, time };
}

/** Names end up in logs and tables: control characters become dots. */
function printableName(bytes: Uint8Array, offset: number, length: number): string {
  const text = new TextDecoder().decode(bytes.subarray(offset, offset + Math.min(length, NAME_BYTES_MAX)));
  return text.replace(/\0+$/, '').replace(/\p{Cc}/gu, '.');
}

/** As a double: an offset beyond 2^53 seconds is clamped with its packets anyway. */
function readI64(bytes: Uint8Array, offset: number, bigEndian: boolean): number {
  const first = readFieldU32(bytes, offset, bigEndian);
  const second = readFieldU32(bytes, offset + 4, bigEndian);
  return bigEndian ? (first | 0) * 2 ** 32 + second : (second | 0) * 2 ** 32 + first;
}
