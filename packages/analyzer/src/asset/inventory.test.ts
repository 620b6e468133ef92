/** Who is there and who does what with whom: what is learnt of packets, and that it is bounded whatever they claim. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import type { Flow } from '../flow/flow.ts';
import { arp, tcp, udp, type Packet } from '../packet/frame-testing.ts';
import type { PacketView } from '../packet/packet-view.ts';
import type { Operation } from '../protocol/dissector.ts';
import { connection, knock, modbus } from '../rule/traffic-testing.ts';
import { Inventory, operationKey, serviceName } from './inventory.ts';

const SECOND = 1_000_000;
const HMI = '10.0.0.1';
const PLC = '10.0.0.2';

function inventoryOf(packets: readonly Packet[]): Inventory {
  return new Rig().add(packets).finish().engine.inventory;
}

function read(timeUs: number, value: number, register = 10): Packet[] {
  const port = 2000 + Math.round(timeUs / 1000);
  return connection(
    `${HMI}:${port}`,
    `${PLC}:502`,
    [
      ['>', modbus(1, 3, 0, register, 0, 1)],
      ['<', modbus(1, 3, 2, value >> 8, value & 255)],
    ],
    timeUs,
  );
}

/** As much of a flow as the inventory looks at. */
function flowOf(client: string, server: string, serverPort = 502, protocol = 6): Flow {
  const line = `${client} ${server} ${protocol} ${serverPort}`;
  return { client, server, serverPort, line, protocol, service: '', wasReversed: false, etherType: -1 } as unknown as Flow; // prettier-ignore
}

const view = { timeUs: 1, frame: { linkSourceOffset: -1 }, tunnelDepth: 0 } as unknown as PacketView;

function operationOf(object: string, fields: Partial<Operation> = {}): Operation {
  return { protocol: 'modbus', name: 'read', action: 'read', object, unit: 1, value: NaN, exception: '', isResponse: false, ...fields } as unknown as Operation; // prettier-ignore
}

describe('of a conversation', () => {
  it('both hosts are known with their services, the pair with its operations, the values with their range', () => {
    const { state } = inventoryOf([...read(0, 700), ...read(SECOND, 300), ...read(3 * SECOND, 500)]);
    const [hmi, plc] = [state.hosts.get(HMI), state.hosts.get(PLC)];
    expect(hmi).toMatchObject({ uses: { modbus: 3 }, offers: {}, asked: { read: 3 }, answered: {} });
    expect(plc).toMatchObject({ uses: {}, offers: { modbus: 3 }, asked: {}, answered: { read: 3 } });
    const [pair] = state.pairs.values();
    expect(pair).toMatchObject({ client: HMI, server: PLC, service: 'modbus', port: 502, flows: 3, answered: 3 }); // prettier-ignore
    const [stat, ...others] = pair?.operations.values() ?? [];
    expect(others).toEqual([]);
    expect(stat).toMatchObject({ action: 'read', unit: 1, count: 3, refused: 0, min: 300, max: 700, gaps: 2, gapSum: 3 * SECOND, gapSquares: 5 * SECOND ** 2 }); // prettier-ignore
  });

  it('silence is what lies between two packets that a host sent, not that were sent to it', () => {
    const { hosts } = inventoryOf([...read(0, 1), knock(`${HMI}:9000`, `${PLC}:80`, 10 * SECOND), ...read(60 * SECOND, 1)]).state; // prettier-ignore
    expect(Math.round((hosts.get(HMI)?.silenceUsMax ?? 0) / SECOND)).toBe(50);
    expect(Math.round((hosts.get(PLC)?.silenceUsMax ?? 0) / SECOND)).toBe(60);
  });

  it('a refusal offers nothing', () => {
    const packets = [knock(`${HMI}:9000`, `${PLC}:80`, 0), { timeUs: 100, frame: tcp(`${PLC}:80`, `${HMI}:9000`, 'RA') }]; // prettier-ignore
    const { hosts, pairs } = inventoryOf(packets).state;
    expect(hosts.get(PLC)).toMatchObject({ offers: {}, packets: 1 });
    expect([...pairs.values()]).toMatchObject([{ answered: 0, flows: 1, service: 'tcp/80' }]);
  });

  it('MAC addresses are those of the wire, four at the most', () => {
    const macs = ['0a', '0b', '0c', '0d', '0e', '0f'].map((end) => `02:00:00:00:00:${end}`);
    const packets = macs.map((mac, i) => {
      const frame = udp('10.0.0.7:5000', `10.0.0.8:${7000 + i}`, { payload: 4 });
      frame.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 6);
      return { timeUs: i * SECOND, frame };
    });
    expect(inventoryOf(packets).state.hosts.get('10.0.0.7')?.macs).toEqual(macs.slice(0, 4));
  });

  it('groups are no hosts, and what stands straight on Ethernet is a pair of MAC addresses', () => {
    const { hosts, pairs } = inventoryOf([
      { timeUs: 0, frame: udp(`${HMI}:5353`, '224.0.0.251:5353', { payload: 4 }) },
      { timeUs: 1, frame: arp(1, '02:00:00:00:00:0a', HMI, '00:00:00:00:00:00', PLC) },
    ]).state;
    expect([...hosts.keys()].filter((address) => /^224|^ff/.test(address))).toEqual([]);
    expect([...pairs.values()].map(({ server }) => server)).toContain('224.0.0.251');
  });
});

describe('the names of things', () => {
  it('a service is its dissector, or transport and port, or an EtherType', () => {
    const of = (fields: object): string => serviceName({ ...flowOf('a', 'b', 8443), ...fields });
    expect(of({ service: 'modbus' })).toBe('modbus');
    expect(of({})).toBe('tcp/8443');
    expect(of({ protocol: 17 })).toBe('udp/8443');
    expect(of({ protocol: 1 })).toBe('icmp');
    expect(of({ protocol: 89, serverPort: -1 })).toBe('ip-89');
    expect(of({ protocol: -1, etherType: 0x88b8 })).toBe('0x88b8');
  });

  it('two transports to one port are two pairs', () => {
    const inventory = inventoryOf([
      ...connection(`${HMI}:2000`, `${PLC}:20000`, [], 0),
      { timeUs: SECOND, frame: udp(`${HMI}:2000`, `${PLC}:20000`, { payload: Buffer.alloc(1) }) },
    ]);
    expect([...inventory.state.pairs.values()].map(({ service }) => service)).toEqual([
      'tcp/20000',
      'udp/20000',
    ]);
  });

  it('an operation on a connection is the same whatever number the connection has this time', () => {
    const key = (object: string): string => operationKey({ unit: 0, name: 'io-data', object });
    expect(key('connection:0xaaee1c2d')).toBe(key('connection:0x7b48281a'));
    expect(key('holding:1')).not.toBe(key('holding:2'));
  });
});

describe('bounds', () => {
  it('so many hosts and no more: the others are counted, and nothing breaks for them', () => {
    const inventory = new Inventory();
    for (let i = 0; i < 20_000; i++) {
      const flow = flowOf(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, PLC);
      inventory.start(flow, view);
      inventory.heard(flow.client, 5);
      inventory.answered(flow, view);
      inventory.fact(flow, 'hostname', 'x');
      inventory.operation(flow, operationOf('holding:1'), 5);
    }
    expect(inventory.state.hosts.size).toBe(16_384);
    expect(inventory.full.hosts).toBe(20_000 - 16_384);
  });

  it('so many pairs and no more', () => {
    const inventory = new Inventory();
    for (let port = 0; port < 66_000; port++) inventory.start(flowOf(HMI, PLC, port), view);
    expect(inventory.state.pairs.size).toBe(65_536);
    expect(inventory.full.pairs).toBe(66_000 - 65_536);
    expect(inventory.start(flowOf(HMI, PLC, 66_001), view)).toEqual({ pair: null, isNew: false });
    expect(inventory.operation(flowOf(HMI, PLC, 66_001), operationOf('holding:1'), 5)).toBeNull();
    // What is known goes on being counted.
    expect(inventory.start(flowOf(HMI, PLC, 7), view).pair?.flows).toBe(2);
  });

  it('so many operations of a pair and no more', () => {
    const inventory = new Inventory();
    const flow = flowOf(HMI, PLC);
    inventory.start(flow, view);
    for (let i = 0; i < 300; i++) inventory.operation(flow, operationOf(`holding:${i}`), i);
    const [pair] = inventory.state.pairs.values();
    expect(pair?.operations.size).toBe(256);
    expect(inventory.full.operations).toBe(44);
    expect(inventory.operation(flow, operationOf('holding:5'), 400)?.stat.count).toBe(2);
  });

  it('time that runs backwards makes no negative gap', () => {
    const inventory = new Inventory();
    const flow = flowOf(HMI, PLC);
    inventory.start(flow, view);
    for (const at of [1000, 500, 2000]) inventory.operation(flow, operationOf('holding:1'), at);
    const stat = [...(inventory.state.pairs.values().next().value?.operations.values() ?? [])][0];
    expect(stat).toMatchObject({ gaps: 2, gapSum: 1500 });
    inventory.heard(HMI, 3000);
    inventory.heard(HMI, 100);
    expect(inventory.state.hosts.get(HMI)).toMatchObject({ lastUs: 3000, packets: 2 });
  });
});
