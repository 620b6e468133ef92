/**
 * The flow table: which flow a packet belongs to, when a flow ends, and its numbers on the way. What must stay true:
 * - time is packet time: the same packets give the same flows whenever they are read. A flow ends by its own packets' time, or by the time that all
 *   packets agree on (`packet-clock.ts`): a single one from the future ends no flow but its own, and stops no timeout;
 * - every packet belongs to exactly one flow, or to none by a reason that is counted (no addresses, malformed);
 * - it is bounded: beyond `flowsMax`, or its share of what all tables may hold, the flow that was silent longest ends as `evicted`, counted, with what
 *   was seen of it.
 */
import { FRAME_ARP, FRAME_MALFORMED, FRAME_OTHER } from '@tapline/shared/packet/frame-cursor.ts';
import { PROTO_TCP, TCP_ACK, TCP_SYN, type PacketView } from '../packet/packet-view.ts';
import { FlowBudget } from './flow-budget.ts';
import { BACKWARD, FORWARD } from './flow-columns.ts';
import { KEY_BYTES_MAX, keyBytes, writeKey } from './flow-key.ts';
import { openFlow } from './flow-opening.ts';
import { FlowSlab, addToRow, endRun, type SlabState } from './flow-slab.ts';
import { addToSlices, type Flow } from './flow.ts';
import { createFragmentState, resolveFragment, type FragmentState } from './fragment-table.ts';
import { createPacketClock, tellTime, type PacketClock } from './packet-clock.ts';
import { followTcp } from './tcp-progress.ts';

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
  readonly clock: PacketClock;
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
    clock: createPacketClock(),
    expiredUs: 0,
  };
  readonly #scratch = Buffer.alloc(KEY_BYTES_MAX);
  /** The last packet of `add` came from who opened the flow. */
  isFromClient = true;

  /** `budget`: what this table and others hold together. */
  constructor(options: FlowOptions, events: FlowEvents, budget = new FlowBudget()) {
    this.#options = options;
    this.#events = events;
    this.#budget = budget;
    budget.join();
  }

  /** The time that packets agree on. */
  get clockUs(): number {
    return this.#state.clock.nowUs;
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
    if (tellTime(state.clock, view.timeUs)) this.#turnBack();
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
    const isSourceFirst = writeKey(this.#scratch, view);
    const key = this.#scratch.toString('latin1', 0, keyBytes(view));
    let flow = state.flows.get(key);
    let cut: Flow | undefined;
    if (flow !== undefined && this.#isOver(flow, view)) {
      this.#end(flow, flow.ending || (this.#isSilent(flow, view.timeUs) ? 'idle' : 'long'));
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
    if (view.protocol === PROTO_TCP && followTcp(flow, view, this.isFromClient))
      state.closing.set(key, state.clock.aheadUs || state.clock.nowUs);
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
    const flow = openFlow(key, view, isSourceFirst, cut, this.clockUs);
    flow.row = this.#slab.take();
    flows.set(key, flow);
    this.#budget.count(1);
    this.counters.flows++;
    return flow;
  }

  /** Whether the packet begins another flow of the same key. */
  #isOver(flow: Flow, view: PacketView): boolean {
    if (this.#isSilent(flow, view.timeUs)) return true;
    // Also one that began in the future.
    if (Math.abs(view.timeUs - flow.startUs) > this.#options.durationUsMax) return true;
    if (flow.ending !== 'closed') return false;
    const isOpening = view.protocol === PROTO_TCP && (view.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    return isOpening || view.timeUs - flow.lastUs > LINGER_US;
  }

  #isSilent(flow: Flow, nowUs: number): boolean {
    return nowUs - flow.lastUs > this.#options.idleUs;
  }

  #keepPlace(flow: Flow): void {
    if (this.clockUs - flow.placedUs >= ORDER_SLACK_US) this.#place(flow);
  }

  /** To the end of the order of silence. */
  #place(flow: Flow): void {
    const { flows } = this.#state;
    flows.delete(flow.key);
    flows.set(flow.key, flow);
    flow.placedUs = this.clockUs;
  }

  /** Ends what was silent for long enough, and what was closed. */
  #expire(): void {
    const { flows, closing } = this.#state;
    const { clockUs } = this;
    if (clockUs - this.#state.expiredUs < EXPIRE_US) return;
    this.#state.expiredUs = clockUs;
    for (const [key, closedUs] of closing) {
      // Closed in a future that nobody else has seen: that is as good as over.
      if (Math.abs(clockUs - closedUs) < LINGER_US) break;
      closing.delete(key);
      const flow = flows.get(key);
      if (flow !== undefined && flow.ending === 'closed') this.#end(flow, 'closed');
    }
    // A flow's place may lag behind its last packet: only beyond that slack is it surely silent.
    const silentUs = this.#options.idleUs + ORDER_SLACK_US;
    for (const flow of flows.values()) {
      if (clockUs - flow.placedUs <= silentUs) break;
      // The first packet after a long pause of all came before the clock went on.
      if (Math.abs(clockUs - flow.lastUs) > this.#options.idleUs) this.#end(flow, 'idle');
      else this.#place(flow);
    }
  }

  /** The time was wrong that flows took their places by: from now on they are silent. */
  #turnBack(): void {
    const { flows, closing } = this.#state;
    const { clockUs } = this;
    for (const flow of flows.values()) flow.placedUs = Math.min(flow.placedUs, clockUs);
    for (const [key, closedUs] of closing) closing.set(key, Math.min(closedUs, clockUs));
    this.#state.expiredUs = Math.min(this.#state.expiredUs, clockUs);
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
