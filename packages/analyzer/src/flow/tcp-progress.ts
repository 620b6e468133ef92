/**
 * How far a TCP connection has come, from the flags of its packets: the bits of both directions, and Zeek's history, where a letter is told when a
 * packet of its direction brings something for the first time.
 */
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type PacketView } from '../packet/packet-view.ts';
import {
  HISTORY_MAX,
  SENT_ACK,
  SENT_DATA,
  SENT_FIN,
  SENT_RST,
  SENT_SYN,
  SENT_SYN_ACK,
  type Flow,
} from './flow.ts';

/** Notes what the packet says of its connection; whether it closed it, by the second FIN or a reset: then the flow is `closed`. */
export function followTcp(flow: Flow, view: PacketView, isFromClient: boolean): boolean {
  const { tcpFlags: flags } = view;
  let bits = 0;
  let letter = '';
  if ((flags & TCP_SYN) !== 0) {
    bits |= (flags & TCP_ACK) !== 0 ? SENT_SYN_ACK : SENT_SYN;
    letter += (flags & TCP_ACK) !== 0 ? 'h' : 's';
  } else if ((flags & TCP_ACK) !== 0 && view.payloadWireBytes === 0 && (flags & (TCP_FIN | TCP_RST)) === 0) {
    bits |= SENT_ACK;
    letter += 'a';
  }
  if (view.payloadWireBytes > 0) {
    bits |= SENT_DATA;
    letter += 'd';
  }
  if ((flags & TCP_FIN) !== 0) {
    bits |= SENT_FIN;
    letter += 'f';
  }
  if ((flags & TCP_RST) !== 0) {
    bits |= SENT_RST;
    letter += 'r';
  }
  const before = isFromClient ? flow.clientState : flow.serverState;
  if ((before & bits) !== bits && flow.history.length < HISTORY_MAX)
    flow.history += isFromClient ? letter.toUpperCase() : letter;
  if (isFromClient) flow.clientState |= bits;
  else flow.serverState |= bits;
  const bothFin = (flow.clientState & flow.serverState & SENT_FIN) !== 0;
  const anyReset = ((flow.clientState | flow.serverState) & SENT_RST) !== 0;
  if ((!bothFin && !anyReset) || flow.ending !== '') return false;
  flow.ending = 'closed';
  return true;
}
