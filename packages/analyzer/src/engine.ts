/**
 * The engine of one sensor: packets in order of time go in, flows and alerts come out.
 *
 *   run ─▶ packet ─▶ flow ─▶ protocol ─▶ inventory, windows, rules ─▶ findings ─▶ alerts
 *                      └─▶ (at its end) features ─▶ models ─▶ findings ─┘
 *
 * Everything it knows is made of packets and their times: the same packets give the same flows and alerts, live, tailed or read again. What it
 * knows can be written down (`snapshot`) and taken up by another engine (`restore`).
 */
import {
  RECORD_CAPTURED_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL_BYTES,
  readU32,
} from '@tapline/shared/packet/record.ts';
import { AlertDesk, type Alert } from './alert/alert-desk.ts';
import type { Finding } from './alert/finding.ts';
import type { SensorBaseline } from './asset/baseline.ts';
import { Inventory, type InventoryState } from './asset/inventory.ts';
import { NetworkList } from './asset/networks.ts';
import {
  countEnd,
  countPacket,
  countStart,
  createWindowState,
  type WindowState,
} from './feature/window-features.ts';
import { BACKWARD, FORWARD, PACKETS } from './flow/flow-columns.ts';
import type { FlowBudget } from './flow/flow-budget.ts';
import { FLOW_DEFAULTS, FlowTable, type FlowOptions } from './flow/flow-table.ts';
import { SENT_DATA, SENT_FIN, SENT_SYN_ACK, type Flow } from './flow/flow.ts';
import { PROTO_TCP, PROTO_UDP, PacketView, TCP_ACK, TCP_SYN, locatePacket } from './packet/packet-view.ts';
import { Dissection } from './protocol/dissection.ts';
import { DISSECTORS } from './protocol/dissectors.ts';
import { restoreState, type Detector } from './rule/detector.ts';
import { createDetectors } from './rule/detectors.ts';
import { KeyedWindows } from './rule/keyed-window.ts';
import type { Rules } from './rule/rule-file.ts';

export interface EngineOptions {
  readonly sensor: string;
  readonly rules: Rules;
  readonly flows?: Partial<FlowOptions>;
  /** What this engine's flows and those of others share. */
  readonly flowBudget?: FlowBudget;
  /** What is normal here; without it nothing deviates. */
  readonly baseline?: SensorBaseline;
  /** Name of a file by its number in runs. */
  fileName(file: number): string;
}

export interface EngineEvents {
  /** Each packet, after it was added to its flow and before the next one comes: `view` is lent. */
  packet?(flow: Flow | null, view: PacketView): void;
  alert(alert: Alert, isNew: boolean): void;
  /** The packet could not be analysed, by a fault of ours; without this the fault is thrown. */
  failed?: (error: unknown, view: PacketView) => void;
  /** The flow's numbers lie in `values` until the call returns. */
  flowEnded(flow: Flow, values: Float64Array, engine: Engine): void;
}

/** Records of one file, as `merge` hands them out. */
export interface PacketRun {
  readonly file: number;
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
  readonly linkType: number;
  readonly number: number;
  readonly offset: number;
}

export class Engine {
  readonly sensor: string;
  readonly counters = { packets: 0, bytes: 0, packetsFailed: 0 };
  readonly flows: FlowTable;
  readonly dissection: Dissection;
  readonly desk: AlertDesk;
  readonly internal: NetworkList;
  readonly inventory = new Inventory();
  /** Packet time of the last packet. */
  packetUs = 0;
  windows: WindowState = createWindowState();
  /** Flows that a model told, by model and victim, of the last ten minutes. */
  readonly modelFlows = new KeyedWindows(600_000_000);
  /** By IP protocol number, as the older prototype's metric has it. */
  readonly protocols = new Map<number, number>();
  readonly #events: EngineEvents;
  readonly #view = new PacketView();
  #detectors: readonly Detector[];
  /** Those of them that listen to what comes most; most do not. */
  #onPacket: readonly Detector[] = [];
  #onOperation: readonly Detector[] = [];
  #baseline: SensorBaseline | null;

  constructor(options: EngineOptions, events: EngineEvents) {
    this.sensor = options.sensor;
    this.#events = events;
    this.#baseline = options.baseline ?? null;
    this.internal = new NetworkList(options.rules.internal_networks);
    this.desk = new AlertDesk(options, { alert: (alert, isNew) => events.alert(alert, isNew) });
    this.#detectors = this.#createDetectors(options.rules);
    this.flows = new FlowTable(
      { ...FLOW_DEFAULTS, ...options.flows },
      { started: (flow) => this.#started(flow), ended: (flow) => this.#ended(flow) },
      options.flowBudget,
    );
    this.dissection = new Dissection(DISSECTORS, {
      operation: (flow, operation) => {
        this.inventory.operation(flow, operation, this.packetUs);
        for (const detector of this.#onOperation) detector.operation?.(flow, operation, this.packetUs);
      },
      fact: (flow, key, value) => {
        this.inventory.fact(flow, key, value);
        for (const detector of this.#detectors) detector.fact?.(flow, key, value, this.packetUs);
      },
      violation: (flow, protocol, reason) => {
        for (const detector of this.#detectors) detector.violation?.(flow, protocol, reason, this.packetUs);
      },
    });
  }

  /** The time that packets agree on, or the last one's where that is later: a late packet turns it back as little as one from the future keeps it there. */
  get clockUs(): number {
    return Math.max(this.flows.clockUs, this.packetUs);
  }

  /** Takes other thresholds; what was counted so far stays. */
  setRules(rules: Rules): void {
    const before = this.#detectors;
    this.#detectors = this.#createDetectors(rules);
    this.#detectors.forEach((detector, index) => {
      restoreState(detector.state, before[index]?.state ?? {});
    });
  }

  /** Takes what a model or the baseline found. */
  report(finding: Finding, flow: Flow | null): Alert {
    return this.desk.add(finding, flow);
  }

  /** Takes records in order of time. */
  add(run: PacketRun): void {
    const { bytes, linkType } = run;
    const view = this.#view;
    let { number, offset } = run;
    for (let at = run.from; at < run.to; number++) {
      const capturedBytes = readU32(bytes, at + RECORD_CAPTURED_BYTES);
      view.timeUs = readU32(bytes, at) * 1e6 + readU32(bytes, at + RECORD_NANOSECONDS) / 1000;
      view.wireBytes = readU32(bytes, at + RECORD_ORIGINAL_BYTES);
      view.origin.file = run.file;
      view.origin.number = number;
      view.origin.offset = offset;
      try {
        this.#packet(view, linkType, at + RECORD_HEADER_BYTES, bytes, capturedBytes);
      } catch (error) {
        this.#failed(error, view);
      }
      const recordBytes = RECORD_HEADER_BYTES + capturedBytes;
      at += recordBytes;
      if (offset !== -1) offset += recordBytes;
    }
  }

  /** The input is over: every flow ends, every alert is told as it stands. */
  finish(): void {
    this.flows.endAll();
    this.desk.flush();
  }

  snapshot(): unknown {
    return {
      counters: { ...this.counters },
      packetUs: this.packetUs,
      flows: this.flows.snapshot(),
      dissection: this.dissection.snapshot(),
      desk: this.desk.snapshot(),
      windows: this.windows,
      inventory: this.inventory.state,
      modelFlows: this.modelFlows.windows,
      protocols: this.protocols,
      detectors: this.#detectors.map(({ state }) => plainState(state)),
    };
  }

  restore(snapshot: unknown): void {
    const state = snapshot as Snapshot;
    Object.assign(this.counters, state.counters);
    this.packetUs = state.packetUs;
    this.flows.restore(state.flows);
    this.dissection.restore(state.dissection);
    this.desk.restore(state.desk);
    this.windows = state.windows;
    this.inventory.state = state.inventory;
    this.modelFlows.windows = state.modelFlows;
    for (const [protocol, packets] of state.protocols) this.protocols.set(protocol, packets);
    this.#detectors.forEach((detector, index) => {
      restoreState(detector.state, state.detectors[index] ?? {});
    });
  }

  #createDetectors(rules: Rules): readonly Detector[] {
    const detectors = createDetectors(rules, this.internal, this.#baseline, (finding, flow) => {
      this.report(finding, flow);
    });
    this.#onPacket = detectors.filter((detector) => 'packet' in detector);
    this.#onOperation = detectors.filter((detector) => 'operation' in detector);
    return detectors;
  }

  #packet(view: PacketView, linkType: number, at: number, bytes: Uint8Array, capturedBytes: number): void {
    this.counters.packets++;
    this.counters.bytes += view.wireBytes;
    this.packetUs = view.timeUs;
    locatePacket(view, linkType, bytes, at, capturedBytes);
    this.protocols.set(view.protocol, (this.protocols.get(view.protocol) ?? 0) + 1);
    const flow = this.flows.add(view);
    const isFromClient = this.flows.isFromClient;
    if (flow !== null) {
      this.inventory.heard(isFromClient ? flow.client : flow.server, view.timeUs);
      if (view.isIp) this.#countInWindows(view, flow, isFromClient);
      if (!isFromClient) this.#mayBeAnswer(view, flow);
      this.dissection.add(flow, view, isFromClient);
    }
    for (const detector of this.#onPacket) detector.packet?.(view, flow, isFromClient);
    this.#events.packet?.(flow, view);
  }

  /** A bug, and its blast radius is this packet: a daemon that ended would meet it again at its next start, and at each one after. */
  #failed(error: unknown, view: PacketView): void {
    const { failed } = this.#events;
    if (failed === undefined) throw error;
    this.counters.packetsFailed++;
    failed(error, view);
  }

  #countInWindows(view: PacketView, flow: Flow, isFromClient: boolean): void {
    const isSyn = view.protocol === PROTO_TCP && (view.tcpFlags & TCP_SYN) !== 0;
    const handshake = isSyn ? ((view.tcpFlags & TCP_ACK) !== 0 ? 2 : 1) : 0;
    countPacket(this.windows, flow, view.timeUs, view.packetBytes, isFromClient, handshake);
  }

  /** A server that answers with more than a refusal takes part. */
  #mayBeAnswer(view: PacketView, flow: Flow): void {
    if (flow.memory['answered'] === true || !this.#takesPart(view, flow)) return;
    flow.memory['answered'] = true;
    this.inventory.answered(flow, view);
    for (const detector of this.#detectors) detector.flowAnswered?.(flow, this.packetUs);
  }

  #takesPart(view: PacketView, flow: Flow): boolean {
    if (view.protocol !== PROTO_TCP || view.payloadWireBytes > 0) return true;
    return (flow.serverState & SENT_SYN_ACK) !== 0 && (flow.clientState & SENT_DATA) !== 0;
  }

  #started(flow: Flow): void {
    if (flow.protocol !== -1) {
      const isInternal = this.internal.has(flow.client) && this.internal.has(flow.server);
      countStart(this.windows, flow, flow.startUs, isInternal);
    }
    this.inventory.start(flow, this.#view);
    for (const detector of this.#detectors) detector.flowStarted?.(flow, this.#view);
  }

  #ended(flow: Flow): void {
    this.dissection.end(flow, this.#view);
    const values = this.flows.values;
    if (flow.protocol !== -1) {
      const both =
        (values[flow.row + BACKWARD + PACKETS] as number) > 0 &&
        (values[flow.row + FORWARD + PACKETS] as number) > 0;
      const isComplete = both && (flow.protocol === PROTO_UDP || (flow.clientState & flow.serverState & SENT_FIN) !== 0 || flow.protocol !== PROTO_TCP); // prettier-ignore
      countEnd(this.windows, flow, this.packetUs, isComplete);
    }
    for (const detector of this.#detectors) detector.flowEnded?.(flow, values, this.clockUs);
    this.#events.flowEnded(flow, values, this);
  }
}

interface Snapshot {
  counters: object;
  packetUs: number;
  flows: unknown;
  dissection: unknown;
  desk: unknown;
  windows: WindowState;
  inventory: InventoryState;
  modelFlows: KeyedWindows['windows'];
  protocols: Map<number, number>;
  detectors: Record<string, unknown>[];
}

/** Windows are objects with methods: what is written down is what they hold. */
function plainState(state: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(state).map(([name, value]) => [
      name,
      typeof value === 'object' && value !== null && 'windows' in value ? { windows: value.windows } : value,
    ]),
  );
}
