/** What the functions of DNP3 are called and do, and where in its objects a value and a status stand. */
import type { Action } from './dissector.ts';

export const FUNCTIONS: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [0, ['confirm', 'other']],
  [1, ['read', 'read']],
  [2, ['write', 'write']],
  [3, ['select', 'control']],
  [4, ['operate', 'control']],
  [5, ['direct-operate', 'control']],
  [6, ['direct-operate-no-ack', 'control']],
  [7, ['immediate-freeze', 'control']],
  [8, ['immediate-freeze-no-ack', 'control']],
  [9, ['freeze-clear', 'control']],
  [10, ['freeze-clear-no-ack', 'control']],
  [11, ['freeze-at-time', 'control']],
  [12, ['freeze-at-time-no-ack', 'control']],
  [13, ['cold-restart', 'control']],
  [14, ['warm-restart', 'control']],
  [15, ['initialize-data', 'control']],
  [16, ['initialize-application', 'control']],
  [17, ['start-application', 'control']],
  [18, ['stop-application', 'control']],
  [19, ['save-configuration', 'program']],
  [20, ['enable-unsolicited', 'control']],
  [21, ['disable-unsolicited', 'control']],
  [22, ['assign-class', 'write']],
  [23, ['delay-measurement', 'read']],
  [24, ['record-current-time', 'control']],
  [25, ['open-file', 'file']],
  [26, ['close-file', 'file']],
  [27, ['delete-file', 'file']],
  [28, ['get-file-information', 'file']],
  [29, ['authenticate-file', 'file']],
  [30, ['abort-file', 'file']],
  [31, ['activate-configuration', 'program']],
  [32, ['authentication-request', 'session']],
  [33, ['authentication-request-no-ack', 'session']],
  [129, ['response', 'report']],
  [130, ['unsolicited-response', 'report']],
  [131, ['authentication-response', 'session']],
] as const); // prettier-ignore

/** Frames of the link alone, by PRM bit and link function. */
export const LINK_PRIMARY: readonly string[] = ['reset-link', '', 'test-link', '', '', '', '', '', '', 'request-link-status']; // prettier-ignore
export const LINK_SECONDARY: readonly string[] = ['link-ack', 'link-nack', '', '', '', '', '', '', '', '', '', 'link-status', '', '', 'link-not-functioning', 'link-not-supported']; // prettier-ignore

/** Where in an object its value stands, by group and variation: bytes in front of it and how it is written. */
type Encoding = 'byte' | 'bit7' | 'u16' | 'i16' | 'u32' | 'i32' | 'u48' | 'f32' | 'f64';
export const VALUES: ReadonlyMap<string, readonly [number, Encoding]> = new Map([
  ['g1v2', [0, 'bit7']], ['g2v1', [0, 'bit7']], ['g2v2', [0, 'bit7']], ['g2v3', [0, 'bit7']], ['g10v2', [0, 'bit7']], ['g11v1', [0, 'bit7']], ['g11v2', [0, 'bit7']],
  ['g12v1', [0, 'byte']],
  ['g20v1', [1, 'u32']], ['g20v2', [1, 'u16']], ['g20v5', [0, 'u32']], ['g20v6', [0, 'u16']], ['g21v1', [1, 'u32']], ['g21v2', [1, 'u16']], ['g21v9', [0, 'u32']], ['g21v10', [0, 'u16']], ['g22v1', [1, 'u32']], ['g22v2', [1, 'u16']],
  ['g30v1', [1, 'i32']], ['g30v2', [1, 'i16']], ['g30v3', [0, 'i32']], ['g30v4', [0, 'i16']], ['g30v5', [1, 'f32']], ['g30v6', [1, 'f64']],
  ['g32v1', [1, 'i32']], ['g32v2', [1, 'i16']], ['g32v3', [1, 'i32']], ['g32v4', [1, 'i16']], ['g32v5', [1, 'f32']], ['g32v6', [1, 'f64']], ['g32v7', [1, 'f32']], ['g32v8', [1, 'f64']],
  ['g40v1', [1, 'i32']], ['g40v2', [1, 'i16']], ['g40v3', [1, 'f32']], ['g40v4', [1, 'f64']],
  ['g41v1', [0, 'i32']], ['g41v2', [0, 'i16']], ['g41v3', [0, 'f32']], ['g41v4', [0, 'f64']],
  ['g50v1', [0, 'u48']], ['g50v3', [0, 'u48']],
] as const); // prettier-ignore
export const ENCODED_BYTES = {
  byte: 1,
  bit7: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u48: 6,
  f32: 4,
  f64: 8,
} as const;

/** Where the status of an echoed command stands. */
export const STATUS_AT: ReadonlyMap<string, number> = new Map([['g12v1', 10], ['g41v1', 4], ['g41v2', 2], ['g41v3', 4], ['g41v4', 8]]); // prettier-ignore
export const STATUSES: readonly string[] = ['', 'timeout', 'no-select', 'format-error', 'not-supported', 'already-active', 'hardware-error', 'local', 'too-many-objects', 'not-authorized', 'automation-inhibit', 'processing-limited', 'out-of-range']; // prettier-ignore
