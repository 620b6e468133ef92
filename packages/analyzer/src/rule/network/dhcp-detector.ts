/**
 * Who hands out addresses, and who takes them all: a second DHCP server beside the one that was known, and requests by so many made-up devices that the
 * server runs out (RFC 2131).
 */
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import { PROTO_UDP } from '../../packet/packet-view.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const SERVER_PORT = 67;
/** Operation and message type of a device that has no address yet. */
const REQUEST = 1;
const DISCOVER = 1;
const RELAY = 24;
const HARDWARE_ADDRESS = 28;
const OPTIONS = 240;
const OPTION_MESSAGE_TYPE = 53;
/** Messages by which a server gives an address away. */
const GIVING: ReadonlySet<string> = new Set(['offer', 'ack']);
/** A third of so many devices is enough where a third of these is of a maker of its own. */
const MADE_UP_SHARE = 3;
/** A server that was silent for so long is forgotten. */
const SERVER_US = 86_400_000_000;
const SERVERS = 'servers';

export function createDhcpDetector(rules: Rules, tell: Tell): Detector {
  const devices = new KeyedWindows(rules.dhcp_starvation.within * 1000);
  const makers = new KeyedWindows(rules.dhcp_starvation.within * 1000);
  const servers = new KeyedWindows(SERVER_US);
  return {
    state: { devices, makers, servers },

    packet(view, flow) {
      const { bytes, payloadOffset: at, payloadEnd: end, timeUs } = view;
      if (flow === null || view.protocol !== PROTO_UDP || view.destinationPort !== SERVER_PORT) return;
      if (!rules.dhcp_starvation.enabled || !isDiscover(bytes, at, end)) return;
      const mac = formatMac(bytes, at + HARDWARE_ADDRESS);
      const window = devices.add('', timeUs, mac);
      // Of addresses that a maker gave, its half: real devices of one hall are of few makers.
      const known = isMakers(bytes[at + HARDWARE_ADDRESS] as number)
        ? makers.add('', timeUs, mac.slice(0, 8))
        : makers.at('', timeUs);
      const isMadeUp =
        memberCount(window) >= rules.dhcp_starvation.devices / MADE_UP_SHARE &&
        memberCount(known) >= memberCount(window) / MADE_UP_SHARE;
      if (memberCount(window) < rules.dhcp_starvation.devices && !isMadeUp) return;
      tell(flow, {
        rule: 'dhcp-starvation',
        title: 'Addresses are taken by more devices than there can be',
        severity: rules.dhcp_starvation.severity,
        score: 0.85,
        technique: 'T0814',
        port: SERVER_PORT,
        protocol: 'dhcp',
        evidence: `${memberCount(window)} devices asked for an address in ${seconds(window, timeUs)}`,
        group: '',
        scope: { client: flow.client, server: flow.server, serverPort: SERVER_PORT },
        fromUs: window.startUs,
        timeUs,
      });
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'dhcp' || !GIVING.has(operation.name) || !rules.rogue_dhcp.enabled) return;
      const server = operation.isFromClient ? flow.client : flow.server;
      const window = servers.at(SERVERS, nowUs);
      const known = window.one;
      if (known === null) window.one = server;
      else if (known !== server) tellSecond(flow, server, String(known), nowUs);
    },
  };

  function tellSecond(flow: Flow, server: string, known: string, nowUs: number): void {
    tell(flow, {
      rule: 'rogue-dhcp',
      title: 'A second server hands out addresses',
      severity: rules.rogue_dhcp.severity,
      score: 0.6,
      technique: 'T0830',
      source: server,
      destination: '',
      protocol: 'dhcp',
      evidence: `${server} hands out addresses, as ${known} does; who takes one from the wrong server sends everything through it`,
      group: server,
      scope: { client: server, service: 'dhcp' },
      timeUs: nowUs,
    });
  }
}

/** Neither made up by the device itself nor of a group (IEEE 802, section 8.2). */
function isMakers(first: number): boolean {
  return (first & 3) === 0;
}

/** A device of this very segment looks for a server: what a relay brings comes from many segments. */
function isDiscover(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < OPTIONS + 3 || bytes[at] !== REQUEST) return false;
  for (let i = RELAY; i < RELAY + 4; i++) if (bytes[at + i] !== 0) return false;
  return bytes[at + OPTIONS] === OPTION_MESSAGE_TYPE && bytes[at + OPTIONS + 2] === DISCOVER;
}
