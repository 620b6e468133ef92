/**
 * A message that is sent again and again as it is: as many bytes at the same place of a TCP stream. A system that hears no acknowledgement repeats a
 * segment too, but waits twice as long each time (RFC 6298), and gives up before it has sent twenty. Who plays back what he captured does not wait.
 */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector, Report } from '../detector.ts';
import type { Rules } from '../rule-file.ts';

/** Keep-alives repeat one byte at the most. */
const PAYLOAD_BYTES_MIN = 2;
/** Of copies that a system sends for want of an acknowledgement, so many cannot come so quickly: each time it waits twice as long. */
const COPY_US = 1_000_000;
/** Of each end: sequence number, copies, when the first of them came, length. */
const KEYS = ['replay-server', 'replay-client'] as const;

export function createReplayDetector(rules: Rules, report: Report): Detector {
  const rule = rules.replayed_segment;

  function found(flow: Flow, isFromClient: boolean, copies: number, sinceUs: number, timeUs: number): void {
    const { client, server, serverPort } = flow;
    const [from, to] = isFromClient ? [client, server] : [server, client];
    report(
      {
        rule: 'replayed-segment',
        title: 'One message is sent again and again',
        severity: rule.severity,
        score: 0.8,
        technique: isFromClient ? 'T0855' : 'T0856',
        timeUs,
        source: from,
        destination: to,
        port: serverPort,
        protocol: flow.service,
        evidence: `${from} sent ${to} the same segment ${copies} times in ${((timeUs - sinceUs) / 1e6).toFixed(1)} s, faster than TCP repeats what was lost`,
        group: `${flow.line} ${from}`,
        scope: { client, server, serverPort, fromUs: sinceUs, toUs: timeUs },
      },
      flow,
    );
  }

  return {
    state: {},

    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP || !PLANT_SERVICES.has(flow.service) || !rule.enabled) return; // prettier-ignore
      if (view.payloadWireBytes < PAYLOAD_BYTES_MIN) return;
      const key = KEYS[isFromClient ? 1 : 0];
      const known = flow.memory[key] as number[] | undefined;
      const length = view.payloadWireBytes;
      if (known === undefined) flow.memory[key] = [view.tcpSequence, 1, view.timeUs, length];
      else if (known[0] !== view.tcpSequence || known[3] !== length) {
        known[0] = view.tcpSequence;
        known[1] = 1;
        known[2] = view.timeUs;
        known[3] = length;
      } else {
        known[1] = (known[1] as number) + 1;
        const isQuick = view.timeUs - (known[2] as number) < known[1] * COPY_US;
        if (known[1] >= rule.copies && isQuick)
          found(flow, isFromClient, known[1], known[2] as number, view.timeUs);
      }
    },
  };
}
