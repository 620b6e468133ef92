/**
 * Who is there, and who does what with whom: hosts with their MAC addresses and services, pairs with the operations between them, the range of the
 * values and how often. It is what the report shows, what a baseline freezes and what deviations are told from.
 * Bounded: HOSTS_MAX hosts, PAIRS_MAX pairs, OPERATIONS_MAX operations a pair; beyond that nothing new is learnt, and `full` says so.
 */
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import type { Flow } from '../flow/flow.ts';
import type { PacketView } from '../packet/packet-view.ts';
import type { Operation } from '../protocol/dissector.ts';
import { isGroupAddress } from './networks.ts';

const HOSTS_MAX = 16_384;
const PAIRS_MAX = 65_536;
const OPERATIONS_MAX = 256;
const MACS_MAX = 4;

/** Plain data, as it stands in a snapshot and a baseline. */
export interface Host {
  readonly address: string;
  /** MAC addresses it sent from, on the wire of the sensor; a router's for hosts behind it. */
  readonly macs: string[];
  firstUs: number;
  /** It was heard last, by a packet that it sent; and the longest it was silent between two. */
  lastUs: number;
  silenceUsMax: number;
  packets: number;
  /** Names that it gave itself, by the kind of fact. */
  readonly names: Record<string, string>;
  /** Services it answered on: `modbus 502`. */
  readonly offers: Record<string, number>;
  /** Services it used at others. */
  readonly uses: Record<string, number>;
  /** OT operations that it asked for, by action. */
  readonly asked: Record<string, number>;
  /** OT operations that were asked of it. */
  readonly answered: Record<string, number>;
}

export interface OperationStat {
  readonly name: string;
  readonly action: string;
  readonly object: string;
  readonly unit: number;
  count: number;
  refused: number;
  /** Range of values; Infinity and -Infinity before the first. */
  min: number;
  max: number;
  lastUs: number;
  /** Gaps between its requests: how many, their sum and that of their squares, in µs. */
  gaps: number;
  gapSum: number;
  gapSquares: number;
}

export interface Pair {
  readonly client: string;
  readonly server: string;
  /** The dissector's name, or the transport and port: `tcp/8443`. */
  service: string;
  readonly port: number;
  firstUs: number;
  lastUs: number;
  flows: number;
  /** The server was heard too. */
  answered: number;
  readonly operations: Map<string, OperationStat>;
}

/** Protocols of plants: who serves them is a controller, who asks is its operator. */
export const OT_SERVICES: ReadonlySet<string> = new Set([
  'modbus', 's7comm', 'mms', 'dnp3', 'iec104', 'enip', 'opcua', 'bacnet', 'profinet', 'tristation', 'melsec', 'goose', 'sampled-values',
]); // prettier-ignore

/** With what brings a plant's values together: who serves that is a broker, and no controller. */
export const PLANT_SERVICES: ReadonlySet<string> = new Set([...OT_SERVICES, 'mqtt']);

const HOST_FACTS: ReadonlySet<string> = new Set([
  'hostname',
  'station-name',
  'ntlm-workstation',
  'vendor-class',
]);

export interface InventoryState {
  readonly hosts: Map<string, Host>;
  readonly pairs: Map<string, Pair>;
}

export class Inventory {
  state: InventoryState = { hosts: new Map(), pairs: new Map() };
  /** What found no room. */
  readonly full = { hosts: 0, pairs: 0, operations: 0 };

  /** The pair that the flow belongs to; `isNew` when it was not known. */
  start(flow: Flow, view: PacketView): { readonly pair: Pair | null; readonly isNew: boolean } {
    const nowUs = view.timeUs;
    const client = this.#host(flow.client, nowUs);
    if (!isGroupAddress(flow.server)) this.#host(flow.server, nowUs);
    const sender = flow.wasReversed ? this.state.hosts.get(flow.server) : client;
    if (sender !== undefined && sender !== null) learnMac(sender, view);
    return this.#pair(flow, nowUs);
  }

  /** The server took part: what it offers and the client uses. The other end's MAC address is the packet's. */
  answered(flow: Flow, view: PacketView): void {
    const service = serviceName(flow);
    const server = this.state.hosts.get(flow.server);
    const client = this.state.hosts.get(flow.client);
    if (server !== undefined) {
      learnMac(server, view);
      countIn(server.offers, service);
    }
    if (client !== undefined) countIn(client.uses, service);
    const pair = this.state.pairs.get(flow.line);
    if (pair === undefined) return;
    pair.answered++;
    pair.service = service;
  }

  /** A packet of that host. */
  heard(address: string, nowUs: number): void {
    const host = this.state.hosts.get(address);
    if (host === undefined) return;
    host.packets++;
    const silence = nowUs - host.lastUs;
    if (silence <= 0) return;
    host.lastUs = nowUs;
    if (host.packets > 1 && silence > host.silenceUsMax) host.silenceUsMax = silence;
  }

  fact(flow: Flow, key: string, value: string): void {
    if (!HOST_FACTS.has(key)) return;
    const host = this.state.hosts.get(flow.client);
    if (host !== undefined) host.names[key] = value;
  }

  /** Learns an operation; null when there is no room, or it is not known from a request. */
  operation(
    flow: Flow,
    operation: Operation,
    nowUs: number,
  ): { readonly stat: OperationStat; readonly isNew: boolean; readonly pair: Pair } | null {
    const pair = this.state.pairs.get(flow.line);
    if (pair === undefined) return null;
    pair.lastUs = nowUs;
    pair.service = serviceName(flow);
    const key = operationKey(operation);
    let stat = pair.operations.get(key);
    const isNew = stat === undefined;
    if (stat === undefined) {
      if (pair.operations.size >= OPERATIONS_MAX) {
        this.full.operations++;
        return null;
      }
      stat = {
        name: operation.name,
        action: operation.action,
        object: operation.object,
        unit: operation.unit,
        count: 0,
        refused: 0,
        min: Infinity,
        max: -Infinity,
        lastUs: 0,
        gaps: 0,
        gapSum: 0,
        gapSquares: 0,
      };
      pair.operations.set(key, stat);
    }
    if (operation.exception !== '') stat.refused++;
    if (!Number.isNaN(operation.value)) {
      if (operation.value < stat.min) stat.min = operation.value;
      if (operation.value > stat.max) stat.max = operation.value;
    }
    if (!operation.isResponse) this.#asked(flow, operation, stat, nowUs);
    return { stat, isNew, pair };
  }

  #asked(flow: Flow, operation: Operation, stat: OperationStat, nowUs: number): void {
    stat.count++;
    if (stat.lastUs !== 0) {
      const gap = Math.max(0, nowUs - stat.lastUs);
      stat.gaps++;
      stat.gapSum += gap;
      stat.gapSquares += gap * gap;
    }
    stat.lastUs = nowUs;
    if (!OT_SERVICES.has(operation.protocol)) return;
    // A DNP3 outstation may call its master, who then asks.
    const [from, to] = operation.isFromClient ? [flow.client, flow.server] : [flow.server, flow.client];
    const asker = this.state.hosts.get(from);
    const asked = this.state.hosts.get(to);
    if (asker !== undefined) countIn(asker.asked, operation.action);
    if (asked !== undefined) countIn(asked.answered, operation.action);
  }

  #host(address: string, nowUs: number): Host | null {
    const { hosts } = this.state;
    const known = hosts.get(address);
    if (known !== undefined) return known;
    if (hosts.size >= HOSTS_MAX) {
      this.full.hosts++;
      return null;
    }
    const host = { address, macs: [], firstUs: nowUs, lastUs: nowUs, silenceUsMax: 0, packets: 0, names: {}, offers: {}, uses: {}, asked: {}, answered: {} }; // prettier-ignore
    hosts.set(address, host);
    return host;
  }

  #pair(flow: Flow, nowUs: number): { pair: Pair | null; isNew: boolean } {
    const { pairs } = this.state;
    const key = flow.line;
    const known = pairs.get(key);
    if (known !== undefined) {
      known.flows++;
      if (nowUs > known.lastUs) known.lastUs = nowUs;
      return { pair: known, isNew: false };
    }
    if (pairs.size >= PAIRS_MAX) {
      this.full.pairs++;
      return { pair: null, isNew: false };
    }
    const pair: Pair = {
      client: flow.client,
      server: flow.server,
      service: serviceName(flow),
      port: flow.serverPort,
      firstUs: nowUs,
      lastUs: nowUs,
      flows: 1,
      answered: 0,
      operations: new Map(),
    };
    pairs.set(key, pair);
    return { pair, isNew: true };
  }
}

/** Which operations are the same. A connection's number is drawn anew each time that it is opened: it tells none apart. */
export function operationKey(operation: {
  readonly unit: number;
  readonly name: string;
  readonly object: string;
}): string {
  const { unit, name, object } = operation;
  return `${unit} ${name} ${object.startsWith('connection:') ? 'connection' : object}`;
}

/** The dissector's name, or transport and port, or EtherType. */
export function serviceName(flow: Flow): string {
  if (flow.service !== '') return flow.service;
  if (flow.protocol === -1) return `0x${flow.etherType.toString(16).padStart(4, '0')}`;
  const transport = flow.protocol === 6 ? 'tcp' : flow.protocol === 17 ? 'udp' : flow.protocol === 1 ? 'icmp' : `ip-${flow.protocol}`; // prettier-ignore
  return flow.serverPort === -1 || transport === 'icmp' ? transport : `${transport}/${flow.serverPort}`;
}

function learnMac(host: Host, view: PacketView): void {
  const at = view.frame.linkSourceOffset;
  if (at === -1 || view.tunnelDepth > 0 || host.macs.length >= MACS_MAX) return;
  const mac = formatMac(view.bytes, at);
  if (!host.macs.includes(mac)) host.macs.push(mac);
}

function countIn(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
