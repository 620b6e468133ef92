/**
 * What a host and a service did lately, beside what one flow did: a flood or a scan is many flows that look like nothing. Counters decay with
 * packet time (a rate is what was counted, weighted by exp(−age/30 s), over 30 s), so that there is no edge of a window to hide behind and nothing
 * to sweep; distinct peers and ports are counted in small sets that two halves of WINDOW_US take turns to fill.
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

/** Distinct things in the current and the last window. Most hosts meet one only: a set is made for the second. */
interface Distinct {
  window: number;
  one: string | number | null;
  current: Set<string | number> | null;
  last: Set<string | number> | null;
  lastOne: string | number | null;
}

export interface Window {
  /** When the counters were decayed last. */
  atUs: number;
  connections: number;
  /** Of TCP connections. */
  syn: number;
  synAck: number;
  completed: number;
  ended: number;
  bytesIn: number;
  bytesOut: number;
  packetsIn: number;
  packetsOut: number;
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
  readonly protocol: number;
}

/** A flow begins: it counts for its client and for the service it goes to. */
export function countStart(state: WindowState, flow: WindowFlow, nowUs: number, isInternal: boolean): void {
  const isLateral = isInternal && MANAGEMENT_PORTS.has(flow.serverPort);
  start(windowOf(state.hosts, flow.client, nowUs), flow.server, flow.serverPort, nowUs, isLateral);
  start(windowOf(state.services, serviceKey(flow), nowUs), flow.client, flow.serverPort, nowUs, isLateral);
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
  const host = windowOf(state.hosts, flow.client, nowUs);
  const service = windowOf(state.services, serviceKey(flow), nowUs);
  const sizeClass = Math.min(SIZE_CLASSES - 1, Math.max(0, 26 - Math.clz32(bytes)));
  for (const window of [host, service]) {
    const isOut = isFromClient === (window === host);
    if (isOut) {
      window.bytesOut += bytes;
      window.packetsOut++;
    } else {
      window.bytesIn += bytes;
      window.packetsIn++;
    }
    window.sizes[sizeClass] = (window.sizes[sizeClass] as number) + 1;
    if (handshake === 1) window.syn++;
    else if (handshake === 2) window.synAck++;
  }
}

/** A flow has ended; `isComplete`: both sides spoke, and a connection was closed in order. */
export function countEnd(state: WindowState, flow: WindowFlow, nowUs: number, isComplete: boolean): void {
  for (const window of [
    windowOf(state.hosts, flow.client, nowUs),
    windowOf(state.services, serviceKey(flow), nowUs),
  ]) {
    window.ended++;
    if (isComplete) window.completed++;
  }
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
  fill(windowOf(state.services, serviceKey(flow), nowUs), out, offset + NAMES.length);
}

function fill(window: Window, out: Float64Array, offset: number): void {
  const seconds = DECAY_US / 1e6;
  const handshakes = window.syn + window.synAck;
  const flows = Math.max(1, window.connections);
  const peers = distinct(window.peers);
  out[offset] = window.connections / seconds;
  out[offset + 1] = handshakes > 0.01 ? (window.syn - window.synAck) / handshakes : 0;
  out[offset + 2] = Math.min(1, peers / flows);
  out[offset + 3] = entropy(window.sizes);
  out[offset + 4] = Math.log2((1 + window.bytesOut) / (1 + window.bytesIn));
  out[offset + 5] = window.ended > 0.01 ? window.completed / window.ended : 1;
  out[offset + 6] = Math.min(1, distinct(window.ports) / flows);
  out[offset + 7] = peers;
  out[offset + 8] = window.internal / flows;
  out[offset + 9] = window.newPeers / seconds;
}

function start(window: Window, peer: string, port: number, nowUs: number, isLateral: boolean): void {
  window.connections++;
  if (isLateral) window.internal++;
  addDistinct(window.peers, peer, nowUs);
  addDistinct(window.ports, port, nowUs);
  if (peer === window.firstPeer || window.known?.has(peer) === true) return;
  window.newPeers++;
  if (window.firstPeer === '') window.firstPeer = peer;
  else {
    window.known ??= new Set();
    if (window.known.size < DISTINCT_MAX) window.known.add(peer);
  }
}

function windowOf(windows: Map<string, Window>, key: string, nowUs: number): Window {
  let window = windows.get(key);
  if (window === undefined) {
    if (windows.size >= HOSTS_MAX) dropOldest(windows);
    window = {
      atUs: nowUs,
      connections: 0,
      syn: 0,
      synAck: 0,
      completed: 0,
      ended: 0,
      bytesIn: 0,
      bytesOut: 0,
      packetsIn: 0,
      packetsOut: 0,
      internal: 0,
      newPeers: 0,
      sizes: new Array<number>(SIZE_CLASSES).fill(0),
      peers: { window: 0, one: null, current: null, last: null, lastOne: null },
      ports: { window: 0, one: null, current: null, last: null, lastOne: null },
      known: null,
      firstPeer: '',
    };
    windows.set(key, window);
  }
  const age = nowUs - window.atUs;
  // Every tenth of a second is often enough: what is not decayed for that long is off by 0.3 %.
  if (age > 100_000) {
    decay(window, Math.exp(-age / DECAY_US));
    window.atUs = nowUs;
    turn(window.peers, nowUs);
    turn(window.ports, nowUs);
    // The silent longest come first.
    windows.delete(key);
    windows.set(key, window);
  }
  return window;
}

function decay(window: Window, by: number): void {
  window.connections *= by;
  window.syn *= by;
  window.synAck *= by;
  window.completed *= by;
  window.ended *= by;
  window.bytesIn *= by;
  window.bytesOut *= by;
  window.packetsIn *= by;
  window.packetsOut *= by;
  window.internal *= by;
  window.newPeers *= by;
  for (let i = 0; i < SIZE_CLASSES; i++) window.sizes[i] = (window.sizes[i] as number) * by;
}

function addDistinct(set: Distinct, member: string | number, nowUs: number): void {
  turn(set, nowUs);
  if (set.current !== null) {
    if (set.current.size < DISTINCT_MAX) set.current.add(member);
  } else if (set.one === null) set.one = member;
  else if (set.one !== member) set.current = new Set([set.one, member]);
}

function turn(set: Distinct, nowUs: number): void {
  const window = Math.floor(nowUs / WINDOW_US);
  if (window <= set.window) return;
  const isNext = window === set.window + 1;
  set.last = isNext ? set.current : null;
  set.lastOne = isNext ? set.one : null;
  set.current = null;
  set.one = null;
  set.window = window;
}

function distinct(set: Distinct): number {
  const has = (member: string | number): boolean => set.current?.has(member) ?? set.one === member;
  let count = set.current?.size ?? (set.one === null ? 0 : 1);
  if (set.last === null) return set.lastOne !== null && !has(set.lastOne) ? count + 1 : count;
  for (const member of set.last) if (!has(member)) count++;
  return count;
}

function entropy(counts: readonly number[]): number {
  const whole = counts.reduce((sum, count) => sum + count, 0);
  if (whole < 0.01) return 0;
  return counts.reduce((sum, count) => {
    const part = count / whole;
    return part > 1e-9 ? sum - part * Math.log2(part) : sum;
  }, 0);
}

function serviceKey(flow: WindowFlow): string {
  return `${flow.server} ${flow.protocol} ${flow.serverPort}`;
}
