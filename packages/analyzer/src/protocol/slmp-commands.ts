/**
 * What SLMP's commands are called and do, how devices of a MELSEC controller are written, and what its end codes mean: as Mitsubishi Electric's SLMP and MC protocol
 * reference manuals have them. Codes that are not here keep their number.
 */
import type { Action } from './dissector.ts';

/** How the data of a request begins: devices in a row, devices one by one, labels by name, or nothing that is read. */
export type Shape = 'range' | 'random' | 'block' | 'label' | 'other';

export interface SlmpCommand {
  readonly name: string;
  readonly action: Action;
  readonly shape: Shape;
}

export const READ = 0x0401;
export const WRITE = 0x1401;
export const WRITE_RANDOM = 0x1402;
export const UNLOCK = 0x1630;

/** A file of a controller is its program, its parameters or its recipes: who puts one there changes what it does. */
const ROWS: readonly (readonly [number, string, Action, Shape])[] = [
  [0x0101, 'read-cpu-model', 'discover', 'other'], [0x0401, 'read', 'read', 'range'], [0x0403, 'read-random', 'read', 'random'],
  [0x0406, 'read-block', 'read', 'block'], [0x041a, 'read-array-label', 'read', 'label'], [0x041c, 'read-label', 'read', 'label'],
  [0x0601, 'read-module-memory', 'read', 'other'], [0x0613, 'read-buffer-memory', 'read', 'other'], [0x0619, 'self-test', 'session', 'other'],
  [0x0801, 'register-monitor', 'read', 'random'], [0x0802, 'monitor', 'read', 'other'], [0x0e30, 'search-nodes', 'discover', 'other'],
  [0x0e31, 'set-ip-address', 'control', 'other'], [0x1001, 'plc-start', 'control', 'other'], [0x1002, 'plc-stop', 'control', 'other'],
  [0x1003, 'plc-pause', 'control', 'other'], [0x1005, 'latch-clear', 'control', 'other'], [0x1006, 'plc-reset', 'control', 'other'],
  [0x1401, 'write', 'write', 'range'], [0x1402, 'write-random', 'write', 'random'], [0x1406, 'write-block', 'write', 'block'],
  [0x141a, 'write-array-label', 'write', 'label'], [0x141b, 'write-label', 'write', 'label'], [0x1601, 'write-module-memory', 'write', 'other'],
  [0x1613, 'write-buffer-memory', 'write', 'other'], [0x1617, 'clear-error', 'control', 'other'], [UNLOCK, 'remote-unlock', 'session', 'other'],
  [0x1631, 'remote-lock', 'session', 'other'], [0x1810, 'list-files', 'file', 'other'], [0x1811, 'find-file', 'file', 'other'],
  [0x1820, 'new-file', 'program', 'other'], [0x1822, 'delete-file', 'file', 'other'], [0x1824, 'copy-file', 'program', 'other'],
  [0x1825, 'set-file-attribute', 'file', 'other'], [0x1826, 'set-file-date', 'file', 'other'], [0x1827, 'open-file', 'file', 'other'],
  [0x1828, 'read-file', 'file', 'other'], [0x1829, 'write-file', 'program', 'other'], [0x182a, 'close-file', 'file', 'other'],
  [0x2101, 'on-demand', 'report', 'other'],
]; // prettier-ignore

export const COMMANDS: ReadonlyMap<number, SlmpCommand> = new Map(
  ROWS.map(([code, name, action, shape]) => [code, { name, action, shape }]),
);

/** Device codes of the binary frames. Numbers of inputs, outputs and link devices are written in hexadecimal. */
const DEVICES: ReadonlyMap<number, string> = new Map([
  [0x91, 'SM'], [0xa9, 'SD'], [0x9c, 'X'], [0x9d, 'Y'], [0x90, 'M'], [0x92, 'L'], [0x93, 'F'], [0x94, 'V'], [0xa0, 'B'], [0xa8, 'D'], [0xb4, 'W'],
  [0xc1, 'TS'], [0xc0, 'TC'], [0xc2, 'TN'], [0x51, 'LTS'], [0x50, 'LTC'], [0x52, 'LTN'], [0xc7, 'STS'], [0xc6, 'STC'], [0xc8, 'STN'],
  [0x59, 'LSTS'], [0x58, 'LSTC'], [0x5a, 'LSTN'], [0xc4, 'CS'], [0xc3, 'CC'], [0xc5, 'CN'], [0x55, 'LCS'], [0x54, 'LCC'], [0x56, 'LCN'],
  [0xa1, 'SB'], [0xb5, 'SW'], [0x98, 'S'], [0xa2, 'DX'], [0xa3, 'DY'], [0xcc, 'Z'], [0x62, 'LZ'], [0xaf, 'R'], [0xb0, 'ZR'], [0x2c, 'RD'], [0xab, 'G'],
]); // prettier-ignore
const HEXADECIMAL: ReadonlySet<string> = new Set(['X', 'Y', 'B', 'W', 'SB', 'SW', 'DX', 'DY']);

/** `D100`, `X1F`; `dev-0x77:5` where the code is not known. */
export function deviceName(code: number, number: number): string {
  const device = DEVICES.get(code);
  if (device === undefined) return `dev-0x${code.toString(16)}:${number}`;
  return device + (HEXADECIMAL.has(device) ? number.toString(16).toUpperCase() : String(number));
}

const END_CODES: ReadonlyMap<number, string> = new Map([
  [0x4031, 'device-out-of-range'],
  [0x4080, 'request-data-error'],
  [0xc051, 'count-out-of-range'],
  [0xc052, 'count-out-of-range'],
  [0xc053, 'count-out-of-range'],
  [0xc054, 'count-out-of-range'],
  [0xc056, 'address-out-of-range'],
  [0xc059, 'command-not-supported'],
  [0xc05b, 'device-not-accessible'],
  [0xc05c, 'request-content'],
  [0xc061, 'request-length'],
  [0xc201, 'locked'],
]);

/** What those of 0xc05x and 0xc06x find fault with is the request's form, not the password in it. */
function isAboutForm(endCode: number): boolean {
  return endCode >= 0xc050 && endCode < 0xc080;
}

/** Why it was refused; '' for 0, which is success. */
export function endCodeName(endCode: number, command: number): string {
  if (endCode === 0) return '';
  const isWrongPassword = endCode === 0xc200 || (endCode >= 0xc810 && endCode <= 0xc816);
  if (isWrongPassword || (command === UNLOCK && !isAboutForm(endCode))) return 'password-refused';
  return END_CODES.get(endCode) ?? `end-code-0x${endCode.toString(16).padStart(4, '0')}`;
}
