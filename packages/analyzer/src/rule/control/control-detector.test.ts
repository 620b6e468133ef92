/** What holds a network together: no bytes and no made-up addresses do harm, and what is made of real captures. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import { ip, tcp } from '../../packet/frame-testing.ts';
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
  solicitation,
  topologyChange,
  vrrp,
} from './control-frames-testing.ts';
import { madeUp } from './control-scenarios-testing.ts';
import { SWITCH, OTHER, CARD, each } from './control-testing.ts';

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
