/**
 * Data carried in pings. An echo reply has to repeat what the request brought (RFC 792): one that says something else is the other end of a tunnel. And
 * requests that bring much, again and again, bring it to somebody, and so do those that bring a letter or a word each. Beside that, what ICMP says about
 * ways: redirects, and advertisements of routers that are an attack.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMP, PROTO_ICMPV6, type PacketView } from '../../packet/packet-view.ts';
import { be32 } from '../../protocol/byte-reader.ts';
import { fingerprint } from '../../protocol/ber.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, type CountedWindow, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';
import { commandOf, microsecondsOf, newPlaces, spelling } from './ping-text.ts';

/** `ping` brings 32 or 56 bytes; who tries how large packets may be does so a few times. */
const LARGE_BYTES_MIN = 128;
/** Requests that wait for their answers, as [identifier and sequence, fingerprint] two by two. */
const PENDING_NUMBERS_MAX = 2 * 8;
/** `ping` sends packets of one length; whoever looks for the longest that gets through needs fewer. */
const LENGTHS_MIN = 12;
/** Below that `ping` has no room for the time, and sends the same again and again. */
const SHORT_BYTES = 16;
const SHORT_WORDS_MIN = 6;
/** Whoever types commands thinks in between. */
const COMMANDS_US = 600_000_000;
const COMMANDS_MIN = 3;
/** A number of four bytes with zeros behind it may look like a word of four letters. */
const COMMAND_LETTERS_MIN = 5;
const NOBODY: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
const REDIRECT = 5;
const REDIRECT_V6 = 137;
const ROUTER_ADVERTISEMENT = 134;
const ROUTER_ADVERTISEMENT_BYTES = 16;
/** Recursive DNS servers (RFC 8106): its length in units of eight bytes is odd, 1 + 2 × addresses. */
const OPTION_RDNSS = 25;
const REQUESTS: ReadonlySet<number> = new Set([8, 128]);
const REPLIES: ReadonlySet<number> = new Set([0, 129]);

/** Numbers in the list of pending requests: three of them. */
const LETTERS_FROM = 6;
/** Between what a request says of when it was sent, and when it was seen. */
const CLOCK_JITTER_US = 10_000;

export function createIcmpDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.icmp_tunnel;
  const large = new KeyedWindows(rule.within * 1000);
  const other = new KeyedWindows(rule.within * 1000);
  const lengths = new KeyedWindows(rule.within * 1000);
  const short = new KeyedWindows(rule.within * 1000);
  /** `other`: letters of the longest. */
  const commands = new KeyedWindows(COMMANDS_US);

  function tellRouting(view: PacketView, flow: Flow): void {
    const { bytes, payloadEnd: end, sourcePort: type, protocol, timeUs } = view;
    const at = view.inner.transportOffset;
    if (at === -1) return;
    const { client, server } = flow;
    const isAdvertisement = protocol === PROTO_ICMPV6 && type === ROUTER_ADVERTISEMENT;
    if (isAdvertisement && rules.exploit.enabled && hasBadOption(bytes, at + ROUTER_ADVERTISEMENT_BYTES, end))
      toldOfWay(flow, {
        rule: 'exploit',
        title: 'Router advertisement that overflows Windows (CVE-2020-16898)',
        technique: 'T0866',
        evidence: `${client} announces name servers in an option of even length`,
        timeUs,
      });
    if (!rules.icmp_redirect.enabled) return;
    if (protocol === PROTO_ICMP && isBetweenNeighbours(view, at))
      toldOfWay(flow, {
        rule: 'icmp-redirect',
        title: 'A host forwards what its neighbours say to each other',
        technique: 'T0830',
        evidence: `${client} could not forward a packet of ${server} to a neighbour of both, who needs nobody between`,
        timeUs,
      });
    if ((protocol === PROTO_ICMP && type === REDIRECT) || (protocol === PROTO_ICMPV6 && type === REDIRECT_V6))
      toldOfWay(flow, {
        rule: 'icmp-redirect',
        title: 'A host says where packets have to go',
        technique: 'T0830',
        evidence: `${client} tells ${server} to send packets another way`,
        timeUs,
      });
  }

  function toldOfWay(flow: Flow, seen: Seen): void {
    const { client, protocol } = flow;
    tell(flow, {
      ...seen,
      score: 0.8,
      port: -1,
      protocol: 'icmp',
      group: client,
      scope: { client, protocol },
    });
  }

  function toldOfData(
    flow: Flow,
    { startUs: fromUs }: Pick<CountedWindow, 'startUs'>,
    seen: Pick<Seen, 'title' | 'evidence' | 'timeUs'>,
  ): void {
    const { client, server, protocol } = flow;
    tell(flow, {
      ...seen,
      rule: 'icmp-tunnel',
      score: 0.85,
      technique: 'T0869',
      port: -1,
      protocol: 'icmp',
      group: `${client} ${server}`,
      scope: { pair: [client, server], protocol },
      fromUs,
    });
  }

  /** The letters that requests bring one by one; not of one that is seen twice. */
  function tellText(view: PacketView, flow: Flow, data: number, isFromClient: boolean): void {
    const identity = be32(view.bytes, view.inner.transportOffset + 4);
    const places = placesOf(flow, isFromClient ? 'letters' : 'lettersBack', identity, data, view.timeUs);
    if (places === null) return;
    const { bytes, payloadOffset, payloadEnd, timeUs } = view;
    const text = spelling(
      places,
      bytes,
      payloadOffset,
      payloadEnd,
      isOnTime(view, flow, isFromClient ? 'phase' : 'phaseBack'),
    );
    if (text === null) return;
    const { client, server } = flow;
    toldOfData(flow, flow, {
      title: 'Pings that spell something',
      evidence: `${text.letters} echo requests in a row from ${isFromClient ? client : server} to ${isFromClient ? server : client} brought a letter each in byte ${text.place} of their data, ${text.different} different ones`,
      timeUs,
    });
  }

  function tellCommand(view: PacketView, flow: Flow): void {
    const command = commandOf(view.bytes, view.payloadOffset, view.payloadEnd);
    if (command === '') return;
    const window = commands.add(flow.line, view.timeUs, command);
    window.other = Math.max(window.other, command.length);
    if (window.count < COMMANDS_MIN || memberCount(window) < 2 || window.other < COMMAND_LETTERS_MIN) return;
    toldOfData(flow, window, {
      title: 'Pings with a word each',
      evidence: `${window.count} echo requests brought ${memberCount(window)} different words and hardly anything else from ${flow.client} to ${flow.server} in ${seconds(window, view.timeUs)}`,
      timeUs: view.timeUs,
    });
  }

  /** Where the flow's letters of one direction are counted, from its fourth request on; null before, and for one that is seen again. */
  function placesOf(
    { memory }: Flow,
    name: 'letters' | 'lettersBack',
    identity: number,
    data: number,
    timeUs: number,
  ): number[] | null {
    const pending = memory['pings'] as number[] | undefined;
    // A ping or two tell nothing, and floods are made of them.
    if (pending === undefined || pending.length < LETTERS_FROM) return null;
    if (pending.at(-2) === identity && pending.at(-1) === data) return null;
    const places = (memory[name] ??= newPlaces()) as number[];
    if (timeUs - ((memory['letterUs'] as number | undefined) ?? timeUs) > rule.within * 1000) places.fill(0);
    memory['letterUs'] = timeUs;
    return places;
  }

  return {
    state: { large, other, lengths, short, commands },

    packet(view, flow, isFromClient) {
      if (flow !== null) tellRouting(view, flow);
      if (!rule.enabled || flow === null || (view.protocol !== PROTO_ICMP && view.protocol !== PROTO_ICMPV6))
        return;
      const at = view.inner.transportOffset;
      const isRequest = REQUESTS.has(view.sourcePort);
      if ((!isRequest && !REPLIES.has(view.sourcePort)) || at === -1 || view.payloadOffset < at + 8) return;
      const bytes = view.payloadEnd - view.payloadOffset;
      if (NOBODY.has(flow.client) || NOBODY.has(flow.server)) return;
      // What was not captured cannot be compared.
      if (bytes <= 0 || bytes < view.payloadWireBytes) return;
      // On its way back the same data may be cut elsewhere.
      const isWhole = view.inner.fragment === 0;
      if (isRequest) {
        const sizes = lengths.add(flow.line, view.timeUs, bytes);
        if (memberCount(sizes) >= LENGTHS_MIN)
          toldOfData(flow, sizes, {
            title: 'Pings of many lengths',
            evidence: `${sizes.count} echo requests of ${memberCount(sizes)} different lengths went from ${flow.client} to ${flow.server} in ${seconds(sizes, view.timeUs)}`,
            timeUs: view.timeUs,
          });
        if (bytes < SHORT_BYTES) {
          const words = short.add(flow.line, view.timeUs, print(view));
          if (memberCount(words) >= SHORT_WORDS_MIN)
            toldOfData(flow, words, {
              title: 'Short pings, each with something else',
              evidence: `${words.count} echo requests of less than ${SHORT_BYTES} bytes from ${flow.client} to ${flow.server} in ${seconds(words, view.timeUs)}, with ${memberCount(words)} different contents`,
              timeUs: view.timeUs,
            });
        }
        if (isWhole) {
          const data = print(view);
          tellText(view, flow, data, isFromClient);
          tellCommand(view, flow);
          remember(flow, be32(view.bytes, at + 4), data);
        }
        if (bytes < LARGE_BYTES_MIN) return;
        const window = large.add(flow.line, view.timeUs);
        window.other += bytes;
        if (window.count >= rule.packets)
          toldOfData(flow, window, {
            title: 'Much data in pings',
            evidence: `${window.count} echo requests brought ${window.other} bytes from ${flow.client} to ${flow.server} in ${seconds(window, view.timeUs)}`,
            timeUs: view.timeUs,
          });
      } else if (isWhole && contradicts(flow, be32(view.bytes, at + 4), print(view))) {
        const window = other.add(flow.line, view.timeUs);
        if (window.count >= Math.ceil(rule.packets / 4))
          toldOfData(flow, window, {
            title: 'Answers to pings that say something else',
            evidence: `${window.count} echo replies of ${flow.server} did not repeat what ${flow.client} had sent, in ${seconds(window, view.timeUs)}`,
            timeUs: view.timeUs,
          });
      }
    },
  };
}

/**
 * Whether a packet was too long, or too old, to be forwarded (types 3, code 4, and 11) that one neighbour of the sender sent to another: of addresses that differ in their last byte
 * it is sure enough that nothing has to be forwarded. The packet's own header stands behind eight bytes (RFC 792).
 */
function isBetweenNeighbours(
  { bytes, inner, end, sourcePort: type, destinationPort: code }: PacketView,
  at: number,
): boolean {
  if (!(type === 3 && code === 4) && type !== 11) return false;
  const original = at + 8;
  if (end - original < 20 || (bytes[original] as number) >> 4 !== 4) return false;
  for (let i = 0; i < 3; i++) {
    const byte = bytes[inner.sourceOffset + i];
    if (bytes[original + 12 + i] !== byte || bytes[original + 16 + i] !== byte) return false;
  }
  const last = bytes[inner.sourceOffset + 3];
  return (
    bytes[original + 15] !== last &&
    bytes[original + 19] !== last &&
    bytes[original + 15] !== bytes[original + 19]
  );
}

/** Whether the options of a router advertisement hold name servers in a length that cannot be. */
function hasBadOption(bytes: Uint8Array, from: number, end: number): boolean {
  for (let at = from; at + 2 <= end;) {
    const length = bytes[at + 1] as number;
    if (length === 0) return false;
    if (bytes[at] === OPTION_RDNSS && length % 2 === 0) return true;
    at += 8 * length;
  }
  return false;
}

function print(view: PacketView): number {
  return fingerprint(view.bytes, view.payloadOffset, view.payloadEnd);
}

function remember(flow: Flow, identity: number, data: number): void {
  const pending = (flow.memory['pings'] ??= []) as number[];
  if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 2);
  pending.push(identity, data);
}

/** Whether a request of this identity was seen, and none of them brought this data. */
function contradicts(flow: Flow, identity: number, data: number): boolean {
  const pending = (flow.memory['pings'] ?? []) as number[];
  let isKnown = false;
  for (let i = 0; i < pending.length; i += 2) {
    if (pending[i] !== identity) continue;
    if (pending[i + 1] === data) return false;
    isKnown = true;
  }
  return isKnown;
}

/** Whether the microseconds that a request brings have gone on as much as the packets' own since the request before: then they are the sender's clock, and no text. */
function isOnTime(
  { bytes, payloadOffset, payloadEnd, timeUs }: PacketView,
  { memory }: Flow,
  name: 'phase' | 'phaseBack',
): boolean {
  const said = microsecondsOf(bytes, payloadOffset, payloadEnd);
  if (said === -1) return false;
  const phase = (((timeUs - said) % 1e6) + 1e6) % 1e6;
  const before = memory[name] as number | undefined;
  memory[name] = phase;
  if (before === undefined) return true;
  const step = Math.abs(phase - before);
  return Math.min(step, 1e6 - step) < CLOCK_JITTER_US;
}
