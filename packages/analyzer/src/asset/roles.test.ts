/** What a host is taken for, by what it was seen doing. On a whole plant: `tests/end-to-end/learn.test.ts`. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OT_SERVICES, type Host } from './inventory.ts';
import { INTERNAL_NETWORKS_DEFAULT, NetworkList, isGroupAddress, isNetwork } from './networks.ts';
import { guessRole } from './roles.ts';

const internal = new NetworkList(INTERNAL_NETWORKS_DEFAULT);

function role(fields: Partial<Host>): string {
  const host = { address: '10.0.0.1', macs: [], firstUs: 0, lastUs: 0, silenceUsMax: 0, packets: 1, names: {}, offers: {}, uses: {}, asked: {}, answered: {}, ...fields }; // prettier-ignore
  const guess = guessRole(host, internal);
  return `${guess.role} ${guess.level}`;
}

describe('a host', () => {
  it('that answers in a protocol of plants is a controller', () => {
    for (const service of OT_SERVICES) expect(role({ offers: { [service]: 1 } }), service).toBe('plc 1');
    expect(role({ answered: { read: 5 } })).toBe('plc 1');
    // It reports to its own I/O many times a second, and asked only to begin with.
    expect(role({ offers: { enip: 1 }, answered: { read: 9 }, asked: { report: 5000, read: 3 } })).toBe(
      'plc 1',
    );
  });

  it('that sends what nobody asked for is a device, unless it listens to one', () => {
    expect(role({ asked: { report: 100 } })).toBe('plc 1');
    expect(role({ asked: { report: 100 }, uses: { iec104: 1 } })).toBe('hmi 2');
    // A controller asks its own devices too.
    expect(role({ offers: { modbus: 9 }, answered: { read: 9 }, asked: { read: 5 } })).toBe('plc 1');
  });

  it('that asks is an operator’s station', () => {
    expect(role({ asked: { read: 100, write: 2 }, uses: { modbus: 1 } })).toBe('hmi 2');
    // It serves a little, and asks far more.
    expect(role({ offers: { opcua: 1 }, answered: { read: 1 }, asked: { write: 50 } })).toBe('historian 3');
  });

  it('that touches programs is an engineering station, whatever else it does', () => {
    expect(role({ asked: { program: 1, read: 1000 } })).toBe('engineering 2');
    expect(role({ asked: { program: 1 }, offers: { modbus: 3 }, answered: { read: 100 } })).toBe(
      'engineering 2',
    );
  });

  it('that reads a lot, from many, and never writes, or keeps a database, is a historian', () => {
    const uses = { modbus: 1, s7comm: 1, opcua: 1, dnp3: 1 };
    expect(role({ asked: { read: 1001 }, uses })).toBe('historian 3');
    expect(role({ asked: { read: 1001, write: 1 }, uses })).toBe('hmi 2');
    expect(role({ asked: { read: 10 }, offers: { 'tcp/5432': 1 } })).toBe('historian 3');
    expect(role({ asked: { read: 10 }, offers: { postgresql: 1 } })).toBe('historian 3');
  });

  it('that has nothing to do with the process is a server or a client', () => {
    expect(role({ offers: { smb: 1 } })).toBe('server 3');
    expect(role({ uses: { smb: 1 } })).toBe('client 4');
    expect(role({})).toBe('client 4');
  });

  it('that has no address yet is not outside', () => {
    for (const address of ['0.0.0.0', '::']) expect(role({ address }), address).toBe('client 4');
  });

  it('that is not of these networks is outside, whatever it offers', () => {
    for (const address of ['8.8.8.8', '2001:db8::1', '172.32.0.1'])
      expect(role({ address, offers: { modbus: 1 } }), address).toBe('external 5');
    for (const address of [
      '10.9.9.9',
      '172.31.0.1',
      '192.168.1.1',
      'fe80::1',
      'fd00::1',
      '02:00:00:00:00:01',
    ])
      expect(role({ address }), address).toBe('client 4');
  });
});

it('groups are told from hosts', () => {
  for (const group of [
    '224.0.0.1',
    '239.255.255.250',
    '10.0.0.255',
    '255.255.255.255',
    'ff02::1',
    'ff:ff:ff:ff:ff:ff',
    '01:0c:cd:01:00:01',
  ])
    // prettier-ignore
    expect(isGroupAddress(group), group).toBe(true);
  for (const one of [
    '10.0.0.1',
    '240.0.0.1',
    '223.1.1.1',
    'fe80::1',
    '02:00:00:00:00:01',
    '2001:db8:1:2:3:4:5:6',
  ])
    expect(isGroupAddress(one), one).toBe(false);
});

describe('a list of networks', () => {
  it('takes addresses and networks, and nothing that only looks like them', () => {
    for (const good of ['10.0.0.0/8', '10.1.2.3', '0.0.0.0/0', 'fd00::/7', '::1', '10.0.0.1/32', '::/0'])
      expect(isNetwork(good), good).toBe(true);
    for (const bad of [
      '',
      '10.0.0.0/33',
      '999.0.0.0/8',
      '10.0.0',
      '::/129',
      '10.0.0.0/8/8',
      '10.0.0.0/',
      '/8',
      'fe80::1%eth0',
      '10.0.0.0/-1',
      'plant',
    ])
      // prettier-ignore
      expect(isNetwork(bad), bad).toBe(false);
  });

  it('is made of whatever passes', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f.:]{1,12}(\/\d{1,3})?$/), fc.ipV4(), fc.ipV4().map((address) => `${address}/24`), fc.ipV6()); // prettier-ignore
    fc.assert(
      fc.property(text, fc.ipV4(), (network, address) => {
        if (isNetwork(network)) expect(typeof new NetworkList([network]).has(address)).toBe('boolean');
      }),
    );
  });
});
