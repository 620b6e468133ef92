/**
 * What a host and a service did lately, beside what one flow did: a flood or a scan is many flows that look like nothing. Counters decay with
 * packet time (a rate is what was counted, weighted by exp(−age/30 s), over 30 s), so that there is no edge of a window to hide behind and nothing
 * to sweep; distinct peers and ports are counted in small sets that two halves of WINDOW_US take turns to fill.
 *
 * Old counts do not shrink at each packet: what is counted weighs the more the later it comes, and is divided by that weight where it is read.
 * Bounded: HOSTS_MAX hosts and as many services, the one that was silent longest forgotten first; DISTINCT_MAX members a set.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { FeatureDefinition } from './flow-features.ts';

const DECAY_US = 30_000_000;
const WINDOW_US = 30_000_000;
const HOSTS_MAX = 16_384;
const DISTINCT_MAX = 256;
/** Powers of two from 64 bytes on. */
const SIZE_CLASSES = 8;

/** Weights are put back to one before they grow out of what a double tells apart. */
const RESCALE_US = 20 * DECAY_US;

/** Distinct things in the current and the last half. Most hosts meet one only: a set is made for the second. */
interface Distinct {
  one: string | number | null;
  current: Set<string | number> | null;
  last: Set<string | number> | null;
  lastOne: string | number | null;
}

export interface Window {
  /** When what was counted weighed one. */
  atUs: number;
  /** Its newest packet's time, and what is counted then weighs. */
  lastUs: number;
  weight: number;
  /** The running half: its number since 1970. */
  half: number;
  connections: number;
  /** Of TCP connections. */
  syn: number;
  synAck: number;
  completed: number;
  ended: number;
  bytesIn: number;
  bytesOut: number;
  internal: number;
  newPeers: number;
  readonly sizes: number[];
  readonly peers: Distinct;
  readonly ports: Distinct;
  /** Everyone it ever talked to, up to DISTINCT_MAX. */
  known: Set<string> | null;
  firstPeer: string;
}

const NAMES = [
  ['connection_rate', '1/s', 'new flows, decayed over 30 s, per second'],
  ['syn_ack_ratio', 'ratio', '(SYN − SYN+ACK) / (SYN + SYN+ACK), decayed'],
  ['source_dispersion', 'ratio', 'distinct peers / new flows of the last 30 to 60 s'],
  ['size_entropy', 'bits', 'entropy of packet lengths in eight classes, decayed'],
  ['amplification', 'ratio', 'log2((1 + bytes it sent) / (1 + bytes it received)), decayed'],
  ['flow_completion', 'ratio', 'flows that ended in order / flows that ended, decayed'],
  ['port_entropy', 'ratio', 'distinct server ports / new flows of the last 30 to 60 s'],
  ['fan_out', 'count', 'distinct peers of the last 30 to 60 s, at most 512'],
  ['lateral_score', 'ratio', 'new flows to management services inside / new flows, decayed'],
  ['new_peers', '1/s', 'peers it had never talked to, decayed over 30 s, per second'],
] as const;

/** Of the client, then of the server's service. */
export const WINDOW_FEATURES: readonly FeatureDefinition[] = ['client', 'service'].flatMap((whose) =>
  NAMES.map(([name, unit, formula]) => ({ name: `${whose}_${name}`, unit, formula })),
);

/** Ports through which one machine is managed, or infected, from another. */
const MANAGEMENT_PORTS: ReadonlySet<number> = new Set([22, 23, 135, 139, 445, 3389, 5900, 5985, 5986]);

export interface WindowState {
  readonly hosts: Map<string, Window>;
  readonly services: Map<string, Window>;
}

export function createWindowState(): WindowState {
  return { hosts: new Map(), services: new Map() };
}

/** What the windows must know of a packet's flow. */
export interface WindowFlow {
  readonly client: string;
  readonly server: string;
  readonly serverPort: number;
  /** Server, transport and port in one. */
  readonly doorway: string;
}

/** A flow begins: it counts for its client and for the service it goes to. */
export function countStart(state: WindowState, flow: WindowFlow, nowUs: number, isInternal: boolean): void {
  const isLateral = isInternal && MANAGEMENT_PORTS.has(flow.serverPort);
  start(windowOf(state.hosts, flow.client, nowUs), flow.server, flow.serverPort, isLateral);
  start(windowOf(state.services, flow.doorway, nowUs), flow.client, flow.serverPort, isLateral);
}

/** One more packet of the flow. `handshake`: 1 for a SYN, 2 for a SYN+ACK, 0 for neither. */
export function countPacket(
  state: WindowState,
  flow: WindowFlow,
  nowUs: number,
  bytes: number,
  isFromClient: boolean,
  handshake: number,
): void {
  const sizeClass = Math.min(SIZE_CLASSES - 1, Math.max(0, 26 - Math.clz32(bytes)));
  count(windowOf(state.hosts, flow.client, nowUs), bytes, isFromClient, handshake, sizeClass);
  count(windowOf(state.services, flow.doorway, nowUs), bytes, !isFromClient, handshake, sizeClass);
}

function count(window: Window, bytes: number, isOut: boolean, handshake: number, sizeClass: number): void {
  const { weight } = window;
  if (isOut) window.bytesOut += bytes * weight;
  else window.bytesIn += bytes * weight;
  window.sizes[sizeClass] = (window.sizes[sizeClass] as number) + weight;
  if (handshake === 1) window.syn += weight;
  else if (handshake === 2) window.synAck += weight;
}

/** A flow has ended; `isComplete`: both sides spoke, and a connection was closed in order. */
export function countEnd(state: WindowState, flow: WindowFlow, nowUs: number, isComplete: boolean): void {
  end(windowOf(state.hosts, flow.client, nowUs), isComplete);
  end(windowOf(state.services, flow.doorway, nowUs), isComplete);
}

function end(window: Window, isComplete: boolean): void {
  window.ended += window.weight;
  if (isComplete) window.completed += window.weight;
}

/** Writes the features of the flow's client and service as they are now into `out[offset …)`. */
export function windowFeatures(
  state: WindowState,
  flow: WindowFlow,
  nowUs: number,
  out: Float64Array,
  offset: number,
): void {
  fill(windowOf(state.hosts, flow.client, nowUs), out, offset);
  fill(windowOf(state.services, flow.doorway, nowUs), out, offset + NAMES.length);
}

function fill(window: Window, out: Float64Array, offset: number): void {
  const seconds = DECAY_US / 1e6;
  const by = 1 / window.weight;
  const handshakes = (window.syn + window.synAck) * by;
  const connections = window.connections * by;
  const ended = window.ended * by;
  const flows = Math.max(1, connections);
  const peers = distinct(window.peers);
  out[offset] = connections / seconds;
  out[offset + 1] = handshakes > 0.01 ? ((window.syn - window.synAck) * by) / handshakes : 0;
  out[offset + 2] = Math.min(1, peers / flows);
  out[offset + 3] = entropy(window.sizes, by);
  out[offset + 4] = Math.log2((1 + window.bytesOut * by) / (1 + window.bytesIn * by));
  out[offset + 5] = ended > 0.01 ? (window.completed * by) / ended : 1;
  out[offset + 6] = Math.min(1, distinct(window.ports) / flows);
  out[offset + 7] = peers;
  out[offset + 8] = (window.internal * by) / flows;
  out[offset + 9] = (window.newPeers * by) / seconds;
}

function start(window: Window, peer: string, port: number, isLateral: boolean): void {
  const { weight } = window;
  window.connections += weight;
  if (isLateral) window.internal += weight;
  addDistinct(window.peers, peer);
  addDistinct(window.ports, port);
  if (peer === window.firstPeer || window.known?.has(peer) === true) return;
  window.newPeers += weight;
  if (window.firstPeer === '') window.firstPeer = peer;
  else {
    window.known ??= new Set();
    if (window.known.size < DISTINCT_MAX) window.known.add(peer);
  }
}

function windowOf(windows: Map<string, Window>, key: string, nowUs: number): Window {
  const known = windows.get(key);
  // Time that jumps back is that of another capture.
  if (known === undefined || nowUs < known.lastUs - RESCALE_US) {
    if (known === undefined && windows.size >= HOSTS_MAX) dropOldest(windows);
    const window = begin(nowUs);
    windows.set(key, window);
    return window;
  }
  if (nowUs <= known.lastUs) return known;
  known.lastUs = nowUs;
  known.weight = Math.exp((nowUs - known.atUs) / DECAY_US);
  if (nowUs - known.atUs > RESCALE_US) rescale(known);
  const half = Math.floor(nowUs / WINDOW_US);
  if (half === known.half) return known;
  turn(known.peers, half === known.half + 1);
  turn(known.ports, half === known.half + 1);
  known.half = half;
  // The silent longest come first.
  windows.delete(key);
  windows.set(key, known);
  return known;
}

function begin(nowUs: number): Window {
  return {
    atUs: nowUs,
    lastUs: nowUs,
    weight: 1,
    half: Math.floor(nowUs / WINDOW_US),
    connections: 0,
    syn: 0,
    synAck: 0,
    completed: 0,
    ended: 0,
    bytesIn: 0,
    bytesOut: 0,
    internal: 0,
    newPeers: 0,
    sizes: new Array<number>(SIZE_CLASSES).fill(0),
    peers: { one: null, current: null, last: null, lastOne: null },
    ports: { one: null, current: null, last: null, lastOne: null },
    known: null,
    firstPeer: '',
  };
}

function rescale(window: Window): void {
  const by = 1 / window.weight;
  window.connections *= by;
  window.syn *= by;
  window.synAck *= by;
  window.completed *= by;
  window.ended *= by;
  window.bytesIn *= by;
  window.bytesOut *= by;
  window.internal *= by;
  window.newPeers *= by;
  for (let i = 0; i < SIZE_CLASSES; i++) window.sizes[i] = (window.sizes[i] as number) * by;
  window.atUs = window.lastUs;
  window.weight = 1;
}

function addDistinct(set: Distinct, member: string | number): void {
  if (set.current !== null) {
    if (set.current.size < DISTINCT_MAX) set.current.add(member);
  } else if (set.one === null) set.one = member;
  else if (set.one !== member) set.current = new Set([set.one, member]);
}

function turn(set: Distinct, isNext: boolean): void {
  set.last = isNext ? set.current : null;
  set.lastOne = isNext ? set.one : null;
  set.current = null;
  set.one = null;
}

function distinct(set: Distinct): number {
  const has = (member: string | number): boolean => set.current?.has(member) ?? set.one === member;
  let count = set.current?.size ?? (set.one === null ? 0 : 1);
  if (set.last === null) return set.lastOne !== null && !has(set.lastOne) ? count + 1 : count;
  for (const member of set.last) if (!has(member)) count++;
  return count;
}

function entropy(counts: readonly number[], by: number): number {
  let whole = 0;
  for (const one of counts) whole += one;
  if (whole * by < 0.01) return 0;
  let bits = 0;
  for (const one of counts) {
    const part = one / whole;
    if (part > 1e-9) bits -= part * Math.log2(part);
  }
  return bits;
}
