/**
 * Forged answers of a name server: one question, two answers that name no address in common. The forger answers first and the server's own answer comes
 * after it. A question that was asked again may be answered twice, and differently; that is not counted.
 */
import { PROTO_UDP } from '../../packet/packet-view.ts';
import { be16 } from '../../protocol/byte-reader.ts';
import { answerAddresses } from '../../protocol/dns.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const DNS_PORT = 53;
const HEADER_BYTES = 12;
const RESPONSE = 0x8000;
/** A server that is slow is asked again. */
const WINDOW_US = 10_000_000;

export function createDnsSpoofingDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.dns_spoofing;
  /** `count`: questions. `one`: the addresses of the first answer. */
  const questions = new KeyedWindows(WINDOW_US);
  return {
    state: { questions },

    packet(view, flow) {
      if (!rule.enabled || flow === null || view.protocol !== PROTO_UDP || flow.serverPort !== DNS_PORT)
        return;
      const { bytes, payloadOffset: at, payloadEnd: end, timeUs } = view;
      if (end - at < HEADER_BYTES) return;
      const key = `${flow.client} ${flow.clientPort} ${flow.server} ${be16(bytes, at)}`;
      if ((be16(bytes, at + 2) & RESPONSE) === 0) {
        questions.add(key, timeUs);
        return;
      }
      const window = questions.peek(key, timeUs);
      if (window?.count !== 1) return;
      const addresses = answerAddresses(bytes, at, end);
      if (addresses.length === 0) return;
      const first = window.one;
      if (first === null) {
        window.one = addresses.join(' ');
        window.other = view.ttl;
        return;
      }
      if (addresses.some((address) => String(first).split(' ').includes(address))) return;
      tell(flow, {
        rule: 'dns-spoofing',
        title: 'Two answers to one question disagree',
        score: 0.85,
        technique: 'T0830',
        source: flow.server,
        destination: flow.client,
        port: DNS_PORT,
        protocol: 'dns',
        evidence: `${flow.client} asked ${flow.server} once, and was told ${String(first)} (time to live of the packet ${window.other}), then ${addresses.join(' ')} (${view.ttl})`,
        group: `${flow.client} ${flow.server}`,
        scope: { client: flow.client, server: flow.server, serverPort: DNS_PORT },
        fromUs: window.startUs,
        timeUs,
      });
    },
  };
}
