/** The engine on anything: real packets with flipped bytes, cut short and out of order, and every damaged file. Nothing throws, nothing grows without bounds, the books balance. */
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
} from '@tapline/shared/packet/link-type.ts';
import { readCapture } from '@tapline/shared/pcap/testing.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { corpusFiles, corpusPath, describeWithCorpus } from '../../../tests/support/corpus.ts';
import { Engine } from './engine.ts';
import { Rig, analyzeCapture, rulesOf } from './engine-testing.ts';
import { WINDOW_FEATURES, windowFeatures } from './feature/window-features.ts';
import { recordsOf, udp, type Packet } from './packet/frame-testing.ts';
import type { PacketView } from './packet/packet-view.ts';
import { PUBLISHER, goose } from './rule/plant/publisher-testing.ts';
import { SCENARIOS } from './rule/scenarios-testing.ts';
import { refused } from './rule/traffic-testing.ts';

/** A few packets of many protocols. */
const SEEDS = [
  'ot/modbus/modbus_test.pcap',
  'ot/dnp3/dnp3_example.pcap',
  'ot/iec104/iec104.pcap',
  'ot/s7/s7comm_varservice_libnodavedemo.pcap',
  'ot/enip-cip/enip_cip_example.pcap',
  'ot/bacnet/bacnet_services.pcap',
  'ot/iec61850/GOOSE.pcap',
  'ot/opcua/open62541_client-server_mainloop-not-localhost.pcapng',
  'ot/profinet/profinet_io_cm.pcapng',
  'attacks/lateral/LM_smbexec_smb_dcerpc_svcctl_epm.pcapng',
  'attacks/smb-ransomware/eternalblue-success-unpatched-win7.pcap',
  'attacks/smb-ransomware/cryptolocker.pcap',
  'attacks/bruteforce/1.ssh_brute.pcap',
  'bench/benign-it/tls.pcap',
  'linktypes/geneve/geneve.pcap',
  'linktypes/gre/various_gre.pcap',
];
const PER_SEED = 40;

describeWithCorpus('mutated packets', () => {
  let packets: { frame: Buffer; linkType: number }[] = [];
  beforeAll(async () => {
    for (const name of SEEDS) {
      const read = (await readCapture(corpusPath(name))).packets.filter(({ linkType }) => linkType === LINKTYPE_ETHERNET); // prettier-ignore
      packets.push(...read.slice(0, PER_SEED).map(({ frame, linkType }) => ({ frame: Buffer.from(frame, 'hex'), linkType }))); // prettier-ignore
    }
    packets = packets.filter(({ frame }) => frame.byteLength > 0);
  });

  it('never throw, and all of them are counted', () => {
    const mutation = fc.record({
      which: fc.nat(9999),
      flips: fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
      cut: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(1500) }),
      gap: fc.oneof(fc.nat(1000), fc.integer({ min: -5_000_000, max: 200_000_000 })),
    });
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 20, maxLength: 150 }), (mutations) => {
        const rig = new Rig({ flows: { flowsMax: 16 } });
        let timeUs = 1e12;
        const fed = mutations.map(({ which, flips, cut, gap }, i): Packet => {
          // Neighbours stay neighbours: mostly the conversations go on.
          const { frame } = packets[(which % 8 === 0 ? which : i) % packets.length] as { frame: Buffer };
          const bytes = Buffer.from(frame);
          for (const [at, value] of flips) if (which % 3 !== 0) bytes[at % bytes.byteLength] = value;
          timeUs = Math.max(0, timeUs + gap);
          return { timeUs, frame: cut === 0 ? bytes : bytes.subarray(0, cut % bytes.byteLength), wireBytes: bytes.byteLength }; // prettier-ignore
        });
        rig.add(fed);
        expect(rig.engine.flows.size).toBeLessThanOrEqual(16);
        deserialize(serialize(rig.engine.snapshot()));
        rig.finish();
        const { malformed, withoutFlow } = rig.engine.flows.counters;
        const inFlows = rig.flows.reduce((sum, flow) => sum + flow.clientPackets + flow.serverPackets, 0);
        expect(inFlows + malformed + withoutFlow).toBe(fed.length);
      }),
      { numRuns: 50 },
    );
  });

  it('do not pile up: hours of them leave an engine as small as minutes', () => {
    const rig = new Rig({ flows: { flowsMax: 256, idleUs: 10_000_000 } });
    const sizes: number[] = [];
    let at = 0;
    for (let round = 0; round < 8; round++) {
      const fed: Packet[] = [];
      for (let i = 0; i < 3000; i++) {
        const { frame } = packets[i % packets.length] as { frame: Buffer };
        const bytes = Buffer.from(frame);
        // Other addresses and ports in every round, and a byte that is wrong.
        bytes.writeUInt32BE(((round * 3000 + i) * 2_654_435_761) >>> 0, Math.min(28, bytes.byteLength - 4));
        bytes[(i * 31) % bytes.byteLength] = i & 255;
        fed.push({ timeUs: (at += 50_000), frame: bytes });
      }
      rig.add(fed);
      sizes.push(serialize(rig.engine.snapshot()).byteLength);
      expect(rig.engine.flows.size).toBeLessThanOrEqual(256);
    }
    // Lists of hosts fill up to their limits; flows, streams and windows do not add up.
    const [first, last] = [sizes[0] as number, sizes.at(-1) as number];
    expect(last, sizes.join(' ')).toBeLessThan(64 * 1024 * 1024);
    expect(last / first, sizes.join(' ')).toBeLessThan(12);
  });
});

describe('frames of other links', () => {
  /** Linux's cooked captures, version 1 and 2, of an Ethernet frame: they know who sent it. */
  const cooked = (frame: Buffer): Buffer => Buffer.concat([Buffer.from([0, 1, 0, 1, 0, 6]), frame.subarray(6, 12), Buffer.alloc(2), frame.subarray(12)]); // prettier-ignore
  const cooked2 = (frame: Buffer): Buffer => Buffer.concat([frame.subarray(12, 14), Buffer.from([0, 0, 0, 0, 0, 2, 0, 1, 1, 6]), frame.subarray(6, 12), Buffer.alloc(2), frame.subarray(14)]); // prettier-ignore

  it.each([
    [LINKTYPE_LINUX_SLL, cooked],
    [LINKTYPE_LINUX_SLL2, cooked2],
  ])('of link type %i belong to flows, and what they carry is read', (linkType, wrap) => {
    const packets = [1, 2, 3].map((sqNum) => ({ timeUs: sqNum * 1000, frame: wrap(goose(1, sqNum, 7, 0)) }));
    const rig = new Rig().add(packets, linkType).finish();
    expect(rig.flows).toMatchObject([{ client: PUBLISHER, server: '00:00:00:00:00:00', service: 'goose', clientPackets: 3 }]); // prettier-ignore
  });

  it('never throw, whatever they are and whatever link they say they come from', () => {
    const linkType = fc.constantFrom(
      0,
      1,
      9,
      101,
      104,
      108,
      LINKTYPE_LINUX_SLL,
      228,
      229,
      LINKTYPE_LINUX_SLL2,
      147,
    );
    const etherType = fc.constantFrom('0800', '86dd', '0806', '88b8', '88ba', '8892', '88cc', '8100', '8864', '0004', '0060', 'ffff'); // prettier-ignore
    const frame = fc.record({ etherType, head: fc.uint8Array({ minLength: 12, maxLength: 12 }), rest: fc.uint8Array({ maxLength: 120 }), wrap: fc.constantFrom(cooked, cooked2, (bytes: Buffer) => bytes), cut: fc.nat(160) }); // prettier-ignore
    fc.assert(
      fc.property(linkType, fc.array(frame, { minLength: 1, maxLength: 12 }), (type, frames) => {
        const rig = new Rig();
        const packets = frames.map(({ etherType, head, rest, wrap, cut }, i) => ({
          timeUs: i * 1000,
          frame: wrap(Buffer.concat([head, Buffer.from(etherType, 'hex'), rest])).subarray(0, 1 + cut),
        }));
        rig.add(packets, type).finish();
        const { malformed, withoutFlow } = rig.engine.flows.counters;
        const inFlows = rig.flows.reduce((sum, flow) => sum + flow.clientPackets + flow.serverPackets, 0);
        expect(inFlows + malformed + withoutFlow).toBe(packets.length);
      }),
      { numRuns: 400 },
    );
  });
});

describe('a fault at one packet', () => {
  const packets = [1, 2, 3].map((sqNum) => ({ timeUs: sqNum * 1000, frame: goose(1, sqNum, 7, 0) }));
  const events = { alert: () => undefined, flowEnded: () => undefined };
  const options = { sensor: 'test', rules: rulesOf(), fileName: () => '' };
  const faulty = { ...events, packet: (_: unknown, view: PacketView) => { if (view.origin.number === 2) throw new Error('a bug'); } }; // prettier-ignore
  const run = (bytes: Uint8Array) => ({ file: 0, bytes, from: 0, to: bytes.byteLength, linkType: LINKTYPE_ETHERNET, number: 1, offset: -1 }); // prettier-ignore

  it('is told and counted, and the others go on', () => {
    const failed: number[] = [];
    const engine = new Engine(options, { ...faulty, failed: (_, { origin }) => failed.push(origin.number) });
    engine.add(run(recordsOf(packets)));
    expect(failed).toEqual([2]);
    expect(engine.counters).toMatchObject({ packets: 3, packetsFailed: 1 });
  });

  it('is thrown where nobody listens', () => {
    expect(() => new Engine(options, faulty).add(run(recordsOf(packets)))).toThrow('a bug');
  });
});

describeWithCorpus('damaged files', () => {
  it('are analysed up to their damage, each of them', async () => {
    let damaged = 0;
    for (const { path, name } of corpusFiles('bad')) {
      if (!/\.(pcap|pcapng|cap)(\.(gz|zst|lz4))?$/.test(name)) continue;
      const analysis = await analyzeCapture(path);
      if (analysis.damaged.length > 0) damaged++;
      for (const { reason } of analysis.damaged) expect(reason, name).not.toBe('');
      const inFlows = analysis.flows.reduce((sum, flow) => sum + flow.clientPackets + flow.serverPackets, 0);
      const { malformed = 0, withoutFlow = 0 } = analysis.engines[0]?.flows.counters ?? {};
      expect(inFlows + malformed + withoutFlow, name).toBe(analysis.packets);
    }
    expect(damaged).toBeGreaterThan(0);
  });
});

describe('an engine that is written down and taken up by another', () => {
  const packets = SCENARIOS.filter(({ rules }) => Object.keys(rules).length === 0)
    .flatMap(({ event }) => [0, 1, 2, 3].flatMap(event))
    .sort((a, b) => a.timeUs - b.timeUs);

  it('goes on as if nothing had happened, wherever it was', () => {
    const whole = new Rig().add(packets).finish();
    fc.assert(
      fc.property(fc.nat(packets.length), (at) => {
        const before = new Rig().add(packets.slice(0, at));
        const after = new Rig();
        after.engine.restore(deserialize(serialize(before.engine.snapshot())));
        after.add(packets.slice(at)).finish();
        const plain = (flows: typeof whole.flows): unknown => flows;
        expect(plain([...before.flows, ...after.flows])).toEqual(plain(whole.flows));
        expect(after.engine.counters).toEqual(whole.engine.counters);
        expect(after.engine.dissection.counters).toEqual(whole.engine.dissection.counters);
        expect(after.engine.inventory.state).toEqual(whole.engine.inventory.state);
        expect(after.engine.windows).toEqual(whole.engine.windows);
        expect([...new Set([...before.rules, ...after.rules])].sort()).toEqual(whole.rules);
      }),
      { numRuns: 20 },
    );
  });
});

it('one packet from the future blinds no window: what comes after it is counted at its own time', () => {
  const HOUR = 3_600_000_000;
  const asks = Array.from({ length: 600 }, (_, i) => refused(`10.0.0.7:${2000 + i}`, '10.0.0.2:9010', i * 10_000)).flat(); // prettier-ignore
  const rateOf = (packets: readonly Packet[]): number => {
    const { engine } = new Rig().add(packets).finish();
    const out = new Float64Array(WINDOW_FEATURES.length);
    windowFeatures(engine.windows, { client: '10.0.0.7', server: '10.0.0.2', serverPort: 9010, doorway: '10.0.0.2 6 9010' }, engine.packetUs, out, 0); // prettier-ignore
    return out[WINDOW_FEATURES.findIndex(({ name }) => name === 'client_connection_rate')] as number;
  };
  const ahead: Packet = { timeUs: HOUR, frame: udp('10.0.0.9:5000', '10.0.0.8:9999') };
  expect(rateOf(asks)).toBeGreaterThan(10);
  expect(rateOf([ahead, ...asks])).toBeCloseTo(rateOf(asks), 9);
});
