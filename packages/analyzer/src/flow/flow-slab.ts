/**
 * The slab of rows that all flows' numbers lie in, and the loop that adds one packet to a row. About 0.15 µs a packet.
 */
import {
  ACK_COUNT,
  ACTIVE,
  ACTIVE_COUNT,
  ACTIVE_MAX,
  ACTIVE_START_US,
  BACKWARD,
  BOTH_IAT,
  BOTH_IAT_MAX,
  BOTH_IAT_MIN,
  BOTH_IAT_SQUARED,
  BULKS,
  BULK_BYTES,
  BULK_DURATION,
  BULK_PACKETS,
  BULK_PACKETS_MIN,
  BYTES,
  BYTES_MAX,
  BYTES_MIN,
  BYTES_SQUARED,
  CWR_COUNT,
  DATA_PACKETS,
  ECE_COUNT,
  END_US,
  FIN_COUNT,
  FLOW_COLUMNS,
  FORWARD,
  HEADER,
  HEADER_MAX,
  HEADER_MIN,
  IAT,
  IAT_MAX,
  IAT_MIN,
  IAT_SQUARED,
  IDLE,
  IDLE_COUNT,
  IDLE_MAX,
  IDLE_US,
  INITIAL_WINDOW,
  LAST_US,
  MISSED_BYTES,
  PACKETS,
  PAYLOAD,
  PAYLOAD_MAX,
  PAYLOAD_MIN,
  PAYLOAD_SQUARED,
  PSH,
  PSH_COUNT,
  RST_COUNT,
  RUN_BYTES,
  RUN_LAST_US,
  RUN_PACKETS,
  RUN_START_US,
  SEQUENCE_SPAN,
  SEQUENCE_START,
  START_US,
  SYN_COUNT,
  TTL_FIRST,
  URG,
  URG_COUNT,
} from './flow-columns.ts';
import {
  PROTO_TCP,
  TCP_ACK,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  type PacketView,
} from '../packet/packet-view.ts';

/** × 768 bytes = 48 KiB: a thousand quiet sensors are 48 MiB. It doubles as it fills. */
const ROWS_AT_START = 64;

/** Plain data: written down and restored as it is. */
export interface SlabState {
  values: Float64Array;
  free: number[];
  rows: number;
}

export class FlowSlab {
  #state: SlabState = { values: new Float64Array(ROWS_AT_START * FLOW_COLUMNS), free: [], rows: 0 };

  /** All rows; row `n` begins at `n`, which is already multiplied. */
  get values(): Float64Array {
    return this.#state.values;
  }

  /** What there is to write down: only rows that were ever used. */
  snapshot(): SlabState {
    const { values, free, rows } = this.#state;
    return { values: values.slice(0, rows * FLOW_COLUMNS), free: [...free], rows };
  }

  restore(state: SlabState): void {
    const values = new Float64Array(Math.max(ROWS_AT_START, state.rows) * FLOW_COLUMNS);
    values.set(state.values);
    this.#state = { values, free: [...state.free], rows: state.rows };
  }

  /** An empty row; its offset in `values`. */
  take(): number {
    const state = this.#state;
    const row = state.free.pop() ?? state.rows++ * FLOW_COLUMNS;
    if (row + FLOW_COLUMNS > state.values.length) {
      const larger = new Float64Array(state.values.length * 2);
      larger.set(state.values);
      state.values = larger;
    }
    state.values.fill(0, row, row + FLOW_COLUMNS);
    for (const direction of [FORWARD, BACKWARD]) {
      state.values[row + direction + INITIAL_WINDOW] = -1;
      state.values[row + direction + SEQUENCE_START] = -1;
    }
    return row;
  }

  give(row: number): void {
    this.#state.free.push(row);
  }
}

/** Adds the packet to its flow's row. `direction` is FORWARD or BACKWARD. */
export function addToRow(v: Float64Array, row: number, direction: number, packet: PacketView): void {
  const d = row + direction;
  const at = packet.timeUs;
  const bytes = packet.packetBytes;
  const payload = Math.max(0, packet.payloadWireBytes);
  const isFirst = get(v, row + FORWARD + PACKETS) + get(v, row + BACKWARD + PACKETS) === 0;
  if (isFirst) {
    v[row + START_US] = at;
    v[row + END_US] = at;
    v[row + ACTIVE_START_US] = at;
    v[row + TTL_FIRST] = packet.ttl;
  } else addGap(v, row, at);
  addLengths(v, d, bytes, payload, packet.headerBytes);
  if (get(v, d + PACKETS) > 0) {
    // Packets of a merged stream may stand a little out of order: time does not run backwards for that.
    const gap = Math.max(0, at - get(v, d + LAST_US));
    if (get(v, d + PACKETS) === 1 || gap < get(v, d + IAT_MIN)) v[d + IAT_MIN] = gap;
    if (gap > get(v, d + IAT_MAX)) v[d + IAT_MAX] = gap;
    add(v, d + IAT, gap);
    add(v, d + IAT_SQUARED, gap * gap);
  }
  v[d + LAST_US] = Math.max(at, get(v, d + LAST_US));
  add(v, d + PACKETS, 1);
  if (payload > 0) addToRun(v, row, direction, at, payload);
  // A later fragment, or one cut before its ports, has no TCP header to read.
  const hasHeader = packet.inner.transportOffset !== -1 && packet.sourcePort !== -1;
  if (packet.protocol === PROTO_TCP && hasHeader) addTcp(v, row, d, packet, payload);
}

function addGap(v: Float64Array, row: number, at: number): void {
  const end = get(v, row + END_US);
  const gap = Math.max(0, at - end);
  const packets = get(v, row + FORWARD + PACKETS) + get(v, row + BACKWARD + PACKETS);
  if (packets === 1 || gap < get(v, row + BOTH_IAT_MIN)) v[row + BOTH_IAT_MIN] = gap;
  if (gap > get(v, row + BOTH_IAT_MAX)) v[row + BOTH_IAT_MAX] = gap;
  add(v, row + BOTH_IAT, gap);
  add(v, row + BOTH_IAT_SQUARED, gap * gap);
  if (gap > IDLE_US) {
    const active = end - get(v, row + ACTIVE_START_US);
    add(v, row + ACTIVE, active);
    if (active > get(v, row + ACTIVE_MAX)) v[row + ACTIVE_MAX] = active;
    add(v, row + ACTIVE_COUNT, 1);
    add(v, row + IDLE, gap);
    if (gap > get(v, row + IDLE_MAX)) v[row + IDLE_MAX] = gap;
    add(v, row + IDLE_COUNT, 1);
    v[row + ACTIVE_START_US] = at;
  }
  v[row + END_US] = Math.max(end, at);
}

function addLengths(v: Float64Array, d: number, bytes: number, payload: number, header: number): void {
  const isFirst = get(v, d + PACKETS) === 0;
  add(v, d + BYTES, bytes);
  add(v, d + BYTES_SQUARED, bytes * bytes);
  if (isFirst || bytes < get(v, d + BYTES_MIN)) v[d + BYTES_MIN] = bytes;
  if (bytes > get(v, d + BYTES_MAX)) v[d + BYTES_MAX] = bytes;
  add(v, d + PAYLOAD, payload);
  add(v, d + PAYLOAD_SQUARED, payload * payload);
  if (isFirst || payload < get(v, d + PAYLOAD_MIN)) v[d + PAYLOAD_MIN] = payload;
  if (payload > get(v, d + PAYLOAD_MAX)) v[d + PAYLOAD_MAX] = payload;
  if (payload > 0) add(v, d + DATA_PACKETS, 1);
  add(v, d + HEADER, header);
  if (isFirst || header < get(v, d + HEADER_MIN)) v[d + HEADER_MIN] = header;
  if (header > get(v, d + HEADER_MAX)) v[d + HEADER_MAX] = header;
}

/** A run of payload one way: interrupted by the other way's payload, or by a pause. */
function addToRun(v: Float64Array, row: number, direction: number, at: number, payload: number): void {
  const d = row + direction;
  endRun(v, row + (direction === FORWARD ? BACKWARD : FORWARD));
  if (get(v, d + RUN_PACKETS) > 0 && at - get(v, d + RUN_LAST_US) > IDLE_US) endRun(v, d);
  if (get(v, d + RUN_PACKETS) === 0) v[d + RUN_START_US] = at;
  add(v, d + RUN_PACKETS, 1);
  add(v, d + RUN_BYTES, payload);
  v[d + RUN_LAST_US] = Math.max(at, get(v, d + RUN_LAST_US));
}

/** A run that was long enough becomes a bulk. `d` is a row plus a direction. */
export function endRun(v: Float64Array, d: number): void {
  const packets = get(v, d + RUN_PACKETS);
  if (packets === 0) return;
  if (packets >= BULK_PACKETS_MIN) {
    add(v, d + BULKS, 1);
    add(v, d + BULK_PACKETS, packets);
    add(v, d + BULK_BYTES, get(v, d + RUN_BYTES));
    add(v, d + BULK_DURATION, get(v, d + RUN_LAST_US) - get(v, d + RUN_START_US));
  }
  v[d + RUN_PACKETS] = 0;
  v[d + RUN_BYTES] = 0;
  v[d + RUN_LAST_US] = 0;
}

function addTcp(v: Float64Array, row: number, d: number, packet: PacketView, payload: number): void {
  const flags = packet.tcpFlags;
  if ((flags & TCP_FIN) !== 0) add(v, row + FIN_COUNT, 1);
  if ((flags & TCP_SYN) !== 0) add(v, row + SYN_COUNT, 1);
  if ((flags & TCP_RST) !== 0) add(v, row + RST_COUNT, 1);
  if ((flags & TCP_ACK) !== 0) add(v, row + ACK_COUNT, 1);
  if ((flags & TCP_ECE) !== 0) add(v, row + ECE_COUNT, 1);
  if ((flags & TCP_CWR) !== 0) add(v, row + CWR_COUNT, 1);
  if ((flags & TCP_PSH) !== 0) {
    add(v, row + PSH_COUNT, 1);
    add(v, d + PSH, 1);
  }
  if ((flags & TCP_URG) !== 0) {
    add(v, row + URG_COUNT, 1);
    add(v, d + URG, 1);
  }
  if (get(v, d + INITIAL_WINDOW) === -1) v[d + INITIAL_WINDOW] = packet.tcpWindow;
  addSequence(v, d, packet, payload);
}

/** How far the stream has come, and what of it was not seen: retransmissions do not count twice. */
function addSequence(v: Float64Array, d: number, packet: PacketView, payload: number): void {
  const isSyn = (packet.tcpFlags & TCP_SYN) !== 0;
  const first = (packet.tcpSequence + (isSyn ? 1 : 0)) % 0x1_0000_0000;
  // A SYN that is tried again may begin elsewhere.
  if (isSyn && get(v, d + SEQUENCE_SPAN) === 0) v[d + SEQUENCE_START] = first;
  // Only a FIN is believed without data: resets and probes carry any number.
  if (payload === 0 && (packet.tcpFlags & TCP_FIN) === 0) return;
  if (get(v, d + SEQUENCE_START) === -1) {
    if (payload === 0) return;
    v[d + SEQUENCE_START] = first;
  }
  const from = (first - get(v, d + SEQUENCE_START) + 0x1_0000_0000) % 0x1_0000_0000;
  // Beyond half the space it is older than the start, not two gigabytes ahead.
  if (from > 0x8000_0000) return;
  const span = get(v, d + SEQUENCE_SPAN);
  // A hole, until something fills it. A retransmission of what was seen closes as much of it, wrongly: holes are not kept.
  if (from > span) add(v, d + MISSED_BYTES, from - span);
  else if (get(v, d + MISSED_BYTES) > 0)
    v[d + MISSED_BYTES] = Math.max(0, get(v, d + MISSED_BYTES) - Math.min(payload, span - from));
  if (from + payload > span) v[d + SEQUENCE_SPAN] = from + payload;
}

function get(v: Float64Array, index: number): number {
  return v[index] as number;
}

function add(v: Float64Array, index: number, amount: number): void {
  v[index] = (v[index] as number) + amount;
}
