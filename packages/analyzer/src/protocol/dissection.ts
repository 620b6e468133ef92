/**
 * Which dissector reads a conversation, and the messages it is given: by its server's port or EtherType, or, where that says
 * nothing, by what its first payload looks like. What it tells goes on with its flow.
 */
import type { Flow } from '../flow/flow.ts';
import { PROTO_TCP, PROTO_UDP, type PacketView } from '../packet/packet-view.ts';
import { NOT_OURS, type Dissector, type Message, type Operation, type Sink } from './dissector.ts';
import { addSegment, createStream, endStream, type Stream, type StreamHandlers } from './stream.ts';

/** Segments that are no message of the port's protocol, from the beginning on, until it is taken for something else. */
const STRANGE_SEGMENTS_MAX = 3;
const FACTS_MAX = 24;
const FACT_CHARACTERS_MAX = 256;
const ACTIONS_MAX = 48;

export interface DissectionEvents {
  operation(flow: Flow, operation: Operation, view: PacketView): void;
  fact(flow: Flow, key: string, value: string): void;
  violation(flow: Flow, protocol: string, reason: string, view: PacketView): void;
}

interface Conversation {
  /** Name of the dissector; '' while undecided or when none fits. */
  dissector: string;
  client: Stream;
  server: Stream;
  strange: number;
  /** At least one of its messages was read. */
  isSpoken: boolean;
}

export class Dissection {
  readonly counters = { messages: 0, operations: 0, violations: 0, unframed: 0, gapBytes: 0 };
  readonly #byName = new Map<string, Dissector>();
  readonly #tcp = new Map<number, Dissector>();
  readonly #udp = new Map<number, Dissector>();
  readonly #etherTypes = new Map<number, Dissector>();
  readonly #probing: readonly Dissector[];
  readonly #probingDatagrams: readonly Dissector[];
  readonly #byDatagram: ReadonlyMap<string, Dissector>;
  readonly #events: DissectionEvents;
  #conversations = new Map<string, Conversation>();
  readonly #message: { -readonly [K in keyof Message]: Message[K] };
  readonly #sink: Sink;
  readonly #handlers: StreamHandlers;
  /** What the sink and the handlers are about. */
  #flow: Flow | null = null;
  #view: PacketView | null = null;
  #dissector: Dissector | null = null;
  #conversation: Conversation | null = null;

  constructor(dissectors: readonly Dissector[], events: DissectionEvents) {
    this.#events = events;
    for (const dissector of dissectors) {
      this.#byName.set(dissector.name, dissector);
      for (const port of dissector.tcpPorts) this.#tcp.set(port, dissector);
      for (const port of dissector.udpPorts) this.#udp.set(port, dissector);
      for (const type of dissector.etherTypes) this.#etherTypes.set(type, dissector);
    }
    this.#probing = dissectors.filter((dissector) => dissector.looksLike !== undefined);
    this.#probingDatagrams = dissectors.filter((dissector) => dissector.looksLikeDatagram !== undefined);
    this.#byDatagram = new Map(this.#probingDatagrams.map((dissector) => [dissector.name, dissector]));
    this.#message = {
      bytes: new Uint8Array(0),
      at: 0,
      end: 0,
      isFromClient: true,
      timeUs: 0,
      memory: {},
    };
    this.#sink = {
      operation: (operation) => this.#operation(operation),
      fact: (key, value) => this.#fact(key, value),
      violation: (reason) => this.#violation(reason),
    };
    this.#handlers = {
      messageBytes: (bytes, at, end) => this.#dissector?.messageBytes?.(bytes, at, end) ?? end - at,
      message: (bytes, at, end) => this.#dissect(bytes, at, end),
      unframed: () => this.#unframed(),
      gap: (bytes) => {
        this.counters.gapBytes += bytes;
      },
    };
  }

  snapshot(): unknown {
    return { conversations: this.#conversations, counters: { ...this.counters } };
  }

  restore(snapshot: unknown): void {
    const { conversations, counters } = snapshot as {
      conversations: Map<string, Conversation>;
      counters: object;
    };
    this.#conversations = conversations;
    Object.assign(this.counters, counters);
  }

  /** Reads the packet, which was just added to its flow. */
  add(flow: Flow, view: PacketView, isFromClient: boolean): void {
    this.#flow = flow;
    this.#view = view;
    this.#conversation = null;
    this.#message.isFromClient = isFromClient;
    this.#message.timeUs = view.timeUs;
    this.#message.memory = flow.memory;
    if (view.isIp && view.payloadEnd <= view.payloadOffset) return;
    if (!view.isIp) this.#addFrame(flow, view);
    else if (view.inner.fragment === 1 && view.inner.transportOffset === -1) return;
    else if (view.protocol === PROTO_TCP) this.#addSegment(flow, view, isFromClient);
    else if (view.protocol === PROTO_UDP) this.#addDatagram(flow, view);
  }

  /** The flow is over: what is left of its streams is read, and forgotten. */
  end(flow: Flow, view: PacketView): void {
    const conversation = this.#conversations.get(flow.key);
    if (conversation === undefined) return;
    this.#conversations.delete(flow.key);
    this.#flow = flow;
    this.#view = view;
    this.#conversation = conversation;
    this.#dissector = this.#byName.get(conversation.dissector) ?? null;
    this.#message.memory = flow.memory;
    this.#message.isFromClient = true;
    endStream(conversation.client, this.#handlers);
    this.#message.isFromClient = false;
    endStream(conversation.server, this.#handlers);
  }

  #addFrame(flow: Flow, view: PacketView): void {
    const dissector = this.#etherTypes.get(flow.etherType);
    if (dissector === undefined) return;
    const at = view.frame.payloadOffset;
    if (at === -1 || at >= view.end) return;
    flow.service = dissector.name;
    this.#dissector = dissector;
    this.#dissect(view.bytes, at, view.end);
  }

  #addDatagram(flow: Flow, view: PacketView): void {
    const { bytes, payloadOffset: at, payloadEnd: end } = view;
    let dissector = this.#udp.get(flow.serverPort) ?? this.#udp.get(flow.clientPort);
    if (dissector === undefined && flow.service !== '')
      dissector = this.#byDatagram.get(flow.service) ?? this.#byName.get(flow.service);
    dissector ??= this.#probeDatagram(flow, bytes, at, end);
    if (dissector === undefined) return;
    flow.service = dissector.name;
    this.#dissector = dissector;
    this.#dissect(bytes, at, end);
  }

  #addSegment(flow: Flow, view: PacketView, isFromClient: boolean): void {
    const { bytes, payloadOffset: at, payloadEnd: end } = view;
    let conversation = this.#conversations.get(flow.key);
    if (conversation === undefined) {
      const known = this.#byPort(flow, bytes, at, end) ?? this.#probe(bytes, at, end);
      if (known === undefined && flow.memory['probes'] === STRANGE_SEGMENTS_MAX) return;
      if (known === undefined) {
        flow.memory['probes'] = ((flow.memory['probes'] as number | undefined) ?? 0) + 1;
        return;
      }
      conversation = {
        dissector: known.name,
        client: createStream(),
        server: createStream(),
        strange: 0,
        isSpoken: false,
      };
      this.#conversations.set(flow.key, conversation);
      flow.service = known.name;
    }
    if (conversation.dissector === '') return;
    this.#conversation = conversation;
    this.#dissector = this.#byName.get(conversation.dissector) ?? null;
    const stream = isFromClient ? conversation.client : conversation.server;
    addSegment(stream, view.tcpSequence, bytes, at, end, view.payloadWireBytes, this.#handlers);
  }

  /** A port says what it is for, unless what is said is surely not that and surely something else: ports are drawn from the same numbers. */
  #byPort(flow: Flow, bytes: Uint8Array, at: number, end: number): Dissector | undefined {
    const byServer = this.#tcp.get(flow.serverPort);
    const byPort = byServer ?? this.#tcp.get(flow.clientPort);
    if (byPort?.messageBytes?.(bytes, at, end) !== NOT_OURS) return byPort;
    const byClient = this.#tcp.get(flow.clientPort);
    if (byServer !== undefined && byClient?.messageBytes !== undefined && byClient.messageBytes(bytes, at, end) > 0)
      return byClient; // prettier-ignore
    return this.#probe(bytes, at, end) ?? byPort;
  }

  #probe(bytes: Uint8Array, at: number, end: number): Dissector | undefined {
    return this.#probing.find((dissector) => dissector.looksLike?.(bytes, at, end) === true);
  }

  /** Of a conversation that nothing is known of, the first datagrams are looked at. */
  #probeDatagram(flow: Flow, bytes: Uint8Array, at: number, end: number): Dissector | undefined {
    const probes = (flow.memory['probes'] as number | undefined) ?? 0;
    if (probes >= STRANGE_SEGMENTS_MAX) return undefined;
    flow.memory['probes'] = probes + 1;
    return this.#probingDatagrams.find((one) => one.looksLikeDatagram?.(bytes, at, end) === true);
  }

  #dissect(bytes: Uint8Array, at: number, end: number): void {
    const message = this.#message;
    message.bytes = bytes;
    message.at = at;
    message.end = end;
    this.counters.messages++;
    if (this.#conversation !== null) {
      this.#conversation.strange = 0;
      this.#conversation.isSpoken = true;
    }
    this.#dissector?.dissect(message, this.#sink);
    const { done } = message.memory;
    if (this.#conversation !== null && (done === true || done === 'other'))
      this.#leave(this.#conversation, done);
  }

  /** Its dissector has heard enough, or has heard that it is not its own. */
  #leave(conversation: Conversation, done: true | 'other'): void {
    conversation.dissector = '';
    if (done === 'other' && this.#flow !== null) this.#flow.service = '';
  }

  /** Not what its port says: after a few of those from the beginning on it is something else. */
  #unframed(): void {
    this.counters.unframed++;
    const conversation = this.#conversation;
    const flow = this.#flow;
    if (conversation === null || flow === null || conversation.dissector === '') return;
    conversation.strange++;
    // Only of a conversation that was this protocol before; anything may use a port.
    if (conversation.strange === 1 && conversation.isSpoken) this.#violation('bytes are not this protocol');
    if (conversation.strange < STRANGE_SEGMENTS_MAX) return;
    conversation.dissector = '';
  }

  #operation(operation: Operation): void {
    this.counters.operations++;
    const flow = this.#flow;
    if (flow === null || this.#view === null) return;
    // Of a message that waited for a gap to close the packet at hand says nothing.
    operation.isFromClient = this.#message.isFromClient;
    // What speaks through a shared port says itself which protocol it is.
    if (operation.protocol !== flow.service && operation.protocol !== 'cotp' && flow.service === 's7comm')
      flow.service = operation.protocol;
    if (operation.exception !== '') flow.exceptions++;
    if (!operation.isResponse) {
      countIn(flow.actions, operation.action);
      countIn(flow.actions, operation.name);
    }
    this.#events.operation(flow, operation, this.#view);
  }

  #fact(key: string, value: string): void {
    const flow = this.#flow;
    if (flow === null) return;
    const { facts } = flow;
    if (facts[key] === undefined && Object.keys(facts).length >= FACTS_MAX) return;
    const bounded = value.slice(0, FACT_CHARACTERS_MAX);
    if (facts[key] === bounded) return;
    facts[key] = bounded;
    this.#events.fact(flow, key, bounded);
  }

  #violation(reason: string): void {
    this.counters.violations++;
    const flow = this.#flow;
    if (flow === null || this.#view === null) return;
    flow.violations++;
    this.#events.violation(flow, this.#dissector?.name ?? '', reason, this.#view);
  }
}

function countIn(counts: Record<string, number>, name: string): void {
  const known = counts[name];
  if (known !== undefined) counts[name] = known + 1;
  else if (Object.keys(counts).length < ACTIONS_MAX) counts[name] = 1;
}
