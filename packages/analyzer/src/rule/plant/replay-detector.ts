/**
 * A message that is sent again and again as it is: as many bytes at the same place of a TCP stream. A system that hears no acknowledgement repeats a
 * segment too, but waits twice as long each time (RFC 6298), and gives up before it has sent twenty. Who plays back what he captured does not wait.
 */
import { PLANT_SERVICES } from '../../asset/inventory.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Keep-alives repeat one byte at the most. */
const PAYLOAD_BYTES_MIN = 2;
/** Of copies that a system sends for want of an acknowledgement, so many cannot come so quickly: each time it waits twice as long. */
const COPY_US = 1_000_000;
/** Of each end: sequence number, copies, when the first of them came, length. */
const KEYS = ['replay-server', 'replay-client'] as const;

export function createReplayDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.replayed_segment;

  return {
    state: {},

    packet(view, flow, isFromClient) {
      if (flow === null || flow.protocol !== PROTO_TCP || !PLANT_SERVICES.has(flow.service) || !rule.enabled)
        return;
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
        const { timeUs } = view;
        const copies = (known[1] = (known[1] as number) + 1);
        const sinceUs = known[2] as number;
        if (copies < rule.copies || timeUs - sinceUs >= copies * COPY_US) return;
        const { client, server, serverPort } = flow;
        const [source, destination] = isFromClient ? [client, server] : [server, client];
        tell(flow, {
          rule: 'replayed-segment',
          title: 'One message is sent again and again',
          score: 0.8,
          technique: isFromClient ? 'T0855' : 'T0856',
          source,
          destination,
          evidence: `${source} sent ${destination} the same segment ${copies} times in ${((timeUs - sinceUs) / 1e6).toFixed(1)} s, faster than TCP repeats what was lost`,
          group: `${flow.line} ${source}`,
          scope: { client, server, serverPort },
          fromUs: sinceUs,
          timeUs,
        });
      }
    },
  };
}
