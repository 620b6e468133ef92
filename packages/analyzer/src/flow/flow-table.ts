/**
 * The flow table: which flow a packet belongs to, when a flow ends, and its numbers on the way. What must stay true:
 * - time is packet time: the same packets give the same flows whenever they are read;
 * - every packet belongs to exactly one flow, or to none by a reason that is counted (no addresses, malformed);
 * - it is bounded: beyond `flowsMax`, or its share of what all tables may hold, the flow that was silent longest ends as `evicted`, counted, with what
 *   was seen of it.
 */
import { hash } from 'node:crypto';
import { FRAME_ARP, FRAME_MALFORMED, FRAME_OTHER } from '@tapline/shared/packet/frame-cursor.ts';
import { formatAddress, formatMac } from '@tapline/shared/packet/ip-address.ts';
import {
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  type PacketView,
} from '../packet/packet-view.ts';
import { FlowBudget } from './flow-budget.ts';
import { BACKWARD, FORWARD } from './flow-columns.ts';
import { FlowSlab, addToRow, endRun, type SlabState } from './flow-slab.ts';
import {
  HISTORY_MAX,
  SENT_ACK,
  SENT_DATA,
  SENT_FIN,
  SENT_RST,
  SENT_SYN,
  SENT_SYN_ACK,
  addToSlices,
  type Flow,
} from './flow.ts';
import { isRpcCall } from '../protocol/rpc.ts';
import { ANSWERS, speakerOf } from '../protocol/speaker.ts';
import { createFragmentState, resolveFragment, type FragmentState } from './fragment-table.ts';

export interface FlowOptions {
  /** × (768 bytes of numbers + about 1 KiB of names) = 110 MiB at 65,536. */
  readonly flowsMax: number;
  /** Silence that ends a flow. */
  readonly idleUs: number;
  /** A flow that lasts longer is told in parts. */
  readonly durationUsMax: number;
}

export const FLOW_DEFAULTS: FlowOptions = {
  flowsMax: 65_536,
  idleUs: 120_000_000,
  durationUsMax: 3_600_000_000,
};

/** A closed connection waits this long for its last packets, so that they do not begin another flow. */
const LINGER_US = 5_000_000;
/** Flows are ended this often; a packet that comes meanwhile still begins a flow of its own. */
const EXPIRE_US = 500_000;
/** How far a flow's place in the order of silence may lag behind its last packet. */
const ORDER_SLACK_US = 2_000_000;

export interface FlowEvents {
  /** The flow's first packet was just added. */
  started(flow: Flow): void;
  /** The flow's numbers are still there; after the call they are not. */
  ended(flow: Flow): void;
}

interface FlowState {
  /** In the order of silence: the longest first. */
  readonly flows: Map<string, Flow>;
  readonly closing: Map<string, number>;
  readonly fragments: FragmentState;
  clockUs: number;
  /** When the table was looked through last. */
  expiredUs: number;
}

export class FlowTable {
  readonly counters = { flows: 0, evicted: 0, malformed: 0, withoutFlow: 0, fragmentsForgotten: 0 };
  readonly #options: FlowOptions;
  readonly #events: FlowEvents;
  readonly #budget: FlowBudget;
  readonly #slab = new FlowSlab();
  #state: FlowState = {
    flows: new Map(),
    closing: new Map(),
    fragments: createFragmentState(),
    clockUs: 0,
    expiredUs: 0,
  };
  readonly #scratch = Buffer.alloc(64);
  /** The last packet of `add` came from who opened the flow. */
  isFromClient = true;

  /** `budget`: what this table and others hold together. */
  constructor(options: FlowOptions, events: FlowEvents, budget = new FlowBudget()) {
    this.#options = options;
    this.#events = events;
    this.#budget = budget;
    budget.join();
  }

  get size(): number {
    return this.#state.flows.size;
  }

  /** The slab that `flow.row` points into. */
  get values(): Float64Array {
    return this.#slab.values;
  }

  get flows(): IterableIterator<Flow> {
    return this.#state.flows.values();
  }

  snapshot(): unknown {
    return { ...this.#state, slab: this.#slab.snapshot(), counters: { ...this.counters } };
  }

  restore(snapshot: unknown): void {
    const { slab, counters, ...state } = snapshot as FlowState & { slab: SlabState; counters: object };
    this.#budget.count(state.flows.size - this.#state.flows.size);
    this.#state = state;
    this.#slab.restore(slab);
    Object.assign(this.counters, counters);
  }

  /** The flow that the packet belongs to, its numbers already added; null for a packet that is of no flow. */
  add(view: PacketView): Flow | null {
    const state = this.#state;
    if (view.timeUs > state.clockUs) state.clockUs = view.timeUs;
    this.#expire();
    if (view.frame.kind === FRAME_MALFORMED) {
      this.counters.malformed++;
      return null;
    }
    if (view.frame.kind === FRAME_ARP || (!view.isIp && !isLinkFlow(view))) {
      this.counters.withoutFlow++;
      return null;
    }
    if (view.isIp && view.inner.fragment === 1) {
      resolveFragment(state.fragments, view);
      this.counters.fragmentsForgotten = state.fragments.evicted;
    }
    const isSourceFirst = this.#writeKey(view);
    const key = this.#scratch.toString('latin1', 0, this.#keyBytes);
    let flow = state.flows.get(key);
    let cut: Flow | undefined;
    if (flow !== undefined && this.#isOver(flow, view)) {
      this.#end(flow, this.#isSilent(flow, view.timeUs) ? 'idle' : flow.ending || 'long');
      // The next part of a conversation that goes on: who opened it is known.
      if (flow.ending === 'long' && (view.protocol !== PROTO_TCP || (view.tcpFlags & TCP_SYN) === 0)) cut = flow; // prettier-ignore
      flow = undefined;
    }
    const isNew = flow === undefined;
    flow ??= this.#start(key, view, isSourceFirst, cut);
    this.isFromClient = isSourceFirst === flow.isClientFirst;
    addToRow(this.#slab.values, flow.row, this.isFromClient ? FORWARD : BACKWARD, view);
    if (view.timeUs > flow.lastUs) flow.lastUs = view.timeUs;
    addToSlices(flow, view.origin.file, view.origin.number, view.origin.offset);
    if (view.isIp && view.inner.fragment === 1) flow.fragments++;
    if (view.protocol === PROTO_TCP) this.#followTcp(flow, view);
    this.#keepPlace(flow);
    if (isNew) this.#events.started(flow);
    return flow;
  }

  /** Ends every flow: the input is over. */
  endAll(): void {
    for (const flow of [...this.#state.flows.values()]) this.#end(flow, flow.ending || 'end');
  }

  /** Numbers of a flow with its open runs closed, as its features see them. */
  settle(flow: Flow): void {
    endRun(this.#slab.values, flow.row + FORWARD);
    endRun(this.#slab.values, flow.row + BACKWARD);
  }

  #keyBytes = 0;

  /** Writes the key of the packet's flow, smaller end first; whether that is the source. */
  #writeKey(view: PacketView): boolean {
    const { bytes, frame, inner } = view;
    const key = this.#scratch;
    const addressBytes = view.isIp ? inner.addressBytes : 6;
    const source = view.isIp ? inner.sourceOffset : frame.linkSourceOffset;
    const destination = view.isIp ? inner.destinationOffset : frame.linkDestinationOffset;
    let sourcePort = view.sourcePort;
    let destinationPort = view.destinationPort;
    if (isIcmp(view)) {
      // A reply belongs to its request; the code is of no end.
      sourcePort = requestType(view);
      destinationPort = sourcePort;
    }
    let order = destination === -1 ? 1 : 0;
    for (let i = 0; i < addressBytes && order === 0; i++)
      order = (bytes[source + i] as number) - (bytes[destination + i] as number);
    if (order === 0) order = sourcePort - destinationPort;
    const isSourceFirst = order <= 0;
    key[0] = view.isIp ? view.protocol & 0xff : 0xff;
    key[1] = addressBytes;
    key.writeUInt16LE((frame.vlanId + 1) & 0xffff, 2);
    key.writeUInt16LE(view.isIp ? 0 : frame.etherType & 0xffff, 4);
    copy(key, 6, bytes, isSourceFirst ? source : destination, addressBytes);
    copy(key, 6 + addressBytes, bytes, isSourceFirst ? destination : source, addressBytes);
    const at = 6 + 2 * addressBytes;
    key.writeUInt16LE((isSourceFirst ? sourcePort : destinationPort) & 0xffff, at);
    key.writeUInt16LE((isSourceFirst ? destinationPort : sourcePort) & 0xffff, at + 2);
    this.#keyBytes = at + 4;
    return isSourceFirst;
  }

  #start(key: string, view: PacketView, isSourceFirst: boolean, cut?: Flow): Flow {
    const { flows } = this.#state;
    if (flows.size >= this.#options.flowsMax || !this.#budget.allows(flows.size)) {
      // A few at once: looking for the first entry of a map that lost its first entries is not free.
      let room = Math.max(1, flows.size >> 6);
      for (const oldest of flows.values()) {
        this.counters.evicted++;
        this.#end(oldest, 'evicted');
        if (--room === 0) break;
      }
    }
    const wasReversed = cut === undefined ? isAnswer(view) && !isToGroup(view) : isSourceFirst !== cut.isClientFirst; // prettier-ignore
    // ICMP has a type and a code for ports: of a reply, the type it would have been asked with.
    const isSwapped = wasReversed && !isIcmp(view);
    const source = addressOf(view, true);
    const destination = addressOf(view, false);
    const uid = hash('sha1', Buffer.from(`${key}${view.timeUs.toFixed(3)}`, 'latin1'), 'base64url');
    const client = wasReversed ? destination : source;
    const server = wasReversed ? source : destination;
    const serverPort = isSwapped ? view.sourcePort : view.destinationPort;
    const doorway = view.isIp
      ? `${server} ${view.protocol} ${serverPort}`
      : `${server} ethernet ${view.frame.etherType}`;
    const flow: Flow = {
      key,
      uid: `C${uid.replaceAll(/[-_]/g, 'x').slice(0, 17)}`,
      row: this.#slab.take(),
      startUs: view.timeUs,
      lastUs: view.timeUs,
      placedUs: this.#state.clockUs,
      protocol: view.isIp ? view.protocol : -1,
      etherType: view.isIp ? -1 : view.frame.etherType,
      vlan: view.frame.vlanId,
      tunnelDepth: view.tunnelDepth,
      client,
      server,
      line: `${client} ${doorway}`,
      doorway,
      clientPort: isSwapped ? view.destinationPort : requestType(view),
      serverPort,
      isClientFirst: isSourceFirst !== wasReversed,
      clientState: 0,
      serverState: 0,
      history: wasReversed ? '^' : '',
      wasReversed,
      service: '',
      // Its client asked already, in the part before.
      memory: cut !== undefined && (!cut.wasReversed || cut.memory['asked'] === true) ? { asked: true } : {},
      facts: {},
      actions: {},
      exceptions: 0,
      violations: 0,
      slices: [],
      fragments: 0,
      ending: '',
      alerts: [],
      scores: {},
    };
    flows.set(key, flow);
    this.#budget.count(1);
    this.counters.flows++;
    return flow;
  }

  /** Whether the packet begins another flow of the same key. */
  #isOver(flow: Flow, view: PacketView): boolean {
    if (this.#isSilent(flow, view.timeUs)) return true;
    if (view.timeUs - flow.startUs > this.#options.durationUsMax) return true;
    const isOpening = view.protocol === PROTO_TCP && (view.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    return isOpening && flow.ending === 'closed';
  }

  #isSilent(flow: Flow, nowUs: number): boolean {
    return nowUs - flow.lastUs > this.#options.idleUs;
  }

  #followTcp(flow: Flow, view: PacketView): void {
    const { tcpFlags: flags } = view;
    let bits = 0;
    let letter = '';
    if ((flags & TCP_SYN) !== 0) {
      bits |= (flags & TCP_ACK) !== 0 ? SENT_SYN_ACK : SENT_SYN;
      letter += (flags & TCP_ACK) !== 0 ? 'h' : 's';
    } else if (
      (flags & TCP_ACK) !== 0 &&
      view.payloadWireBytes === 0 &&
      (flags & (TCP_FIN | TCP_RST)) === 0
    ) {
      bits |= SENT_ACK;
      letter += 'a';
    }
    if (view.payloadWireBytes > 0) {
      bits |= SENT_DATA;
      letter += 'd';
    }
    if ((flags & TCP_FIN) !== 0) {
      bits |= SENT_FIN;
      letter += 'f';
    }
    if ((flags & TCP_RST) !== 0) {
      bits |= SENT_RST;
      letter += 'r';
    }
    const before = this.isFromClient ? flow.clientState : flow.serverState;
    if ((before & bits) !== bits && flow.history.length < HISTORY_MAX)
      flow.history += this.isFromClient ? letter.toUpperCase() : letter;
    if (this.isFromClient) flow.clientState |= bits;
    else flow.serverState |= bits;
    const bothFin = (flow.clientState & flow.serverState & SENT_FIN) !== 0;
    const anyReset = ((flow.clientState | flow.serverState) & SENT_RST) !== 0;
    if ((bothFin || anyReset) && flow.ending === '') {
      flow.ending = 'closed';
      this.#state.closing.set(flow.key, this.#state.clockUs);
    }
  }

  #keepPlace(flow: Flow): void {
    const { flows, clockUs } = this.#state;
    if (clockUs - flow.placedUs < ORDER_SLACK_US) return;
    flows.delete(flow.key);
    flows.set(flow.key, flow);
    flow.placedUs = clockUs;
  }

  /** Ends what was silent for long enough, and what was closed. */
  #expire(): void {
    const { flows, closing, clockUs } = this.#state;
    if (clockUs - this.#state.expiredUs < EXPIRE_US) return;
    this.#state.expiredUs = clockUs;
    for (const [key, closedUs] of closing) {
      if (clockUs - closedUs < LINGER_US) break;
      closing.delete(key);
      const flow = flows.get(key);
      if (flow !== undefined && flow.ending === 'closed') this.#end(flow, 'closed');
    }
    // A flow's place may lag behind its last packet: only beyond that slack is it surely silent.
    const silentUs = this.#options.idleUs + ORDER_SLACK_US;
    for (const flow of flows.values()) {
      if (clockUs - flow.placedUs <= silentUs) break;
      this.#end(flow, 'idle');
    }
  }

  #end(flow: Flow, ending: Flow['ending']): void {
    flow.ending = ending;
    this.settle(flow);
    // Whatever a listener does, the flow is gone: one that stayed would meet the same fault at every packet.
    try {
      this.#events.ended(flow);
    } finally {
      this.#slab.give(flow.row);
      this.#budget.count(-1);
      this.#state.flows.delete(flow.key);
      this.#state.closing.delete(flow.key);
    }
  }
}

/** Frames straight on Ethernet that are a conversation: they have addresses and say what they are. */
function isLinkFlow(view: PacketView): boolean {
  const { frame } = view;
  return frame.kind === FRAME_OTHER && frame.linkSourceOffset !== -1 && frame.etherType !== -1;
}

/** Whether a first packet is the answer to one that was not seen: then its sender is the server. */
function isAnswer(view: PacketView): boolean {
  if (view.protocol === PROTO_TCP) {
    if ((view.tcpFlags & TCP_SYN) !== 0) return (view.tcpFlags & TCP_ACK) !== 0;
  } else if (isIcmp(view)) return requestType(view) !== view.sourcePort;
  else if (view.protocol !== 17) return false;
  if (view.sourcePort === -1) return false;
  // In the middle of a conversation the registered port is the server's; where both are or none is, what is said tells.
  const isService = isServicePort(view.sourcePort);
  if (isService !== isServicePort(view.destinationPort))
    return isService && !isRpcCall(view.bytes, view.payloadOffset, view.payloadEnd, view.protocol === PROTO_TCP); // prettier-ignore
  return view.payloadEnd > view.payloadOffset && speakerOf(view.bytes, view.payloadOffset, view.payloadEnd) === ANSWERS; // prettier-ignore
}

/** Linux's cooked captures know who sent a frame and not to whom. */
const NO_MAC = '00:00:00:00:00:00';

/** A group asks for nothing: what is sent to it is never an answer. */
function isToGroup(view: PacketView): boolean {
  if (!view.isIp) return false;
  const first = view.bytes[view.inner.destinationOffset] as number;
  return view.inner.addressBytes === 16 ? first === 0xff : (first >= 224 && first < 240) || first === 255;
}

/** Ports beyond the well-known ones that are servers' on plants' networks. */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  1089, 1090, 1091, 1433, 1521, 1720, 1723, 1883, 1911, 2049, 2222, 2404, 3128, 3268, 3269, 3306, 3389, 4840, 4841, 5060, 5061,
  5222, 5432, 5450, 5671, 5672, 5900, 5985, 5986, 6379, 6443, 8000, 8080, 8086, 8443, 8883, 8888, 9092, 9100, 9200, 9600, 11211,
  18245, 20000, 27017, 34962, 34963, 34964, 34980, 44818, 47808, 48898,
]); // prettier-ignore

function isServicePort(port: number): boolean {
  return (port >= 0 && port < 1024) || SERVICE_PORTS.has(port);
}

function addressOf(view: PacketView, isSource: boolean): string {
  const { bytes, frame, inner } = view;
  if (view.isIp)
    return formatAddress(
      bytes,
      isSource ? inner.sourceOffset : inner.destinationOffset,
      inner.addressBytes as 4 | 16,
    );
  const at = isSource ? frame.linkSourceOffset : frame.linkDestinationOffset;
  return at === -1 ? NO_MAC : formatMac(bytes, at);
}

function isIcmp(view: PacketView): boolean {
  return view.protocol === PROTO_ICMP || view.protocol === PROTO_ICMPV6;
}

/** For an ICMP reply the type of its request; any other packet's source port as it is. */
function requestType(view: PacketView): number {
  const { protocol, sourcePort: type } = view;
  if (protocol === PROTO_ICMP)
    return type === 0 ? 8 : type === 14 ? 13 : type === 16 ? 15 : type === 18 ? 17 : type;
  if (protocol === PROTO_ICMPV6) return type === 129 ? 128 : type === 136 ? 135 : type === 134 ? 133 : type;
  return type;
}

/** `offset` -1: an address that is not in the frame is all zeros. */
function copy(to: Uint8Array, at: number, from: Uint8Array, offset: number, count: number): void {
  for (let i = 0; i < count; i++) to[at + i] = offset === -1 ? 0 : (from[offset + i] as number);
}
