/**
 * Packets that somebody else put into a TCP connection: two at the same place of the stream that say different things, or two acceptances of one opening
 * that count from different numbers. The first to arrive wins, and who listens at the wire is quicker than the server. What is sent again because it was
 * lost is the same (RFC 9293, section 3.8.1).
 */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import type { Flow } from '../../flow/flow.ts';
import { be32 } from '../../protocol/byte-reader.ts';
import { PROTO_TCP, TCP_ACK, TCP_SYN, type PacketView } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Where plain words are believed. */
const SERVICES: ReadonlySet<string> = new Set([...PLANT_SERVICES, 'http', 'dns', 'ftp', 'smtp']);
/** Keep-alives bring a byte of anything. */
const PAYLOAD_BYTES_MIN = 8;
/** What is compared of a segment: its first words of four bytes, and, of one as long, its last. */
const WORDS = 8;
const WORDS_AT = 3;
/** An opening that is repeated is so after a second. */
const SAME_OPENING_US = 900_000;
/** Of each end the last segment: sequence number, length, last word, first words. */
const KEYS = ['said-server', 'said-client'] as const;
/** Sequence number of the server's acceptance, what it acknowledges, and when it came. */
const ACCEPTED = 'accepted-with';

export function createInjectionDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.tcp_injection;

  function told(flow: Flow, evidence: string, timeUs: number): void {
    const { client, server, serverPort } = flow;
    tell(flow, {
      rule: 'tcp-injection',
      title: 'Somebody else speaks in a connection',
      score: 0.9,
      technique: 'T0830',
      source: '',
      destination: client,
      evidence,
      group: flow.line,
      scope: { client, server, serverPort },
      timeUs,
    });
  }

  function accepted(flow: Flow, view: PacketView): void {
    const at = view.inner.transportOffset;
    if (at === -1 || view.end - at < 12) return;
    const acknowledged = be32(view.bytes, at + 8);
    const known = flow.memory[ACCEPTED] as number[] | undefined;
    if (known === undefined) {
      flow.memory[ACCEPTED] = [view.tcpSequence, acknowledged, view.timeUs];
      return;
    }
    const [sequence = 0, before = 0, timeUs = 0] = known;
    // Seen on both sides of what rewrites sequence numbers, one acceptance acknowledges two things.
    if (acknowledged !== before) return;
    if (sequence !== view.tcpSequence && view.timeUs - timeUs < SAME_OPENING_US)
      told(
        flow,
        `${flow.server} port ${flow.serverPort} seems to accept one connection of ${flow.client} twice, with different sequence numbers`,
        view.timeUs,
      );
  }

  function said(flow: Flow, view: PacketView, isFromClient: boolean): void {
    const { bytes, payloadOffset: at, payloadEnd: end } = view;
    const length = end - at;
    if (length < PAYLOAD_BYTES_MIN) return;
    const key = KEYS[isFromClient ? 1 : 0];
    const known = (flow.memory[key] ??= new Array<number>(WORDS_AT + WORDS).fill(0)) as number[];
    const words = Math.min(WORDS, length >> 2);
    const last = be32(bytes, end - 4);
    if (known[0] === view.tcpSequence && known[1] !== 0) {
      let differs = known[1] === length && known[2] !== last;
      const common = Math.min(words, (known[1] as number) >> 2);
      for (let i = 0; i < common; i++) differs ||= known[WORDS_AT + i] !== be32(bytes, at + 4 * i);
      if (differs)
        told(
          flow,
          `two segments of ${isFromClient ? flow.client : flow.server} at one place of the stream say different things`,
          view.timeUs,
        );
      return;
    }
    known[0] = view.tcpSequence;
    known[1] = length;
    known[2] = last;
    for (let i = 0; i < words; i++) known[WORDS_AT + i] = be32(bytes, at + 4 * i);
  }

  return {
    state: {},

    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP || !rule.enabled || view.inner.fragment === 1) return;
      if ((view.tcpFlags & TCP_SYN) !== 0) {
        if ((view.tcpFlags & TCP_ACK) !== 0 && !isFromClient && !flow.wasReversed) accepted(flow, view);
      } else if (view.payloadEnd > view.payloadOffset && SERVICES.has(flow.service))
        said(flow, view, isFromClient);
    },
  };
}
