/** Which flow a packet belongs to, who opened it, how it ended, and that every packet is accounted for: flows built packet by packet. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig, type RigOptions } from '../engine-testing.ts';
import {
  arp,
  ethernet,
  icmp,
  ip,
  tcp,
  udp,
  type FrameOptions,
  type Packet,
} from '../packet/frame-testing.ts';
import type { FlowRecord } from './flow-record.ts';

const A = '10.0.0.1:40000';
const B = '10.0.0.2:502';
const SECOND = 1_000_000;

type Step = readonly ['>' | '<', string, FrameOptions?];

/** Packets between A and B, a millisecond apart: `>` from A. */
function talk(steps: readonly Step[], fromUs = 0): Packet[] {
  return steps.map(([way, flags, options], i) => ({
    timeUs: fromUs + i * 1000,
    frame: way === '>' ? tcp(A, B, flags, options) : tcp(B, A, flags, options),
  }));
}

function flowsOf(packets: readonly Packet[], options: RigOptions = {}): FlowRecord[] {
  return new Rig(options).add(packets).finish().flows;
}

const HANDSHAKE: readonly Step[] = [
  ['>', 'S', { sequence: 100 }],
  ['<', 'SA', { sequence: 500 }],
  ['>', 'A', { sequence: 101 }],
];
const DATA: Step = ['>', 'PA', { sequence: 101, payload: 10 }];
const REPLY: Step = ['<', 'PA', { sequence: 501, payload: 20 }];

describe('a connection is told in the words of Zeek:', () => {
  const cases: readonly (readonly [string, readonly Step[], string])[] = [
    ['S0', [['>', 'S']], 'S'],
    ['S1', [...HANDSHAKE, DATA, REPLY], 'ShADd'],
    ['SF', [...HANDSHAKE, DATA, REPLY, ['>', 'FA'], ['<', 'FA'], ['>', 'A']], 'ShADdFf'],
    ['REJ', [['>', 'S'], ['<', 'RA']], 'Sr'],
    ['S2', [...HANDSHAKE, ['>', 'FA']], 'ShAF'],
    ['S3', [...HANDSHAKE, ['<', 'FA']], 'ShAf'],
    ['RSTO', [...HANDSHAKE, ['>', 'R']], 'ShAR'],
    ['RSTR', [...HANDSHAKE, DATA, ['<', 'R']], 'ShADr'],
    ['RSTOS0', [['>', 'S'], ['>', 'R']], 'SR'],
    ['RSTRH', [['<', 'SA'], ['<', 'R']], '^hr'],
    ['SH', [['>', 'S'], ['>', 'FA']], 'SF'],
    ['SHR', [['<', 'SA'], ['<', 'FA']], '^hf'],
    ['OTH', [['>', 'PA', { payload: 5 }], ['<', 'A']], 'Da'],
  ]; // prettier-ignore
  it.each(cases)('%s', (state, steps, history) => {
    const flows = flowsOf(talk(steps));
    expect(flows.map((flow) => [flow.connState, flow.history])).toEqual([[state, history]]);
    expect(flows[0]).toMatchObject({ client: '10.0.0.1', clientPort: 40_000, server: '10.0.0.2', serverPort: 502 }); // prettier-ignore
  });

  it('of UDP it is told whether one or both spoke', () => {
    const there = { timeUs: 0, frame: udp('10.0.0.1:5000', '10.0.0.2:6000', { payload: 4 }) };
    const back = { timeUs: 10, frame: udp('10.0.0.2:6000', '10.0.0.1:5000', { payload: 4 }) };
    const answer = { timeUs: 0, frame: udp('10.0.0.2:53', '10.0.0.1:5000', { payload: 4 }) };
    expect(flowsOf([there]).map((flow) => flow.connState)).toEqual(['S0']);
    expect(flowsOf([there, back]).map((flow) => flow.connState)).toEqual(['SF']);
    expect(flowsOf([answer]).map((flow) => [flow.connState, flow.client])).toEqual([['SHR', '10.0.0.1']]);
  });
});

describe('the client is', () => {
  it('who sent the SYN, also when the answer to it comes first', () => {
    const [flow] = flowsOf(talk([['<', 'SA'], ['>', 'A'], DATA]));
    expect(flow).toMatchObject({ client: '10.0.0.1', serverPort: 502, clientPackets: 2, serverPackets: 1 });
  });

  it('in the middle of a conversation who speaks to a registered port', () => {
    const [flow] = flowsOf(talk([REPLY, DATA]));
    expect(flow).toMatchObject({ client: '10.0.0.1', serverPort: 502, history: '^dD', connState: 'OTH' });
  });

  it('in the middle of a conversation between two unknown ports who speaks first', () => {
    const [flow] = flowsOf([{ timeUs: 0, frame: tcp('10.0.0.9:40001', '10.0.0.1:40002', 'A') }]);
    expect(flow).toMatchObject({ client: '10.0.0.9', clientPort: 40_001 });
  });

  it('in the middle of a conversation whose ports say nothing who asks, by what is said', () => {
    const answer = Buffer.from('000100000007010304' + '00010002', 'hex');
    const between = (from: string, to: string, payload: Buffer) =>
      flowsOf([{ timeUs: 0, frame: tcp(from, to, 'PA', { payload }) }])[0];
    // Modbus on a port of its own, DNP3 from 20000 to 20000.
    expect(between('10.0.0.2:5020', '10.0.0.1:40002', answer)).toMatchObject({
      client: '10.0.0.1',
      serverPort: 5020,
      service: 'modbus',
      history: '^d',
    });
    const question = Buffer.from('000100000006010300000002', 'hex');
    expect(between('10.0.0.1:40002', '10.0.0.2:5020', question)).toMatchObject({ client: '10.0.0.1' });
    const report = Buffer.from('05640a4401000300b4e1c0f08280006b7d', 'hex');
    const unsolicited = flowsOf([{ timeUs: 0, frame: udp('10.0.0.3:20000', '10.0.0.1:20000', { payload: report }) }])[0]; // prettier-ignore
    expect(unsolicited).toMatchObject({ client: '10.0.0.1', server: '10.0.0.3', service: 'dnp3' });
    // Who opened it is who opened it: an outstation that calls its master is the client, whatever it says.
    expect(between('10.0.0.3:40000', '10.0.0.1:20000', report)).toMatchObject({ client: '10.0.0.3' });
  });

  it('who asked, when an echo reply comes first', () => {
    const reply = { timeUs: 0, frame: icmp('10.0.0.2', '10.0.0.1', 0) };
    const request = { timeUs: 10, frame: icmp('10.0.0.1', '10.0.0.2', 8) };
    const [late] = flowsOf([reply, request]);
    const [right] = flowsOf([request, { ...reply, timeUs: 20 }]);
    expect(late).toMatchObject({ client: '10.0.0.1', clientPort: 8, serverPort: 0, clientPackets: 1 });
    expect(late?.communityId).toBe(right?.communityId);
    const six = flowsOf([{ timeUs: 0, frame: icmp('fe80::2', 'fe80::1', 129) }]);
    expect(six[0]).toMatchObject({ client: 'fe80::1', clientPort: 128, protocol: 58 });
  });

  it('never a group: what is sent to one answers nobody', () => {
    const [advertisement] = flowsOf([{ timeUs: 0, frame: icmp('fe80::1', 'ff02::1', 134) }]);
    expect(advertisement).toMatchObject({ client: 'fe80::1', server: 'ff02::1', clientPackets: 1 });
    const [broadcast] = flowsOf([{ timeUs: 0, frame: udp('10.0.0.1:123', '255.255.255.255:50000') }]);
    expect(broadcast).toMatchObject({ client: '10.0.0.1', server: '255.255.255.255' });
  });
});

describe('one flow or two', () => {
  it('echo requests and their replies are one, another type is another', () => {
    const flows = flowsOf([
      { timeUs: 0, frame: icmp('10.0.0.1', '10.0.0.2', 8) },
      { timeUs: 1, frame: icmp('10.0.0.2', '10.0.0.1', 0) },
      { timeUs: 2, frame: icmp('10.0.0.2', '10.0.0.1', 3, 1) },
    ]);
    expect(flows.map((flow) => [flow.clientPort, flow.clientPackets, flow.serverPackets])).toEqual([
      [8, 1, 1],
      [3, 1, 0],
    ]);
  });

  it('VLANs are apart', () => {
    const flows = flowsOf([
      { timeUs: 0, frame: tcp(A, B, 'S') },
      { timeUs: 1, frame: tcp(A, B, 'S', { vlan: 5 }) },
      { timeUs: 2, frame: tcp(A, B, 'S', { vlan: 6 }) },
    ]);
    expect(flows.map(({ vlan }) => vlan).sort()).toEqual([-1, 5, 6]);
  });

  it('silence beyond the idle time ends it, silence up to it does not, whoever else speaks', () => {
    const options = { flows: { idleUs: 10 * SECOND } };
    const at = (timeUs: number): Packet => ({ timeUs, frame: tcp(A, B, 'A') });
    const other = (timeUs: number): Packet => ({ timeUs, frame: udp('10.0.0.7:1', '10.0.0.8:2') });
    const count = (packets: Packet[]): number =>
      flowsOf(packets, options).filter(({ protocol }) => protocol === 6).length;
    expect(count([at(0), at(10 * SECOND)])).toBe(1);
    expect(count([at(0), at(10 * SECOND + 1)])).toBe(2);
    // The place in the order of silence lags behind the last packet: that must not end it early.
    expect(count([at(0), at(1.9 * SECOND), other(11 * SECOND), at(11.8 * SECOND)])).toBe(1);
    expect(count([at(0), at(1.9 * SECOND), other(11 * SECOND), at(11.9 * SECOND + 1)])).toBe(2);
  });

  it('it is ended by the time of other packets, with the reason', () => {
    const rig = new Rig({ flows: { idleUs: 10 * SECOND } });
    rig.add([{ timeUs: 0, frame: udp('10.0.0.7:1', '10.0.0.8:2') }]);
    rig.add([{ timeUs: 13 * SECOND, frame: udp('10.0.0.7:3', '10.0.0.8:2') }]);
    expect(rig.flows.map(({ ending }) => ending)).toEqual(['idle']);
    expect(rig.finish().flows.map(({ ending }) => ending)).toEqual(['idle', 'end']);
  });

  it('a late packet belongs to its flow and does not turn time back', () => {
    const [flow, ...rest] = flowsOf([
      { timeUs: 5 * SECOND, frame: tcp(A, B, 'A') },
      { timeUs: 3 * SECOND, frame: tcp(A, B, 'A') },
      { timeUs: 6 * SECOND, frame: tcp(B, A, 'A') },
    ]);
    expect(rest).toEqual([]);
    expect(flow).toMatchObject({ clientPackets: 2, serverPackets: 1, duration: 1 });
  });

  it('a SYN after the close begins another, the last acknowledgements do not', () => {
    const closed = talk([...HANDSHAKE, ['>', 'FA'], ['<', 'FA'], ['>', 'A'], ['<', 'A']]);
    expect(flowsOf(closed)).toHaveLength(1);
    const flows = flowsOf([...closed, ...talk([['>', 'S'], ['<', 'SA']], 20_000)]); // prettier-ignore
    expect(flows.map(({ connState, clientPackets }) => [connState, clientPackets])).toEqual([
      ['SF', 4],
      ['S1', 1],
    ]);
    expect(new Set(flows.map(({ uid }) => uid)).size).toBe(2);
  });

  it('a SYN that is repeated before an answer is the same, and its data is counted from the one that was answered', () => {
    const [flow, ...rest] = flowsOf(
      talk([
        ['>', 'S', { sequence: 7_000_000 }],
        ['>', 'S', { sequence: 100 }],
        ['<', 'SA', { sequence: 500 }],
        DATA,
      ]),
    );
    expect(rest).toEqual([]);
    expect(flow).toMatchObject({ clientPackets: 3, clientBytes: 10 });
  });

  it('one that lasts too long is told in parts', () => {
    const packets = Array.from({ length: 10 }, (_, i) => ({ timeUs: i * SECOND, frame: tcp(A, B, 'A') }));
    const flows = flowsOf(packets, { flows: { durationUsMax: 4 * SECOND } });
    expect(flows.map(({ ending, clientPackets }) => [ending, clientPackets])).toEqual([
      ['long', 5],
      ['end', 5],
    ]);
  });

  it('the next part of one that lasts too long has the same client, whoever speaks first in it', () => {
    const frame = (i: number) =>
      i === 0 || i % 5 !== 0
        ? udp('10.0.0.1:40001', '10.0.0.2:40002', { payload: 4 })
        : udp('10.0.0.2:40002', '10.0.0.1:40001', { payload: 4 });
    const packets = Array.from({ length: 16 }, (_, i) => ({ timeUs: i * SECOND, frame: frame(i) }));
    const flows = flowsOf(packets, { flows: { durationUsMax: 4 * SECOND } });
    expect(flows.map(({ client, serverPort, history }) => [client, serverPort, history])).toEqual([
      ['10.0.0.1', 40_002, ''],
      ['10.0.0.1', 40_002, '^'],
      ['10.0.0.1', 40_002, '^'],
      ['10.0.0.1', 40_002, '^'],
    ]);
  });

  it('beyond the limit the one that was silent longest is evicted, and counted', () => {
    const rig = new Rig({ flows: { flowsMax: 2 } });
    const from = (port: number, timeUs: number): Packet => ({ timeUs, frame: udp(`10.0.0.1:${port}`, '10.0.0.2:502') }); // prettier-ignore
    rig.add([from(1, 0), from(2, 3 * SECOND), from(1, 6 * SECOND), from(3, 7 * SECOND)]);
    expect(rig.flows.map(({ clientPort, ending }) => [clientPort, ending])).toEqual([[2, 'evicted']]);
    expect(rig.engine.flows.counters).toMatchObject({ flows: 3, evicted: 1 });
    expect(rig.engine.flows.size).toBe(2);
  });

  it('fragments find the flow of their first, over either version of IP', () => {
    const head = Buffer.from('1388270f0fa00000', 'hex');
    const fragment = { id: 77, offset: 0, more: true };
    const first = ip('10.0.0.1', '10.0.0.2', 17, Buffer.concat([head, Buffer.alloc(16)]), { fragment });
    const later = ip('10.0.0.1', '10.0.0.2', 17, Buffer.alloc(24), { fragment: { id: 77, offset: 24, more: false } }); // prettier-ignore
    const [flow, ...rest] = flowsOf([{ timeUs: 0, frame: first }, { timeUs: 1, frame: later }]); // prettier-ignore
    expect(rest).toEqual([]);
    expect(flow).toMatchObject({ clientPort: 5000, serverPort: 9999, clientPackets: 2 });

    const extension = (offset: number, more: number): Buffer =>
      Buffer.from([17, 0, offset >> 8, (offset & 0xf8) | more, 0, 0, 0, 9]);
    const six = (offset: number, more: number, rest: Uint8Array): Buffer =>
      ip('fd00::1', 'fd00::2', 44, Buffer.concat([extension(offset, more), rest]));
    const flows = flowsOf([
      { timeUs: 0, frame: six(0, 1, Buffer.concat([head, Buffer.alloc(16)])) },
      { timeUs: 1, frame: six(24, 0, Buffer.alloc(24)) },
    ]);
    expect(flows.map((one) => [one.clientPort, one.clientPackets])).toEqual([[5000, 2]]);
  });

  it('a later fragment of TCP has no header: its bytes are not taken for a sequence number', () => {
    const segment = tcp(A, B, 'PA', { sequence: 2_000_000_000, payload: 4 }).subarray(34, 58);
    const [flow, ...rest] = flowsOf([
      { timeUs: 0, frame: ip('10.0.0.1', '10.0.0.2', 6, segment, { fragment: { id: 5, offset: 0, more: true } }) },
      { timeUs: 1, frame: ip('10.0.0.1', '10.0.0.2', 6, Buffer.alloc(40), { fragment: { id: 5, offset: 24, more: false } }) },
    ]); // prettier-ignore
    expect(rest).toEqual([]);
    expect(flow).toMatchObject({ clientPackets: 2, clientBytes: 4 });
  });

  it('a conversation straight on Ethernet is one, by its EtherType', () => {
    const [flow] = flowsOf([
      { timeUs: 0, frame: ethernet(0x88b5, Buffer.alloc(50)) },
      { timeUs: 1, frame: ethernet(0x88b5, Buffer.alloc(50), undefined, '02:00:00:00:00:02', '02:00:00:00:00:01') }, // prettier-ignore
    ]);
    expect(flow).toMatchObject({
      protocol: -1,
      etherType: 0x88b5,
      client: '02:00:00:00:00:01',
      clientPackets: 1,
      serverPackets: 1,
    });
  });
});

describe('bytes of a connection', () => {
  it('count once however often they are sent, and what was not seen is missed', () => {
    const [twice] = flowsOf(talk([...HANDSHAKE, DATA, DATA, DATA]));
    expect(twice).toMatchObject({ clientBytes: 10, missedBytes: 0 });
    const hole = talk([...HANDSHAKE, DATA, ['>', 'PA', { sequence: 161, payload: 5 }]]);
    expect(flowsOf(hole)[0]).toMatchObject({ clientBytes: 65, missedBytes: 50 });
    const filled = talk([['>', 'PA', { sequence: 111, payload: 50 }]], 50_000);
    expect(flowsOf([...hole, ...filled])[0]).toMatchObject({ clientBytes: 65, missedBytes: 0 });
  });

  it('go on when the sequence numbers begin again at zero', () => {
    const [flow] = flowsOf(
      talk([
        ['>', 'S', { sequence: 0xffff_fffa }],
        ['>', 'PA', { sequence: 0xffff_fffb, payload: 5 }],
        ['>', 'PA', { sequence: 0, payload: 7 }],
      ]),
    );
    expect(flow).toMatchObject({ clientBytes: 12, missedBytes: 0 });
  });

  it('are not made of the number that a reset or a probe carries', () => {
    const steps: Step[] = [...HANDSHAKE, DATA, ['>', 'R', { sequence: 1_500_000_000 }], ['<', 'A', { sequence: 900_000_000 }]]; // prettier-ignore
    expect(flowsOf(talk(steps))[0]).toMatchObject({ clientBytes: 10, serverBytes: 0, missedBytes: 0 });
  });
});

describe('packets of no flow', () => {
  it('are counted by their reason', () => {
    const rig = new Rig().add([
      { timeUs: 0, frame: arp(1, '02:00:00:00:00:01', '10.0.0.1', '00:00:00:00:00:00', '10.0.0.2') },
      { timeUs: 1, frame: Buffer.from('0200000000010200000000020800ff', 'hex') },
      { timeUs: 2, frame: ethernet(38, Buffer.from('424203', 'hex')) },
    ]);
    expect(rig.engine.flows.counters).toMatchObject({ flows: 0, malformed: 1, withoutFlow: 2 });
  });

  it('and those of flows add up to all there were, whatever they are and however few flows there may be', () => {
    const end = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })).map(([host, port]) => `10.0.0.${host}:${port}`); // prettier-ignore
    const packet = fc.record({
      gap: fc.integer({ min: -2 * SECOND, max: 6 * SECOND }),
      frame: fc.oneof(
        fc.tuple(end, end, fc.constantFrom('S', 'SA', 'A', 'FA', 'R', 'PA')).map(([a, b, flags]) => tcp(a, b, flags)), // prettier-ignore
        fc.tuple(end, end).map(([a, b]) => udp(a, b)),
        fc.uint8Array({ maxLength: 40 }),
      ),
    });
    fc.assert(
      fc.property(
        fc.array(packet, { maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (packets, flowsMax) => {
          const rig = new Rig({ flows: { flowsMax, idleUs: 10 * SECOND, durationUsMax: 20 * SECOND } });
          let timeUs = 100 * SECOND;
          for (const { gap, frame } of packets) {
            timeUs = Math.max(0, timeUs + gap);
            rig.add([{ timeUs, frame }]);
            expect(rig.engine.flows.size).toBeLessThanOrEqual(flowsMax);
          }
          rig.finish();
          const { malformed, withoutFlow, flows } = rig.engine.flows.counters;
          const inFlows = rig.flows.reduce((sum, flow) => sum + flow.clientPackets + flow.serverPackets, 0);
          expect(inFlows + malformed + withoutFlow).toBe(packets.length);
          expect(rig.flows).toHaveLength(flows);
          expect(rig.engine.flows.size).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });
});
