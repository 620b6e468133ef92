/**
 * The numbers that are kept of a flow: one row of doubles in a slab that all flows share. So a flow costs FLOW_COLUMNS × 8 = 768
 * bytes and no garbage, and the whole table can be written down as it lies. Times are microseconds, lengths bytes.
 *
 * Two blocks of DIRECTION_COLUMNS, forward (from who opened the flow) and backward, then what belongs to both.
 */

export const PACKETS = 0;
/** IP packets on the wire. */
export const BYTES = 1;
export const BYTES_MIN = 2;
export const BYTES_MAX = 3;
export const BYTES_SQUARED = 4;
/** Transport payload. */
export const PAYLOAD = 5;
export const PAYLOAD_MIN = 6;
export const PAYLOAD_MAX = 7;
export const PAYLOAD_SQUARED = 8;
export const DATA_PACKETS = 9;
/** IP and transport headers. */
export const HEADER = 10;
export const HEADER_MIN = 11;
export const HEADER_MAX = 12;
export const LAST_US = 13;
/** Between packets of this direction. */
export const IAT = 14;
export const IAT_MIN = 15;
export const IAT_MAX = 16;
export const IAT_SQUARED = 17;
export const PSH = 18;
export const URG = 19;
/** TCP window of the first packet, -1 before it. */
export const INITIAL_WINDOW = 20;
/** Bulks that have ended, and the run that may become one. */
export const BULKS = 21;
export const BULK_PACKETS = 22;
export const BULK_BYTES = 23;
export const BULK_DURATION = 24;
export const RUN_PACKETS = 25;
export const RUN_BYTES = 26;
export const RUN_START_US = 27;
export const RUN_LAST_US = 28;
/** TCP sequence of the first payload byte, and behind the highest one seen, relative to it; -1 before. */
export const SEQUENCE_START = 29;
export const SEQUENCE_SPAN = 30;
export const MISSED_BYTES = 31;
export const DIRECTION_COLUMNS = 32;

export const FORWARD = 0;
export const BACKWARD = DIRECTION_COLUMNS;

const BOTH = 2 * DIRECTION_COLUMNS;
export const START_US = BOTH;
export const END_US = BOTH + 1;
/** Between packets of either direction. */
export const BOTH_IAT = BOTH + 2;
export const BOTH_IAT_MIN = BOTH + 3;
export const BOTH_IAT_MAX = BOTH + 4;
export const BOTH_IAT_SQUARED = BOTH + 5;
export const FIN_COUNT = BOTH + 6;
export const SYN_COUNT = BOTH + 7;
export const RST_COUNT = BOTH + 8;
export const PSH_COUNT = BOTH + 9;
export const ACK_COUNT = BOTH + 10;
export const URG_COUNT = BOTH + 11;
export const ECE_COUNT = BOTH + 12;
export const CWR_COUNT = BOTH + 13;
/** Active: from the first packet behind a pause of IDLE_US to the last before the next one. */
export const ACTIVE_START_US = BOTH + 14;
export const ACTIVE = BOTH + 15;
export const ACTIVE_MAX = BOTH + 16;
export const ACTIVE_COUNT = BOTH + 17;
export const IDLE = BOTH + 18;
export const IDLE_MAX = BOTH + 19;
export const IDLE_COUNT = BOTH + 20;
export const TTL_FIRST = BOTH + 21;
export const FLOW_COLUMNS = 96;

/** A pause this long ends an active period and a subflow, and a run that might have become a bulk. */
export const IDLE_US = 1_000_000;
/** A run of packets with payload in one direction, not interrupted by the other's payload, is a bulk from here on. */
export const BULK_PACKETS_MIN = 4;
