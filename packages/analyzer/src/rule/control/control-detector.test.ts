/** What holds a network together: what is taken for an attack, what is how these protocols are meant, and that no bytes and no made-up addresses do harm. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Severity } from '../../alert/finding.ts';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import { ethernet, ip, tcp, udp, type Packet } from '../../packet/frame-testing.ts';
import { readBpdu } from '../../protocol/bpdu.ts';
import { readLease, readLease6 } from '../../protocol/dhcp-lease.ts';
import { answeredHosts } from '../../protocol/dns.ts';
import { readHsrp, readVrrp } from '../../protocol/first-hop.ts';
import { cdpDevice, dtpStatus, lldpChassis } from '../../protocol/link-neighbour.ts';
import { readNeighbour, readRouterAdvertisement } from '../../protocol/neighbour-discovery.ts';
import {
  advertise6,
  advertisement,
  cdp,
  configuration,
  doubleTagged,
  dtp,
  hsrp,
  hsrp2,
  lldp,
  llmnrAnswer,
  mdnsAnswer,
  netbiosAnswer,
  offer,
  routerAdvertisement,
  sentBy,
  solicitation,
  topologyChange,
  vrrp,
} from './control-frames-testing.ts';
import { madeUp } from './control-scenarios-testing.ts';

const SECOND = 1_000_000;
const SWITCH = '02:00:00:00:00:10';
const OTHER = '02:00:00:00:00:11';
const STRANGER = '02:00:00:00:00:66';
/** Of a maker of network cards, and of one of switches. */
const CARD = '00:1b:21:00:00:66';
const CISCO = '00:00:0c:00:00:01';

function each(count: number, gapUs: number, frame: (i: number) => Buffer, fromUs = 0): Packet[] {
  return Array.from({ length: count }, (_, i) => ({ timeUs: fromUs + i * gapUs, frame: frame(i) }));
}

/** How loud the rule was at its loudest; null when it was silent. */
function told(rule: string, packets: readonly Packet[], rules: object = {}): Severity | null {
  const rig = new Rig({ rules }).add([...packets].sort((a, b) => a.timeUs - b.timeUs)).finish();
  const severities = [...rig.alerts.values()].filter((alert) => alert.rule === rule).map(({ severity }) => severity); // prettier-ignore
  return severities.includes('medium') ? 'medium' : (severities[0] ?? null);
}

describe('spanning tree', () => {
  const root = (i: number): Buffer => configuration({ sender: SWITCH, priority: 0x6000, root: SWITCH, ...(i % 2 === 0 ? {} : { sender: OTHER }) }); // prettier-ignore
  const claims = (priority: number, bridge: string, more: object = {}): Buffer => configuration({ sender: bridge, priority, root: bridge, ...more }); // prettier-ignore
  const quiet = each(20, SECOND, root);
  const later = 25 * SECOND;

  it('a newcomer that is better than the root is told, also Cisco’s way and in a VLAN', () => {
    expect(told('stp-root', [...quiet, { timeUs: later, frame: claims(0, STRANGER) }])).toBe('medium');
    const perVlan = each(20, SECOND, () => configuration({ sender: SWITCH, priority: 0x800a, root: SWITCH, vlan: 10, isPerVlan: true })); // prettier-ignore
    expect(told('stp-root', [...perVlan, { timeUs: later, frame: claims(10, STRANGER, { vlan: 10, isPerVlan: true }) }])).toBe('medium'); // prettier-ignore
  });

  it('a known bridge that takes over from one that failed is not, one with a new priority is low', () => {
    const failed = each(30, 2 * SECOND, () => claims(0x8000, OTHER), 20 * SECOND);
    expect(told('stp-root', [...quiet, ...failed])).toBeNull();
    // And the first one comes back.
    expect(told('stp-root', [...quiet, ...failed, { timeUs: 100 * SECOND, frame: root(0) }])).toBe('low');
    expect(told('stp-root', [...quiet, { timeUs: later, frame: claims(0x1000, OTHER) }])).toBe('low');
  });

  it('a worse bridge, one of another tree, and those of the first seconds are not', () => {
    expect(told('stp-root', [...quiet, { timeUs: later, frame: claims(0x8000, STRANGER) }])).toBeNull();
    expect(told('stp-root', [...quiet, { timeUs: later, frame: claims(0, STRANGER, { vlan: 7 }) }])).toBeNull(); // prettier-ignore
    expect(told('stp-root', [...quiet, { timeUs: 3 * SECOND, frame: claims(0, STRANGER) }])).toBeNull();
  });

  it('a port that goes up and down is no flood; changes and bridges without end are', () => {
    expect(
      told(
        'stp-flood',
        each(60, 2 * SECOND, () => topologyChange(SWITCH)),
      ),
    ).toBeNull();
    expect(
      told(
        'stp-flood',
        each(60, 10_000, () => topologyChange(madeUp(1))),
      ),
    ).toBe('medium');
    expect(
      told(
        'stp-flood',
        each(60, 10_000, (i) => claims(0x8000, madeUp(i))),
      ),
    ).toBe('medium');
    expect(
      told(
        'stp-flood',
        each(600, 10_000, (i) => claims(0x8000, madeUp(i % 30))),
      ),
    ).toBeNull();
  });
});

describe('MAC addresses', () => {
  const rules = { mac_flood: { addresses: 100 } };
  const from = (mac: string, i: number): Buffer => sentBy(mac, tcp(`10.0.0.1:${1000 + i}`, '10.0.0.2:80', 'S')); // prettier-ignore

  it('by the hundred are told, not those of one maker, not spoofed IP addresses behind one router, not those of a DHCP server’s clients', () => {
    expect(
      told(
        'mac-flood',
        each(150, 1000, (i) => from(madeUp(i), i)),
        rules,
      ),
    ).toBe('medium');
    const ofOneMaker = (i: number): string => `00:1b:21:00:00:${i.toString(16).padStart(2, '0')}`;
    expect(
      told(
        'mac-flood',
        each(150, 1000, (i) => from(ofOneMaker(i), i)),
        rules,
      ),
    ).toBeNull();
    expect(told('mac-flood', each(500, 1000, (i) => tcp(`10.1.${i >> 8}.${i & 255}:5000`, '10.0.0.2:80', 'S')), rules)).toBeNull(); // prettier-ignore
    expect(told('mac-flood', each(150, 1000, (i) => sentBy(madeUp(i), udp('0.0.0.0:68', '255.255.255.255:67', { payload: 240 }))), rules)).toBeNull(); // prettier-ignore
    expect(
      told(
        'mac-flood',
        each(150, SECOND, (i) => from(madeUp(i), i)),
        rules,
      ),
    ).toBeNull();
  });

  it('that come again are not new, in a frame of whatever kind', () => {
    expect(
      told(
        'mac-flood',
        each(900, 1000, (i) => from(madeUp(i % 90), i)),
        rules,
      ),
    ).toBeNull();
    expect(told('mac-flood', each(150, 1000, (i) => ethernet(0x88b5, Buffer.alloc(46), undefined, madeUp(i))), rules)).toBe('medium'); // prettier-ignore
  });
});

describe('VLANs', () => {
  const there = (i: number): Buffer => sentBy(STRANGER, tcp('10.0.0.66:5000', '10.0.1.2:502', 'S', { sequence: i })); // prettier-ignore
  const back = (): Buffer => sentBy(OTHER, tcp('10.0.1.2:502', '10.0.0.66:5000', 'SA'));

  it('are left by two tags that nobody answers, not where both sides have two, and not by a provider’s', () => {
    expect(
      told(
        'vlan-hopping',
        each(5, SECOND, (i) => doubleTagged(there(i), 1, 20)),
      ),
    ).toBe('low');
    expect(told('vlan-hopping', each(9, SECOND, (i) => doubleTagged(i % 2 === 0 ? there(i) : back(), 1, 20)))).toBeNull(); // prettier-ignore
    expect(
      told(
        'vlan-hopping',
        each(5, SECOND, (i) => doubleTagged(there(i), 1, 20, 0x88a8)),
      ),
    ).toBeNull();
    expect(
      told(
        'vlan-hopping',
        each(5, SECOND, (i) => doubleTagged(there(i), 20, 0)),
      ),
    ).toBeNull();
  });

  it('are all heard by who gets a trunk: a network card that asks for one is told, a switch is not', () => {
    expect(
      told(
        'vlan-hopping',
        each(1, 1, () => dtp(CARD, 3)),
      ),
    ).toBe('medium');
    expect(
      told(
        'vlan-hopping',
        each(1, 1, () => dtp(STRANGER, 3)),
      ),
    ).toBe('low');
    expect(
      told(
        'vlan-hopping',
        each(1, 1, () => dtp(CARD, 2)),
      ),
    ).toBeNull();
    expect(
      told(
        'vlan-hopping',
        each(1, 1, () => dtp(CISCO, 3)),
      ),
    ).toBeNull();
    const spoke = { timeUs: 0, frame: cdp(STRANGER, 'virtual-switch') };
    expect(told('vlan-hopping', [spoke, { timeUs: 1, frame: dtp(STRANGER, 3) }])).toBeNull();
  });

  it('neighbours by the hundred are told, those that speak again are not', () => {
    expect(
      told(
        'discovery-flood',
        each(250, 1000, (i) => lldp(madeUp(i))),
      ),
    ).toBe('medium');
    expect(
      told(
        'discovery-flood',
        each(250, 1000, (i) => cdp(SWITCH, `device-${i}`)),
      ),
    ).toBe('medium');
    expect(
      told(
        'discovery-flood',
        each(900, 1000, (i) => lldp(madeUp(i % 90))),
      ),
    ).toBeNull();
  });
});

describe('the gateway’s address', () => {
  const pair = each(20, SECOND, (i) => (i % 2 === 0 ? hsrp('10.0.0.3', 0, 16, 110) : hsrp('10.0.0.4', 0, 8, 100))); // prettier-ignore
  const at = 20 * SECOND + 1;

  it('that a newcomer takes is told, in both versions of HSRP', () => {
    expect(told('gateway-takeover', [...pair, { timeUs: at, frame: hsrp('10.0.0.66', 1, 16, 255) }])).toBe('medium'); // prettier-ignore
    for (const shared of ['10.0.0.254', 'fe80::254']) {
      const second = each(20, SECOND, () => hsrp2('10.0.0.3', 0, 6, 110, shared));
      expect(told('gateway-takeover', [...second, { timeUs: at, frame: hsrp2('10.0.0.66', 0, 6, 200, shared) }])).toBe('medium'); // prettier-ignore
    }
  });

  it('that the other of a pair takes, by priority, silence or resignation, is not', () => {
    expect(told('gateway-takeover', [...pair, { timeUs: at, frame: hsrp('10.0.0.4', 1, 16, 120) }])).toBeNull(); // prettier-ignore
    expect(told('gateway-takeover', [...pair, { timeUs: at + 15 * SECOND, frame: hsrp('10.0.0.5', 0, 16, 120) }])).toBeNull(); // prettier-ignore
    const resigned = { timeUs: at, frame: hsrp('10.0.0.3', 2, 16, 110) };
    expect(told('gateway-takeover', [...pair, resigned, { timeUs: at + 1, frame: hsrp('10.0.0.5', 0, 16, 120) }])).toBeNull(); // prettier-ignore
    expect(
      told('gateway-takeover', [...pair, { timeUs: at, frame: hsrp('10.0.0.5', 0, 16, 90) }]),
    ).toBeNull();
  });

  it('VRRP: the highest priority is told, a better router that comes back is low, and one whose master has lowered its own is not', () => {
    for (const [router, newcomer, shared] of [['10.0.0.3', '10.0.0.66', '10.0.0.254'], ['fe80::3', 'fe80::66', 'fe80::254']] as const) {
      const master = each(10, SECOND, () => vrrp(router, 110, shared));
      const after = (...frames: Buffer[]): Packet[] => [...master, ...each(frames.length, 1000, (i) => frames[i] as Buffer, 10 * SECOND)];
      expect(told('gateway-takeover', after(vrrp(newcomer, 255, shared)))).toBe('medium');
      expect(told('gateway-takeover', after(vrrp(newcomer, 150, shared)))).toBe('low');
      expect(told('gateway-takeover', after(vrrp(router, 80, shared), vrrp(newcomer, 100, shared)))).toBeNull();
      expect(told('gateway-takeover', after(vrrp(router, 0, shared), vrrp(newcomer, 255, shared)))).toBeNull();
    }
  }); // prettier-ignore

  it('a new speaker of routes is low, and those of the beginning are not', () => {
    const ospf = (from: string): Buffer => ip(from, '224.0.0.5', 89, Buffer.from([2, 1, 0, 44]));
    const rip = (from: string): Buffer => udp(`${from}:520`, '224.0.0.9:520', { payload: Buffer.from([2, 2, 0, 0]) }); // prettier-ignore
    for (const speaks of [ospf, rip]) {
      const plant = each(60, 20 * SECOND, (i) => speaks(`10.0.0.${1 + (i % 3)}`));
      expect(told('routing-newcomer', plant)).toBeNull();
      expect(told('routing-newcomer', [...plant, { timeUs: 1200 * SECOND, frame: speaks('10.0.0.66') }])).toBe('low'); // prettier-ignore
    }
  });
});

describe('IPv6', () => {
  const ROUTER = 'fe80::1';
  const own = (): Buffer => routerAdvertisement({ sender: SWITCH, source: ROUTER, prefixes: ['2001:db8::'] });
  const quiet = each(5, 20 * SECOND, own);
  const after = 100 * SECOND;
  const stranger = (more: object): Packet => ({ timeUs: after, frame: routerAdvertisement({ sender: STRANGER, source: 'fe80::66', ...more }) }); // prettier-ignore

  it('a router to be preferred is told, a second one is low, one that offers no way is nothing', () => {
    expect(told('rogue-router', quiet)).toBeNull();
    expect(told('rogue-router', [...quiet, stranger({ preference: 1 })])).toBe('medium');
    expect(told('rogue-router', [...quiet, stranger({})])).toBe('low');
    expect(told('rogue-router', [...quiet, stranger({ lifetime: 0 })])).toBeNull();
  });

  it('a router that says itself that it is none any more may, nobody else', () => {
    expect(told('rogue-router', [...quiet, stranger({ sender: SWITCH, source: ROUTER, lifetime: 0 })])).toBeNull(); // prettier-ignore
    expect(told('rogue-router', [...quiet, stranger({ source: ROUTER, lifetime: 0 })])).toBe('medium');
    expect(told('rogue-router', [...quiet, stranger({ source: ROUTER })])).toBeNull();
    expect(told('rogue-router', [...quiet, ...each(6, SECOND, (i) => (i % 2 === 0 ? own() : stranger({ source: ROUTER }).frame as Buffer), after)])).toBe('medium'); // prettier-ignore
  });

  it('routers and prefixes without end are told', () => {
    expect(told('rogue-router', each(12, 1000, (i) => routerAdvertisement({ sender: madeUp(i), source: `fe80::${i + 2}` })))).toBe('medium'); // prettier-ignore
    expect(told('rogue-router', each(24, 1000, (i) => routerAdvertisement({ sender: STRANGER, source: 'fe80::66', prefixes: [`2001:db8:${i}::`] })))).toBe('medium'); // prettier-ignore
  });

  it('an address that moves and back is told; one that moves once, is shared, or was sent by a router far away is not', () => {
    const says = (mac: (i: number) => string, flags = 0x20, ttl = 255): Packet[] =>
      each(6, SECOND, (i) => advertisement(mac(i), 'fe80::a', flags, 'fe80::b', ttl));
    const turns = (i: number): string => (i % 2 === 0 ? OTHER : STRANGER);
    expect(told('ndp-spoofing', says(turns))).toBe('medium');
    expect(
      told(
        'ndp-spoofing',
        says((i) => (i < 3 ? OTHER : STRANGER)),
      ),
    ).toBeNull();
    expect(told('ndp-spoofing', says(turns, 0))).toBeNull();
    expect(told('ndp-spoofing', says(turns, 0x20, 64))).toBeNull();
  });

  it('answers without questions, again and again, are told; those that were asked for are not', () => {
    const says = (): Buffer => advertisement(STRANGER, 'fe80::1', 0x60, 'fe80::b');
    expect(told('ndp-spoofing', each(30, SECOND, says))).toBe('medium');
    expect(told('ndp-spoofing', each(10, SECOND, says))).toBeNull();
    expect(told('ndp-spoofing', [...each(30, SECOND, says), ...each(30, SECOND, () => solicitation(OTHER, 'fe80::b', 'fe80::1'))])).toBeNull(); // prettier-ignore
  });

  it('a host that has every new address is told, one that has one is not', () => {
    const tries = (count: number): Packet[] =>
      Array.from({ length: count }, (_, i) => [
        { timeUs: i * SECOND, frame: solicitation(OTHER, '::', `fe80::${i + 1}`) },
        { timeUs: i * SECOND + 1000, frame: advertisement(STRANGER, `fe80::${i + 1}`) },
      ]).flat();
    expect(told('ndp-spoofing', tries(3))).toBe('medium');
    expect(told('ndp-spoofing', tries(2))).toBeNull();
    // Its own voice, as a mirror of two ports repeats it, is nobody else's.
    expect(told('ndp-spoofing', tries(9).map(({ timeUs, frame }) => ({ timeUs, frame: sentBy(OTHER, Buffer.from(frame)) })))).toBeNull(); // prettier-ignore
  });

  it('neighbour discovery by the thousand is told, and what a network says in a minute is not', () => {
    expect(told('ndp-flood', each(1200, 1000, (i) => solicitation(madeUp(i), 'fe80::9', `fe80::${i.toString(16)}`)))).toBe('medium'); // prettier-ignore
    expect(
      told(
        'ndp-flood',
        each(1200, 50_000, () => solicitation(OTHER, 'fe80::9', 'fe80::1')),
      ),
    ).toBeNull();
  });

  it('a DHCPv6 server that gives link-local addresses, or is the name server and no router, is told; a second one is low', () => {
    const server = (address: string, given: string, names: string, id = 'a'): Packet => ({ timeUs: 1000, frame: advertise6(address, id, given, names) }); // prettier-ignore
    expect(told('rogue-dhcp', [server('fe80::66', 'fe80::7', 'fe80::66')])).toBe('medium');
    // Where no router was heard it may be one.
    expect(told('rogue-dhcp', [server('fe80::66', '2001:db8::7', 'fe80::66')])).toBe('low');
    expect(
      told('rogue-dhcp', [{ timeUs: 0, frame: own() }, server('fe80::66', '2001:db8::7', 'fe80::66')]),
    ).toBe('medium');
    expect(told('rogue-dhcp', [server('fe80::66', '2001:db8::7', '2001:db8::53')])).toBeNull();
    const announced = { timeUs: 0, frame: own() };
    expect(told('rogue-dhcp', [announced, server(ROUTER, '2001:db8::7', ROUTER)])).toBeNull();
    const two = [server('fe80::5', '2001:db8::7', '2001:db8::53'), server('fe80::6', '2001:db8::8', '2001:db8::53', 'b')]; // prettier-ignore
    expect(told('rogue-dhcp', two)).toBe('low');
    expect(told('rogue-dhcp', [two[0] as Packet, server('fe80::5', '2001:db8::9', '2001:db8::53')])).toBeNull(); // prettier-ignore
  });
});

describe('two DHCP servers', () => {
  const given = (server: string, router: string, network = '10.0.0', timeUs = 0): Packet => ({ timeUs, frame: offer({ server, given: `${network}.99`, router }) }); // prettier-ignore

  it('that name different routers for one network are told; a failover pair is low, as before', () => {
    expect(told('rogue-dhcp', [given('10.0.0.2', '10.0.0.1'), given('10.0.0.66', '10.0.0.66')])).toBe(
      'medium',
    );
    expect(told('rogue-dhcp', [given('10.0.0.2', '10.0.0.1'), given('10.0.0.3', '10.0.0.1')])).toBe('low');
    expect(told('rogue-dhcp', [given('10.0.0.2', '10.0.0.1'), given('10.0.5.2', '10.0.5.1', '10.0.5')])).toBe('low'); // prettier-ignore
    expect(told('rogue-dhcp', [given('10.0.0.2', '10.0.0.1'), given('10.0.0.2', '10.0.0.254')])).toBeNull();
  });
});

describe('names', () => {
  const NAMES = ['filesrv', 'printer', 'intranet', 'historian', 'scada', 'mail', 'proxy', 'backup', 'build'];
  const name = (i: number): string => NAMES[i % NAMES.length] as string;

  it('of many hosts that one host answers for are told, in each protocol', () => {
    expect(told('name-poisoning', each(4, SECOND, (i) => llmnrAnswer('10.0.0.66', '10.0.0.2', name(i))))).toBe('medium'); // prettier-ignore
    expect(told('name-poisoning', each(4, SECOND, (i) => llmnrAnswer('fe80::66', 'fe80::2', name(i))))).toBe('medium'); // prettier-ignore
    expect(told('name-poisoning', each(4, SECOND, (i) => netbiosAnswer('10.0.0.66', '10.0.0.2', name(i))))).toBe('medium'); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => mdnsAnswer('10.0.0.66', [`${name(i)}.local`])))).toBe('medium'); // prettier-ignore
    expect(told('name-poisoning', [{ timeUs: 0, frame: llmnrAnswer('10.0.0.66', '10.0.0.2', 'wpad') }])).toBe('medium'); // prettier-ignore
  });

  it('of one’s own, in all protocols and again and again, are not; neither are those of groups and users', () => {
    const windows = each(60, SECOND, (i) => [llmnrAnswer('10.0.0.9', '10.0.0.2', 'hmi7'), netbiosAnswer('10.0.0.9', '10.0.0.2', 'hmi7', i % 2 === 0 ? 0 : 0x20), mdnsAnswer('10.0.0.9', ['hmi7.local'])][i % 3] as Buffer); // prettier-ignore
    expect(told('name-poisoning', windows)).toBeNull();
    expect(told('name-poisoning', each(9, SECOND, (i) => netbiosAnswer('10.0.0.9', '10.0.0.2', name(i), 0, true)))).toBeNull(); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => netbiosAnswer('10.0.0.9', '10.0.0.2', name(i), 3)))).toBeNull(); // prettier-ignore
  });

  it('of services, of other hosts with their own addresses, and those that hide an address are not', () => {
    expect(told('name-poisoning', each(9, SECOND, (i) => mdnsAnswer('10.0.0.9', [`_${name(i)}._tcp.local`], 12)))).toBeNull(); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => netbiosAnswer(`10.0.0.${10 + i}`, '10.0.0.2', name(i))))).toBeNull(); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => mdnsAnswer('10.0.0.9', [`${name(i)}.local`], 1, `10.0.0.${20 + i}`)))).toBeNull(); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => mdnsAnswer('10.0.0.9', [`0a1b2c3d-0000-4000-8000-00000000000${i}.local`])))).toBeNull(); // prettier-ignore
    expect(told('name-poisoning', each(9, SECOND, (i) => mdnsAnswer('10.0.0.9', [`camera-${i + 2}.local`])))).toBeNull(); // prettier-ignore
  });
});

describe('whatever comes', () => {
  const frames = [
    configuration({ sender: SWITCH, priority: 1, root: SWITCH }),
    configuration({ sender: SWITCH, priority: 1, root: SWITCH, vlan: 3, isPerVlan: true }),
    topologyChange(SWITCH),
    cdp(SWITCH, 'a'),
    lldp(SWITCH),
    dtp(CARD, 3),
    doubleTagged(tcp('10.0.0.66:5000', '10.0.1.2:502', 'S'), 1, 20),
    hsrp('10.0.0.3', 0, 16, 110),
    hsrp2('10.0.0.3', 0, 6, 110),
    vrrp('10.0.0.3', 110),
    vrrp('fe80::3', 110, 'fe80::254'),
    routerAdvertisement({ sender: SWITCH, source: 'fe80::1', prefixes: ['2001:db8::'] }),
    solicitation(OTHER, '::', 'fe80::9'),
    advertisement(OTHER, 'fe80::9'),
    advertise6('fe80::66', 'a', 'fe80::7', 'fe80::66'),
    offer({ server: '10.0.0.2', given: '10.0.0.99', router: '10.0.0.1' }),
    llmnrAnswer('10.0.0.66', '10.0.0.2', 'wpad'),
    mdnsAnswer('10.0.0.66', ['a.local', 'b.local']),
    netbiosAnswer('10.0.0.66', '10.0.0.2', 'wpad'),
  ];

  it('frames that are changed and cut anywhere never throw', () => {
    const change = fc.record({ at: fc.nat(200), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.nat(frames.length - 1), fc.array(change, { maxLength: 8 }), fc.nat(300), (which, changes, cut) => {
        const frame = Buffer.from(frames[which] as Buffer);
        for (const { at, value } of changes) if (at < frame.byteLength) frame[at] = value;
        new Rig().add([{ timeUs: 0, frame: frame.subarray(0, Math.max(1, cut % (frame.byteLength + 1))), wireBytes: frame.byteLength }]).finish();
      }),
      { numRuns: 600 },
    ); // prettier-ignore
  });

  it('readers read nothing behind the end of what they are given', () => {
    const readers = [readBpdu, readHsrp, readRouterAdvertisement, readNeighbour, readLease, readLease6, cdpDevice, dtpStatus, lldpChassis, (b: Uint8Array, at: number, end: number) => readVrrp(b, at, end, 4), (b: Uint8Array, at: number, end: number) => readVrrp(b, at, end, 16), (b: Uint8Array, at: number, end: number) => answeredHosts(b, at, end, true), (b: Uint8Array, at: number, end: number) => answeredHosts(b, at, end, false)]; // prettier-ignore
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.constantFrom(...frames).map((frame) => new Uint8Array(frame.subarray(14))),
      fc.constantFrom(...frames).map((frame) => new Uint8Array(frame.subarray(42))),
      fc.constantFrom(...frames).map((frame) => new Uint8Array(frame.subarray(62))),
      fc.constantFrom(...frames).map((frame) => new Uint8Array(frame.subarray(54))),
    );
    fc.assert(
      fc.property(bytes, fc.nat(300), fc.uint8Array({ maxLength: 64 }), (whole, cut, behind) => {
        const end = cut % (whole.byteLength + 1);
        const alone = whole.slice(0, end);
        const followed = new Uint8Array([...alone, ...behind]);
        for (const read of readers) expect(read(followed, 0, end)).toEqual(read(alone, 0, end));
      }),
      { numRuns: 500 },
    );
  });

  it('what is made up by the thousand is remembered up to a limit', () => {
    const rig = new Rig();
    const hex = (n: number): string => n.toString(16);
    const made = [
      (n: number) => configuration({ sender: madeUp(n), priority: n, root: madeUp(n + 1), vlan: n & 0xfff }),
      (n: number) => routerAdvertisement({ sender: madeUp(n), source: `fe80::${hex(n)}` }),
      (n: number) => vrrp('10.0.0.3', 110, `10.7.${n >> 8}.${n & 255}`),
      (n: number) => ip(`10.3.${n >> 8}.${n & 255}`, '224.0.0.5', 89, Buffer.from([2, 1, 0, 44])),
      (n: number) => offer({ server: '10.0.0.2', given: `10.${n >> 8}.${n & 255}.9`, router: '10.0.0.1' }),
      (n: number) => cdp(madeUp(n), 'virtual-switch'),
    ];
    const COUNT = 9000;
    for (let from = 0; from < COUNT; from += 1000)
      rig.add(made.flatMap((make, kind) => each(1000, 1000, (i) => make(from + i), from * 1000 + kind)).sort((a, b) => a.timeUs - b.timeUs)); // prettier-ignore
    const { detectors } = rig.engine.snapshot() as { detectors: Record<string, unknown>[] };
    const watched = detectors.find((one) => 'tree.trees' in one) ?? {};
    const sizes = Object.fromEntries(Object.entries(watched).map(([name, value]) => [name, value instanceof Map ? value.size : (value as { windows: Map<unknown, unknown> }).windows.size])); // prettier-ignore
    const limits = { 'tree.trees': 1024, 'routers.routers': 1024, 'gateways.groups': 4096, 'routing.speakers': 4097, 'leases.networks': 4096, 'tags.ports': 8192 }; // prettier-ignore
    for (const [name, limit] of Object.entries(limits)) {
      expect(sizes[name], name).toBeGreaterThan(limit / 2);
      expect(sizes[name], name).toBeLessThanOrEqual(limit);
    }
    for (const [name, size] of Object.entries(sizes)) expect(size, name).toBeLessThanOrEqual(65_536);
  });
});

describeWithCorpus('on real captures', () => {
  const CONTROL = /^(stp-|mac-flood|vlan-hopping|discovery-flood|gateway-takeover|routing-newcomer|rogue-router|ndp-|name-poisoning)/; // prettier-ignore

  it('a router that comes and takes the address at once is told', async () => {
    const { alerts } = await analyzeCapture('linktypes/nsh-vntag-other/HSRP_coup.pcap');
    expect(alerts.filter(({ rule }) => CONTROL.test(rule))).toEqual([
      expect.objectContaining({ rule: 'gateway-takeover', severity: 'medium', source: '192.168.0.10', destination: '192.168.0.1' }),
    ]); // prettier-ignore
  });

  it.each([
    'linktypes/nsh-vntag-other/HSRP_election.pcap',
    'linktypes/nsh-vntag-other/HSRP_failover.pcap',
    'linktypes/erspan/erspan-type-ii-2.pcap',
    'linktypes/llc-snap-stp/DTP.pcap',
    'linktypes/llc-snap-stp/STP-TCN-TCAck.pcapng',
    'linktypes/gre/various_gre.pcap',
    'linktypes/gre/ospf_over_gre_tunnel.pcap',
    'linktypes/mpls/EoMPLS.pcap',
    'linktypes/pppoe/PPPoE_Dual-Stack_IPv4_IPv6-with_DHCPv6.pcap',
    'ot/bacnet/MSTP_Intra-Region_BPDUs.pcap',
    'ot/other-ot/bsap-serial_example.pcapng',
    'ot/profinet/profinet_io_cm_mixed_1.pcap',
    'bench/benign-it/1kxun.pcap',
    'bench/benign-it/capture2.pcap.gz',
    'bench/benign-iot/D-LinkHomeHub_Setup-C-3-STA.pcap',
  ])('nothing is told of %s', async (name) => {
    const { alerts } = await analyzeCapture(name);
    expect(alerts.filter(({ rule }) => CONTROL.test(rule)).map(({ rule }) => rule)).toEqual([]);
  });
});
