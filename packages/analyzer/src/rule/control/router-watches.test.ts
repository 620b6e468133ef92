/** Gateways, routes, IPv6, leases and names: what is taken for an attack, and what is how these protocols are meant. */
import { describe, expect, it } from 'vitest';
import { ip, udp, type Packet } from '../../packet/frame-testing.ts';
import {
  advertise6,
  advertisement,
  hsrp,
  hsrp2,
  llmnrAnswer,
  mdnsAnswer,
  netbiosAnswer,
  offer,
  routerAdvertisement,
  sentBy,
  solicitation,
  vrrp,
} from './control-frames-testing.ts';
import { madeUp } from './control-scenarios-testing.ts';
import { SECOND, SWITCH, OTHER, STRANGER, each, told } from './control-testing.ts';

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
