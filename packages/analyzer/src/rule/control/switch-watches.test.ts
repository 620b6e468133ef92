/** Trees, MAC addresses, VLANs and neighbours of switches: what is taken for an attack, and what is how these protocols are meant. */
import { describe, expect, it } from 'vitest';
import { ethernet, tcp, udp } from '../../packet/frame-testing.ts';
import {
  cdp,
  configuration,
  doubleTagged,
  dtp,
  lldp,
  sentBy,
  topologyChange,
} from './control-frames-testing.ts';
import { madeUp } from './control-scenarios-testing.ts';
import { SECOND, SWITCH, OTHER, STRANGER, CARD, CISCO, each, told } from './control-testing.ts';

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
