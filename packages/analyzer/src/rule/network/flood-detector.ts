/**
 * Floods: more than a service can mean. One detector, so that a packet that begins nothing costs one look at its protocol; each watch is given what it is
 * about and nothing else.
 *
 *   TCP   SYN ─▶ half-open-watch              connections that are opened and never finished; strangers that knock
 *         SYN ACK ─▶ connection-flood-watch   one client opens more than it can use
 *         SYN ACK that nobody asked for ─▶ half-open-watch, reflection-watch
 *   UDP   ─▶ reflection-watch                 answers that nobody asked for
 *         ─▶ datagram-flood-watch             packets that nobody answers
 *   ICMP  ─▶ datagram-flood-watch
 */
import { isGroupAddress } from '../../asset/networks.ts';
import { SENT_ACK, SENT_SYN_ACK, type Flow } from '../../flow/flow.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_FIN, TCP_SYN } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';
import { createConnectionFloodWatch } from './connection-flood-watch.ts';
import { createDatagramFloodWatch } from './datagram-flood-watch.ts';
import { createFloodTell } from './flood-tell.ts';
import { createHalfOpenWatch } from './half-open-watch.ts';
import { createReflectionWatch } from './reflection-watch.ts';

/** When the connection was accepted first. */
const ACCEPTED = 'accepted';

export function createFloodDetector(rules: Rules, tell: Tell): Detector {
  const tellFlood = createFloodTell(rules, tell);
  const halfOpen = createHalfOpenWatch(rules, tellFlood);
  const connections = createConnectionFloodWatch(rules, tellFlood);
  const reflections = createReflectionWatch(rules, tellFlood);
  const datagrams = createDatagramFloodWatch(rules, tellFlood);

  return {
    state: { ...halfOpen.state, ...connections.state, ...reflections.state, ...datagrams.state },

    flowAnswered(flow, nowUs) {
      if (flow.protocol === PROTO_TCP) halfOpen.answered(flow, nowUs);
    },

    packet(view, flow, isFromClient) {
      if (flow === null) return;
      switch (flow.protocol) {
        case PROTO_TCP:
          if ((view.tcpFlags & TCP_SYN) !== 0) onHandshake(flow, view.tcpFlags, isFromClient, view.timeUs);
          else if (!isFromClient && isHangingUp(flow, view.tcpFlags)) halfOpen.finished(flow, view.timeUs);
          return;
        case PROTO_UDP:
          if (isGroupAddress(flow.server)) reflections.announced(flow, view.timeUs);
          else {
            reflections.datagram(flow, isFromClient, view.timeUs);
            datagrams.udp(flow, isFromClient, view.timeUs);
          }
          return;
        case PROTO_ICMP:
          if (isFromClient) datagrams.icmp(flow, view.sourcePort, view.timeUs);
      }
    },
  };

  function onHandshake(flow: Flow, flags: number, isFromClient: boolean, nowUs: number): void {
    if ((flags & TCP_ACK) === 0) {
      // A repeated SYN is the same connection.
      if (isFromClient && flow.startUs === nowUs && !isGroupAddress(flow.server))
        halfOpen.opened(flow, nowUs);
    } else if (isFromClient) return;
    else if (!flow.wasReversed) {
      const acceptedUs = (flow.memory[ACCEPTED] ??= nowUs);
      if (acceptedUs === nowUs && !isGroupAddress(flow.server)) connections.accepted(flow, nowUs);
    } else {
      if (flow.startUs === nowUs) halfOpen.acceptedUnasked(flow, nowUs);
      reflections.answered(flow, nowUs);
    }
  }
}

/** Closed in order by the server, and not torn down: somebody was there, and has acknowledged what it said at the beginning. */
function isHangingUp(flow: Flow, flags: number): boolean {
  return (
    (flags & TCP_FIN) !== 0 && (flow.serverState & SENT_SYN_ACK) !== 0 && (flow.clientState & SENT_ACK) !== 0
  );
}
