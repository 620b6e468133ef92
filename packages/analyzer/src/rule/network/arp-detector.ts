/**
 * ARP spoofing: an address that moves between two MAC addresses and back, one MAC address that answers for many, among them another's, or one that tells
 * each of two hosts that it is the other. A device that was replaced changes once and stays; one with two cards on one wire answers twice at once.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { seconds, addMember, hasMember, KeyedWindows, membersOf } from '../keyed-window.ts';
import { readArp } from '../../protocol/arp.ts';
import { FRAME_ARP } from '@tapline/shared/packet/frame-cursor.ts';
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import type { PacketView } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell, Told } from '../tell.ts';

const ADDRESSES_MAX = 16_384;
/** Without a request: a few are how an address is announced, many for another's address are how a cache is kept poisoned. */
const UNASKED_REPLIES_MIN = 10;
/** So many are an attack on the switch, whoever's the address is. */
const UNASKED_FLOOD_MIN = 200;
const CLAIMS_MAX = 8;
/** Twice to each of the two. */
const BOTH_REPLIES_MIN = 4;
/** Who answers one question twice has two cards on this wire. */
const TWICE_US = 1_000_000;
const POISONED_US = 60_000_000;
const UNSPECIFIED = '0.0.0.0';

/** By a MAC address (the source), of an address (the destination). */
interface Spoofed extends Pick<Told, 'severity' | 'evidence' | 'timeUs'> {
  readonly source: string;
  readonly destination: string;
}

export function createArpDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.arp_spoofing;
  /** Address → the MAC address that it was said to be at last, and whose frame said so. */
  const owners = new Map<string, { mac: string; voice: string }>();
  /** MAC address → addresses that it said it has. */
  const claims = new Map<string, string[]>();
  const changes = new KeyedWindows(rule.within * 1000);
  const unasked = new KeyedWindows(rule.within * 1000);
  const asked = new KeyedWindows(10_000_000);
  /** By MAC address: whom it told, unasked, who it is. */
  const lies = new KeyedWindows(rule.within * 1000);

  return {
    state: { owners, claims, changes, unasked, asked, told: lies },

    packet(view) {
      if (view.frame.kind !== FRAME_ARP || !rule.enabled) return;
      const message = readArp(view);
      if (message === null || message.sender === UNSPECIFIED) return;
      const nowUs = view.timeUs;
      const { sender, senderMac } = message;
      if (message.operation === 1 && sender !== message.target) asked.add(`${message.target}`, nowUs);
      if (message.operation === 2) {
        const wasAsked = asked.peek(sender, nowUs) !== undefined;
        if (!wasAsked) {
          const window = unasked.add(`${senderMac} ${sender}`, nowUs, message.targetMac);
          const toldBy = lies.add(senderMac, nowUs, `${sender} ${message.target}`);
          // An announcement of one's own address has that on both sides.
          if (
            sender !== message.target &&
            hasMember(toldBy, `${message.target} ${sender}`) &&
            toldBy.count >= BOTH_REPLIES_MIN
          )
            told({
              source: senderMac,
              destination: sender,
              evidence: `${senderMac} tells ${message.target} that it is ${sender}, and ${sender} that it is ${message.target}, and nobody asked`,
              timeUs: nowUs,
            });
          const hasOthers = (claims.get(senderMac) ?? []).some((address) => address !== sender);
          if ((hasOthers && window.count >= UNASKED_REPLIES_MIN) || window.count >= UNASKED_FLOOD_MIN)
            told({
              severity: window.count >= UNASKED_FLOOD_MIN ? rule.severity : 'medium',
              source: senderMac,
              destination: sender,
              evidence: `${senderMac} says ${window.count} times in ${seconds(window, nowUs)} that it is ${sender}, and nobody asked`,
              timeUs: nowUs,
            });
        }
      }
      const owner = owners.get(sender);
      if (owner === undefined && owners.size >= ADDRESSES_MAX) dropOldest(owners);
      const voice = voiceOf(view, senderMac);
      owners.set(sender, { mac: senderMac, voice });
      const claimed = claims.get(senderMac) ?? [];
      if (claims.size < ADDRESSES_MAX) claims.set(senderMac, claimed);
      if (!claimed.includes(sender) && claimed.length < CLAIMS_MAX) claimed.push(sender);
      // One machine that says both bridges for a guest of its own.
      if (owner === undefined || owner.mac === senderMac || owner.voice === voice) return;
      const window = changes.add(sender, nowUs, senderMac);
      addMember(window, owner.mac);
      if (window.count >= rule.changes)
        told({
          severity: nowUs - window.startUs < TWICE_US ? 'low' : rule.severity,
          source: senderMac,
          destination: sender,
          evidence: `${sender} moved ${window.count} times between ${membersOf(window).join(' and ')} in ${seconds(window, nowUs)}`,
          timeUs: nowUs,
        });
    },
  };

  function told(what: Spoofed): void {
    tell(null, {
      ...what,
      rule: 'arp-spoofing',
      title: 'ARP spoofing',
      score: 0.95,
      technique: 'T0830',
      protocol: 'arp',
      group: what.destination,
      // What is sent to the address for a while goes where the last reply said.
      scope: { host: what.destination },
      toUs: what.timeUs + POISONED_US,
    });
  }
}

/** Whose frame it is; where the capture does not say, who it says it is from. */
function voiceOf(view: PacketView, senderMac: string): string {
  const at = view.frame.linkSourceOffset;
  return at === -1 ? senderMac : formatMac(view.bytes, at);
}
