/**
 * The messages of the bus, as `docs/alerts.proto` describes them to others; a test compares the two, field by field.
 *
 *   Envelope         what PUB sends behind its topic, and what a replay is made of
 *   ReplayRequest    what a late subscriber asks
 *   ReplayResponse   what it gets
 */
import { SEVERITIES } from '../alert/finding.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Health } from './health.ts';
import { decodeMessage, encodeMessage, type Decoded, type ValueOf } from './protobuf-table.ts';

export const ENVELOPE_VERSION = 1;
/** An alert has at most 16 slices and 8 flows: about 4 KiB, of which paths are the most. */
export const ENVELOPE_BYTES_MAX = 256 * 1024;
export const REQUEST_BYTES_MAX = 64;
export const REPLAY_LIMIT_MAX = 1000;
/** A thousand alerts as large as they come would be 256 MiB; a response ends earlier and says so. */
export const REPLAY_BYTES_MAX = 4 * 1024 * 1024;
const RESPONSE_BYTES_MAX = REPLAY_BYTES_MAX + ENVELOPE_BYTES_MAX + 64 * 1024;

const SLICE = {
  file: { number: 1, type: 'string' },
  firstPacket: { number: 2, type: 'uint64' },
  lastPacket: { number: 3, type: 'uint64' },
  firstOffset: { number: 4, type: 'int64' },
  lastOffset: { number: 5, type: 'int64' },
} as const;

const FEATURE = {
  name: { number: 1, type: 'string' },
  value: { number: 2, type: 'double' },
  contribution: { number: 3, type: 'double' },
} as const;

const ALERT = {
  id: { number: 1, type: 'string' },
  sensor: { number: 2, type: 'string' },
  rule: { number: 3, type: 'string' },
  title: { number: 4, type: 'string' },
  /** 1 info … 5 critical; 0 is never sent. */
  severity: { number: 5, type: 'uint32' },
  score: { number: 6, type: 'double' },
  firstUs: { number: 7, type: 'int64' },
  lastUs: { number: 8, type: 'int64' },
  count: { number: 9, type: 'uint64' },
  techniqueId: { number: 10, type: 'string' },
  techniqueName: { number: 11, type: 'string' },
  source: { number: 12, type: 'string' },
  destination: { number: 13, type: 'string' },
  /** 0: none. */
  port: { number: 14, type: 'uint32' },
  protocol: { number: 15, type: 'string' },
  transport: { number: 16, type: 'string' },
  communityId: { number: 17, type: 'string' },
  evidence: { number: 18, type: 'string' },
  features: { number: 19, type: FEATURE, isRepeated: true },
  flows: { number: 20, type: 'string', isRepeated: true },
  slices: { number: 21, type: SLICE, isRepeated: true },
  export: { number: 22, type: 'string' },
  label: { number: 23, type: 'string' },
  note: { number: 24, type: 'string' },
} as const;

const QUEUE = {
  name: { number: 1, type: 'string' },
  queued: { number: 2, type: 'uint64' },
  dropped: { number: 3, type: 'uint64' },
} as const;

const HEARTBEAT = {
  agent: { number: 1, type: 'string' },
  hostname: { number: 2, type: 'string' },
  version: { number: 3, type: 'string' },
  uptimeMs: { number: 4, type: 'uint64' },
  packets: { number: 5, type: 'uint64' },
  alerts: { number: 6, type: 'uint64' },
  lastSequence: { number: 7, type: 'uint64' },
  cpuPercent: { number: 8, type: 'double' },
  rssBytes: { number: 9, type: 'uint64' },
  intervalMs: { number: 10, type: 'uint32' },
  queues: { number: 11, type: QUEUE, isRepeated: true },
} as const;

const ENVELOPE = {
  version: { number: 1, type: 'uint32' },
  sequence: { number: 2, type: 'uint64' },
  sentAtUs: { number: 3, type: 'int64' },
  agent: { number: 6, type: 'string' },
  alert: { number: 4, type: ALERT },
  heartbeat: { number: 5, type: HEARTBEAT },
} as const;

const REPLAY_REQUEST = {
  fromSequence: { number: 1, type: 'uint64' },
  limit: { number: 2, type: 'uint32' },
} as const;

const REPLAY_RESPONSE = {
  error: { number: 1, type: 'string' },
  envelopes: { number: 2, type: ENVELOPE, isRepeated: true },
  firstSequence: { number: 3, type: 'uint64' },
  lastSequence: { number: 4, type: 'uint64' },
} as const;

/** By their names in `docs/alerts.proto`. */
export const TABLES = {
  Slice: SLICE,
  Feature: FEATURE,
  Alert: ALERT,
  Queue: QUEUE,
  Heartbeat: HEARTBEAT,
  Envelope: ENVELOPE,
  ReplayRequest: REPLAY_REQUEST,
  ReplayResponse: REPLAY_RESPONSE,
} as const;

export type WireAlert = ValueOf<typeof ALERT>;
export type WireHeartbeat = ValueOf<typeof HEARTBEAT>;
export type Envelope = ValueOf<typeof ENVELOPE>;
export type ReplayRequest = ValueOf<typeof REPLAY_REQUEST>;
export type ReplayResponse = ValueOf<typeof REPLAY_RESPONSE>;

export interface EnvelopeOrigin {
  readonly agent: string;
  /** Wall time. */
  readonly sentAtUs: number;
}

export function alertEnvelope(record: AlertRecord, origin: EnvelopeOrigin): Envelope {
  const { sequence } = record;
  return { version: ENVELOPE_VERSION, sequence, ...origin, alert: wireAlert(record), heartbeat: null };
}

export function heartbeatEnvelope(health: Health): Envelope {
  const { sentAtUs, agent } = health;
  return { version: ENVELOPE_VERSION, sequence: 0, sentAtUs, agent, alert: null, heartbeat: health };
}

function wireAlert(record: AlertRecord): WireAlert {
  return {
    ...record,
    severity: SEVERITIES.indexOf(record.severity) + 1,
    techniqueId: record.technique?.id ?? '',
    techniqueName: record.technique?.name ?? '',
    port: Math.max(0, record.port),
    communityId: record.community_id,
    label: record.label ?? '',
  };
}

export function encodeEnvelope(envelope: Envelope): Uint8Array {
  return encodeMessage(ENVELOPE, envelope);
}

export function decodeEnvelope(bytes: Uint8Array): Decoded<Envelope> {
  const decoded = decodeMessage(ENVELOPE, bytes, ENVELOPE_BYTES_MAX);
  if (decoded.kind === 'malformed') return decoded;
  const { version, alert, heartbeat } = decoded.value;
  if (version !== ENVELOPE_VERSION) return { kind: 'malformed', reason: `version ${version}` };
  if ((alert === null) === (heartbeat === null)) return { kind: 'malformed', reason: 'neither an alert nor a heartbeat, or both' }; // prettier-ignore
  return decoded;
}

export function encodeReplayRequest(request: ReplayRequest): Uint8Array {
  return encodeMessage(REPLAY_REQUEST, request);
}

/** `limit` 0, or left out, is as many as there may be. */
export function decodeReplayRequest(bytes: Uint8Array): Decoded<ReplayRequest> {
  const decoded = decodeMessage(REPLAY_REQUEST, bytes, REQUEST_BYTES_MAX);
  if (decoded.kind === 'malformed') return decoded;
  const { limit, fromSequence } = decoded.value;
  if (limit > REPLAY_LIMIT_MAX) return { kind: 'malformed', reason: `limit ${limit} is above ${REPLAY_LIMIT_MAX}` }; // prettier-ignore
  return { kind: 'message', value: { fromSequence, limit: limit === 0 ? REPLAY_LIMIT_MAX : limit } };
}

export function encodeReplayResponse(response: ReplayResponse): Uint8Array {
  return encodeMessage(REPLAY_RESPONSE, response);
}

export function decodeReplayResponse(bytes: Uint8Array): Decoded<ReplayResponse> {
  return decodeMessage(REPLAY_RESPONSE, bytes, RESPONSE_BYTES_MAX);
}
