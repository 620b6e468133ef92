/** For tests: one scenario for each rule of the control detector. */
import { LINKTYPE_RADIOTAP } from '@tapline/shared/packet/link-type.ts';
import { ip, tcp, type Packet } from '../../packet/frame-testing.ts';
import {
  advertisement,
  cdp,
  configuration,
  deauthentication,
  doubleTagged,
  llmnrAnswer,
  routerAdvertisement,
  sentBy,
  solicitation,
  topologyChange,
  vrrp,
} from './control-frames-testing.ts';
import type { Scenario } from '../scenario-testing.ts';

const SECOND = 1_000_000;
const SWITCH = '02:00:00:00:00:10';
const STRANGER = '02:00:00:00:00:66';
const HOST = '02:00:00:00:00:0a';
const ROUTER = 'fe80::1';
const HOSTS_ADDRESS = 'fe80::a';

/** MAC addresses of all makers. */
export function madeUp(i: number): string {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt32BE(Math.imul(i + 1, 0x9e37_79b1) >>> 0, 0);
  bytes.writeUInt16BE(i & 0xffff, 4);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 2;
  return (bytes.toString('hex').match(/../g) ?? []).join(':');
}

const one = (timeUs: number, frame: Buffer): Packet[] => [{ timeUs, frame }];

export const CONTROL_SCENARIOS: readonly Scenario[] = [
  {
    // The root speaks each two seconds, then somebody is better.
    rule: 'stp-root',
    rules: {},
    threshold: 10,
    event: (i) =>
      one(
        2 * SECOND * i,
        i < 9
          ? configuration({ sender: SWITCH, priority: 0x8000, root: SWITCH })
          : configuration({ sender: STRANGER, priority: 0, root: STRANGER }),
      ),
    source: STRANGER,
    destination: SWITCH,
    technique: 'T0830',
  },
  {
    rule: 'stp-flood',
    rules: { stp_flood: { changes: 8 } },
    threshold: 8,
    event: (i) => one(i * 10_000, topologyChange(STRANGER)),
    source: STRANGER,
    destination: '',
    technique: 'T0814',
  },
  {
    rule: 'mac-flood',
    rules: { mac_flood: { addresses: 12 } },
    threshold: 12,
    event: (i) => one(i * 1000, sentBy(madeUp(i), tcp(`10.9.${i >> 4}.${i & 15}:5000`, '10.0.0.2:80', 'S'))),
    source: '',
    destination: '',
    technique: 'T0842',
  },
  {
    rule: 'vlan-hopping',
    rules: { vlan_hopping: { frames: 4 } },
    threshold: 4,
    event: (i) => one(i * SECOND, doubleTagged(sentBy(STRANGER, tcp('10.0.0.66:5000', '10.0.1.2:502', 'S')), 1, 20)), // prettier-ignore
    source: STRANGER,
    destination: '10.0.1.2',
    technique: 'T0866',
  },
  {
    rule: 'discovery-flood',
    rules: { discovery_flood: { neighbours: 9 } },
    threshold: 9,
    event: (i) => one(i * 1000, cdp(madeUp(i), `switch-${i}`)),
    source: '',
    destination: '',
    technique: 'T0814',
  },
  {
    rule: 'wifi-deauth',
    rules: { wifi_deauth: { frames: 6 } },
    threshold: 6,
    linkType: LINKTYPE_RADIOTAP,
    event: (i) => one(i * 100_000, deauthentication(SWITCH, HOST)),
    source: SWITCH,
    destination: HOST,
    technique: 'T0814',
  },
  {
    // The master speaks each second, then a newcomer does with the highest priority.
    rule: 'gateway-takeover',
    rules: {},
    threshold: 8,
    event: (i) => one(i * SECOND, i < 7 ? vrrp('10.0.0.3', 110) : vrrp('10.0.0.66', 255)),
    source: '10.0.0.66',
    destination: '10.0.0.254',
    technique: 'T0830',
  },
  {
    rule: 'routing-newcomer',
    rules: {},
    threshold: 5,
    event: (i) => one(i * 180 * SECOND, ip(i < 4 ? '10.0.0.3' : '10.0.0.66', '224.0.0.5', 89, Buffer.from([2, 1, 0, 44]))), // prettier-ignore
    source: '10.0.0.66',
    destination: '',
    technique: 'T0830',
  },
  {
    rule: 'rogue-router',
    rules: {},
    threshold: 5,
    event: (i) =>
      one(
        i * 20 * SECOND,
        i < 4
          ? routerAdvertisement({ sender: SWITCH, source: ROUTER })
          : routerAdvertisement({ sender: STRANGER, source: 'fe80::66', preference: 1 }),
      ),
    source: 'fe80::66',
    destination: ROUTER,
    technique: 'T0830',
  },
  {
    // The owner says so, the stranger says so, and again.
    rule: 'ndp-spoofing',
    rules: { ndp_spoofing: { changes: 3 } },
    threshold: 4,
    event: (i) => one(i * SECOND, advertisement(i % 2 === 0 ? HOST : STRANGER, HOSTS_ADDRESS)),
    source: STRANGER,
    destination: HOSTS_ADDRESS,
    technique: 'T0830',
  },
  {
    rule: 'ndp-flood',
    rules: { ndp_flood: { messages: 10 } },
    threshold: 10,
    event: (i) => one(i * 1000, solicitation(STRANGER, 'fe80::66', `fe80::1:${i.toString(16)}`)),
    source: STRANGER,
    destination: '',
    technique: 'T0814',
  },
  {
    rule: 'name-poisoning',
    rules: { name_poisoning: { names: 3 } },
    threshold: 3,
    event: (i) => one(i * SECOND, llmnrAnswer('10.0.0.66', '10.0.0.2', `filesrv${'abcdef'[i] ?? ''}`)),
    source: '10.0.0.66',
    destination: '10.0.0.2',
    technique: 'T0830',
  },
];
