/**
 * Resets that somebody else sends: TCP connections of the plant that are torn down from outside. Seen in what no end does: it resets a connection and then goes on with it; or it resets it again and again,
 * more often than the other end speaks. One such connection may be a fault of its stack; several at one service are an attack. Where the reset came from another MAC address than what followed, one is enough.
 */
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import { SENT_RST, type Flow } from '../../flow/flow.ts';
import { PROTO_TCP, TCP_RST, TCP_SYN, type PacketView } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** What was sent before and captured behind the reset comes so late at the most. */
const LATE_US = 20_000;
/** Where it is kept in the flow's memory: [resets, when, sequence, what the other end has sent since], of each end; and the MAC address. */
const KEYS = ['reset-server', 'reset-client'] as const;
const MACS = ['reset-mac-server', 'reset-mac-client'] as const;
/** 1: an end went on; 2: from another MAC address. */
const CONTRADICTED = 'reset-contradicted';

export function createResetDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.tcp_reset;
  const conversations = new KeyedWindows(rule.within * 1000);

  function reset(flow: Flow, view: PacketView, side: 0 | 1): void {
    const { memory } = flow;
    const known = memory[KEYS[side]] as number[] | undefined;
    if (known === undefined) {
      memory[KEYS[side]] = [1, view.timeUs, view.tcpSequence, 0];
      memory[MACS[side]] = sourceMac(view);
      return;
    }
    known[0] = (known[0] as number) + 1;
    if (known[0] - (known[3] as number) >= rule.resets) memory[CONTRADICTED] ??= 1;
  }

  function wentOn(flow: Flow, view: PacketView, side: 0 | 1): void {
    const { memory } = flow;
    const [, resetUs = Infinity, sequence = 0] = (memory[KEYS[side]] ?? []) as number[];
    if (view.timeUs - resetUs < LATE_US || ((view.tcpSequence - sequence) | 0) < 0) return;
    memory[CONTRADICTED] = Math.max(
      (memory[CONTRADICTED] as number | undefined) ?? 0,
      memory[MACS[side]] === sourceMac(view) ? 1 : 2,
    );
  }

  return {
    state: { conversations },

    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP) return;
      const { clientState, serverState } = flow;
      if (((clientState | serverState) & SENT_RST) === 0 || !rule.enabled) return;
      const side = isFromClient ? 1 : 0;
      if ((view.tcpFlags & TCP_RST) !== 0) reset(flow, view, side);
      else if ((view.tcpFlags & TCP_SYN) === 0) {
        if (((isFromClient ? clientState : serverState) & SENT_RST) !== 0) wentOn(flow, view, side);
        const other = flow.memory[KEYS[isFromClient ? 0 : 1]] as number[] | undefined;
        if (other !== undefined) other[3] = (other[3] as number) + 1;
      }
    },

    flowEnded(flow, _values, nowUs) {
      const contradicted = flow.memory[CONTRADICTED];
      if (contradicted === undefined || !rule.enabled || !PLANT_SERVICES.has(flow.service)) return;
      const { server, serverPort, service } = flow;
      const window = conversations.add(`${server} ${serverPort}`, flow.startUs, flow.client);
      const isForeign = contradicted === 2;
      if (window.count < rule.conversations && !isForeign) return;
      tell(flow, {
        rule: 'tcp-reset',
        title: 'Connections to a controller are torn down from outside',
        score: 0.85,
        technique: 'T0814',
        source: '',
        protocol: service,
        evidence: `${window.count} connections to ${server} port ${serverPort} in ${seconds(window, flow.startUs)} were reset${isForeign ? ' from another MAC address' : ''}, and went on or were reset again and again`,
        group: `${server} ${serverPort}`,
        scope: { server, serverPort, protocol: PROTO_TCP },
        fromUs: window.startUs,
        toUs: Math.max(nowUs, flow.lastUs),
        timeUs: nowUs,
      });
    },
  };
}

function sourceMac(view: PacketView): string {
  const at = view.frame.linkSourceOffset;
  return at === -1 || view.tunnelDepth > 0 ? '' : formatMac(view.bytes, at);
}
