/**
 * A scan of which only the answers are seen: a host says by ICMP of one port after the other, or of one protocol after the other, that it has none (RFC 792,
 * type 3, codes 3 and 2), and quotes the packet that it refuses. Where the mirror shows these packets, who watches attempts has counted them already.
 *
 *   ICMP   0 type = 3   1 code   4 unused   8 IP header of what is refused: 9 protocol, 12 its source, 16 its destination; behind it 0 source port, 2 port
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP, type PacketView } from '../../packet/packet-view.ts';
import { be16 } from '../../protocol/byte-reader.ts';
import { protocolName } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Whose } from '../tell.ts';
import { isTraceroutePort, type AttemptWatch } from './attempt-watch.ts';
import type { Scanners } from './scanners.ts';

export const UNREACHABLE = 3;
const NO_PROTOCOL = 2;
const NO_PORT = 3;
const HEADER_BYTES = 20;

export interface RefusalWatch {
  /** An ICMP message "unreachable", of any code. */
  packet(view: PacketView, flow: Flow, isFromClient: boolean): void;
  readonly state: Record<string, unknown>;
}

/** `refusedProtocol`: an IP protocol that `server` says to `client` that it does not speak. */
export function createRefusalWatch(
  rules: Rules,
  scanners: Scanners,
  attempts: AttemptWatch,
  refusedProtocol: (client: string, server: string, protocol: number, flow: Flow, nowUs: number) => void,
): RefusalWatch {
  const { scan_vertical: rule } = rules;
  /** By who is refused, by whom, and transport; members: ports. */
  const refused = new KeyedWindows(rule.within * 1000);

  return {
    state: { refused },

    packet(view, flow, isFromClient) {
      const code = view.destinationPort;
      if (code !== NO_PROTOCOL && code !== NO_PORT) return;
      const quoted = quotedAt(view);
      if (quoted === -1) return;
      const { bytes, timeUs } = view;
      const protocol = bytes[quoted + 9] as number;
      // Who opens a flow of refusals refuses; the other may refuse as well.
      const client = isFromClient ? flow.server : flow.client;
      const server = isFromClient ? flow.client : flow.server;
      if (code === NO_PROTOCOL) {
        refusedProtocol(client, server, protocol, flow, timeUs);
        return;
      }
      if (!rule.enabled || (protocol !== PROTO_TCP && protocol !== PROTO_UDP)) return;
      const ports = quoted + 4 * ((bytes[quoted] as number) & 15);
      if (view.end - ports < 4) return;
      const port = be16(bytes, ports + 2);
      // A late answer of a service goes to a port above its own, which its client has left.
      if (be16(bytes, ports) < port || (protocol === PROTO_UDP && isTraceroutePort(port))) return;
      if (attempts.hasSeen(client, server, protocol, timeUs)) return;
      const name = protocolName(protocol);
      const window = refused.add(`${client} ${server} ${protocol}`, timeUs, port);
      if (memberCount(window) < rule.ports) return;
      scanners.tell(flow, window, {
        rule: 'scan-vertical',
        title: 'Port scan of one host',
        source: client,
        destination: server,
        port: -1,
        protocol: name,
        evidence: `${server} refused ${client} ${memberCount(window)} ${name} ports in ${seconds(window, timeUs)}; what was sent to them was not seen`,
        scope: scopeOfRefusals(client, server),
        timeUs,
      });
    },
  };
}

/** The messages in which one says it to the other. */
export function scopeOfRefusals(client: string, server: string): Whose {
  return { pair: [client, server], protocol: PROTO_ICMP, clientPort: UNREACHABLE };
}

/** Where the refused packet's IP header begins, or -1. Its addresses may be those behind a translation: who is told has sent it. */
function quotedAt({ bytes, inner, end }: PacketView): number {
  const quoted = inner.transportOffset + 8;
  if (inner.transportOffset === -1 || end - quoted < HEADER_BYTES) return -1;
  return (bytes[quoted] as number) >> 4 === 4 ? quoted : -1;
}
