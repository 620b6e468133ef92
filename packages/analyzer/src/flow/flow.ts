/**
 * A flow: two-way five-tuple (plus VLAN), as plain data. Its numbers lie in the flow table's slab, in row `row`.
 * The client is who opened it: who sent the first packet, or, when that is the answer to a SYN that was not seen, the other one.
 */
import type { Memory } from '../protocol/dissector.ts';

/** Where some of a flow's packets lie: from the first to the last of them in one file. */
export interface FlowSlice {
  readonly file: number;
  readonly firstNumber: number;
  lastNumber: number;
  readonly firstOffset: number;
  lastOffset: number;
  packets: number;
}

/** TCP progress of one direction, as bits. */
export const SENT_SYN = 1;
export const SENT_SYN_ACK = 2;
export const SENT_FIN = 4;
export const SENT_RST = 8;
export const SENT_DATA = 16;
export const SENT_ACK = 32;

export interface Flow {
  readonly key: string;
  /** As Zeek's: `C` and a hash of key and start; the same whenever the same packets are read. */
  readonly uid: string;
  row: number;
  readonly startUs: number;
  lastUs: number;
  /** When it took its place in the table's order of silence. */
  placedUs: number;
  /** IP protocol; -1 for a conversation straight on Ethernet, which then has an EtherType. */
  readonly protocol: number;
  readonly etherType: number;
  /** Outermost VLAN identifier, -1 without. */
  readonly vlan: number;
  readonly tunnelDepth: number;
  /** Addresses in their canonical text: IP, or MAC. */
  client: string;
  server: string;
  /** Client, server, transport and port in one: what is counted by, made once and not for every packet. */
  readonly line: string;
  /** The server's end of it. */
  readonly doorway: string;
  /** ICMP: type and code. -1 without ports. */
  clientPort: number;
  serverPort: number;
  /** Bits SENT_, in the order in which history shows them. */
  clientState: number;
  serverState: number;
  /** Letters of Zeek's history, at most HISTORY_MAX. */
  history: string;
  /** The client is the smaller end of the key. */
  readonly isClientFirst: boolean;
  /** The first packet came from who is taken for the server. */
  wasReversed: boolean;
  /** Name of the dissector, '' when none knows it. */
  service: string;
  memory: Memory;
  facts: Record<string, string>;
  /** What was asked of the server, by `action` and by name: counts, bounded. */
  actions: Record<string, number>;
  exceptions: number;
  violations: number;
  readonly slices: FlowSlice[];
  /** Not whole: fragments without a first one, cut packets. */
  fragments: number;
  /** A part of a longer conversation: the flow was cut by its maximal duration or by eviction. */
  ending: '' | 'idle' | 'closed' | 'long' | 'evicted' | 'end';
  /** Ids of alerts about this flow. */
  alerts: string[];
  /** Model scores by model name. */
  scores: Record<string, number>;
}

export const HISTORY_MAX = 24;
/** Files of an hour each, both directions, over a flow's maximal duration. */
export const SLICES_MAX = 8;

/** Notes where one more packet of the flow lies. */
export function addToSlices(flow: Flow, file: number, number: number, offset: number): void {
  const { slices } = flow;
  for (let i = slices.length - 1; i >= 0; i--) {
    const slice = slices[i] as FlowSlice;
    if (slice.file !== file) continue;
    slice.lastNumber = number;
    slice.lastOffset = offset;
    slice.packets++;
    return;
  }
  if (slices.length < SLICES_MAX)
    slices.push({ file, firstNumber: number, lastNumber: number, firstOffset: offset, lastOffset: offset, packets: 1 }); // prettier-ignore
}

/**
 * How a TCP connection ended, in Zeek's words (conn.log, `conn_state`): S0 S1 SF REJ S2 S3 RSTO RSTR RSTOS0 RSTRH SH SHR OTH.
 * UDP and the rest: SF when both spoke, S0 when only the client did, SHR when only the server did.
 */
export function connectionState(flow: Flow, isTcp: boolean, asked: boolean, answered: boolean): string {
  if (!isTcp) return !answered ? 'S0' : asked ? 'SF' : 'SHR';
  const { clientState: c, serverState: s } = flow;
  const clientReset = (c & SENT_RST) !== 0;
  const serverReset = (s & SENT_RST) !== 0;
  if ((c & SENT_SYN) !== 0) {
    if ((s & SENT_SYN_ACK) === 0) {
      if (serverReset) return 'REJ';
      if (clientReset) return 'RSTOS0';
      return (c & SENT_FIN) !== 0 ? 'SH' : answered ? 'OTH' : 'S0';
    }
    if (clientReset) return 'RSTO';
    if (serverReset) return 'RSTR';
    const clientFin = (c & SENT_FIN) !== 0;
    const serverFin = (s & SENT_FIN) !== 0;
    if (clientFin && serverFin) return 'SF';
    if (clientFin) return 'S2';
    if (serverFin) return 'S3';
    return 'S1';
  }
  if ((s & SENT_SYN_ACK) !== 0) {
    if (serverReset) return 'RSTRH';
    return (s & SENT_FIN) !== 0 ? 'SHR' : 'OTH';
  }
  return 'OTH';
}
