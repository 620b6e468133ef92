/**
 * What a flow's first packet makes of it: who opened it, its names, and the rest still empty. The client is who sent that packet, unless it is the
 * answer to one that was not seen: by its flags or type, by its ports, and where these say nothing, by what is said in it.
 */
import { hash } from 'node:crypto';
import { formatAddress, formatMac } from '@tapline/shared/packet/ip-address.ts';
import { PROTO_TCP, TCP_ACK, TCP_SYN, type PacketView } from '../packet/packet-view.ts';
import { isRpcCall } from '../protocol/rpc.ts';
import { ANSWERS, speakerOf } from '../protocol/speaker.ts';
import { isIcmp, requestType } from './flow-key.ts';
import type { Flow } from './flow.ts';

/** Linux's cooked captures know who sent a frame and not to whom. */
const NO_MAC = '00:00:00:00:00:00';

/** Ports beyond the well-known ones that are servers' on plants' networks. */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  1089, 1090, 1091, 1433, 1521, 1720, 1723, 1883, 1911, 2049, 2222, 2404, 3128, 3268, 3269, 3306, 3389, 4840, 4841, 5060, 5061,
  5222, 5432, 5450, 5671, 5672, 5900, 5985, 5986, 6379, 6443, 8000, 8080, 8086, 8443, 8883, 8888, 9092, 9100, 9200, 9600, 11211,
  18245, 20000, 27017, 34962, 34963, 34964, 34980, 44818, 47808, 48898,
]); // prettier-ignore

/** A flow of that key, which has no row yet. `cut`: the part before, of a conversation that goes on; who opened that is known. */
export function openFlow(
  key: string,
  view: PacketView,
  isSourceFirst: boolean,
  cut: Flow | undefined,
  nowUs: number,
): Flow {
  const wasReversed = cut === undefined ? isAnswer(view) && !isToGroup(view) : isSourceFirst !== cut.isClientFirst; // prettier-ignore
  // ICMP has a type and a code for ports: of a reply, the type it would have been asked with.
  const isSwapped = wasReversed && !isIcmp(view);
  const source = addressOf(view, true);
  const destination = addressOf(view, false);
  const uid = hash('sha1', Buffer.from(`${key}${view.timeUs.toFixed(3)}`, 'latin1'), 'base64url');
  const client = wasReversed ? destination : source;
  const server = wasReversed ? source : destination;
  const serverPort = isSwapped ? view.sourcePort : view.destinationPort;
  const doorway = view.isIp
    ? `${server} ${view.protocol} ${serverPort}`
    : `${server} ethernet ${view.frame.etherType}`;
  return {
    key,
    uid: `C${uid.replaceAll(/[-_]/g, 'x').slice(0, 17)}`,
    row: -1,
    startUs: view.timeUs,
    lastUs: view.timeUs,
    placedUs: nowUs,
    protocol: view.isIp ? view.protocol : -1,
    etherType: view.isIp ? -1 : view.frame.etherType,
    vlan: view.frame.vlanId,
    tunnelDepth: view.tunnelDepth,
    client,
    server,
    line: `${client} ${doorway}`,
    doorway,
    clientPort: isSwapped ? view.destinationPort : requestType(view),
    serverPort,
    isClientFirst: isSourceFirst !== wasReversed,
    clientState: 0,
    serverState: 0,
    history: wasReversed ? '^' : '',
    wasReversed,
    service: '',
    // Its client asked already, in the part before.
    memory: cut !== undefined && (!cut.wasReversed || cut.memory['asked'] === true) ? { asked: true } : {},
    facts: {},
    actions: {},
    exceptions: 0,
    violations: 0,
    slices: [],
    fragments: 0,
    ending: '',
    alerts: [],
    scores: {},
  };
}

/** Whether a first packet is the answer to one that was not seen: then its sender is the server. */
function isAnswer(view: PacketView): boolean {
  if (view.protocol === PROTO_TCP) {
    if ((view.tcpFlags & TCP_SYN) !== 0) return (view.tcpFlags & TCP_ACK) !== 0;
  } else if (isIcmp(view)) return requestType(view) !== view.sourcePort;
  else if (view.protocol !== 17) return false;
  if (view.sourcePort === -1) return false;
  // In the middle of a conversation the registered port is the server's; where both are or none is, what is said tells.
  const isService = isServicePort(view.sourcePort);
  if (isService !== isServicePort(view.destinationPort))
    return isService && !isRpcCall(view.bytes, view.payloadOffset, view.payloadEnd, view.protocol === PROTO_TCP); // prettier-ignore
  return view.payloadEnd > view.payloadOffset && speakerOf(view.bytes, view.payloadOffset, view.payloadEnd) === ANSWERS; // prettier-ignore
}

/** A group asks for nothing: what is sent to it is never an answer. */
function isToGroup(view: PacketView): boolean {
  if (!view.isIp) return false;
  const first = view.bytes[view.inner.destinationOffset] as number;
  return view.inner.addressBytes === 16 ? first === 0xff : (first >= 224 && first < 240) || first === 255;
}

function isServicePort(port: number): boolean {
  return (port >= 0 && port < 1024) || SERVICE_PORTS.has(port);
}

function addressOf(view: PacketView, isSource: boolean): string {
  const { bytes, frame, inner } = view;
  if (view.isIp)
    return formatAddress(
      bytes,
      isSource ? inner.sourceOffset : inner.destinationOffset,
      inner.addressBytes as 4 | 16,
    );
  const at = isSource ? frame.linkSourceOffset : frame.linkDestinationOffset;
  return at === -1 ? NO_MAC : formatMac(bytes, at);
}
