import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINKTYPE_ETHERNET } from '../packet/link-type.ts';
import { openCapture } from '../pcap/capture-file.ts';
import { compileOffline, runFilter } from '../system/libpcap.ts';
import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { packetsOf } from '../../../../tests/support/captured.ts';
import { BpfInterpreter } from './bpf-interpreter.ts';

const SNAP_BYTES = 262_144;

/** Filters that OT engineers write, and some that reach every instruction libpcap knows. */
const EXPRESSIONS = [
  'tcp port 502',
  'tcp port 502 or tcp port 102 or udp port 44818',
  'not (tcp port 22) and ip',
  'vlan',
  'vlan 10 and tcp port 502',
  'vlan and vlan and ip',
  'ip6 and tcp',
  'ip6 proto 58',
  'arp or ether proto 0x88b8 or ether proto 0x8892 or stp',
  'ether multicast and not broadcast',
  'net 192.168.0.0/16 and portrange 1-1024',
  'host 10.0.0.1 or ether host 00:11:22:33:44:55',
  'less 100',
  'greater 200',
  'mpls and ip',
  'pppoes and tcp',
  'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0',
  'tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420',
  'ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0',
  'ip[0] * 3 + ip[1] / 2 - ip[8] % 5 > 200',
  'ip[8] / ip[1] > 1',
  'ip[4:2] % ip[1] = 1',
  'ip[12:4] ^ ip[16:4] > 0x00ffffff',
  'ip[8] << ip[9] > 1000',
  '(ip[12:4] | 0xff) >> ip[1] = 0',
  '-ip[8] < 0xffffffc1',
  'len - ip[2:2] = 14',
  'ether[0xfffffff0:4] = 0',
  'ip[0x7fffffff:2] = 1',
  'inbound or ip proto 17',
];

describe('the interpreter', () => {
  it('ends and stays inside for any bytes as program and frame', () => {
    const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
    fc.assert(
      fc.property(bytes(200), bytes(100), (program, frame) => {
        const wanted = new BpfInterpreter(program).run(frame, 0, frame.byteLength, frame.byteLength);
        expect(wanted).toBeGreaterThanOrEqual(0);
        expect(wanted).toBeLessThanOrEqual(0xffff_ffff);
      }),
      { numRuns: 2000 },
    );
  });

  it('sees nothing of the neighbours of a frame in a batch', () => {
    const frame = Buffer.from('ffffffffffff0011223344550800', 'hex');
    const batch = Buffer.concat([Buffer.alloc(7, 0x45), frame, Buffer.alloc(60, 0x45)]);
    const machine = new BpfInterpreter(compileOffline(LINKTYPE_ETHERNET, 'ip[0] = 0x45', SNAP_BYTES));
    expect(machine.run(batch, 7, frame.byteLength, 60)).toBe(0);
    expect(machine.run(batch, 7, frame.byteLength + 1, 60)).toBe(SNAP_BYTES);
  });

  it('equals libpcap over random frames and every cut of them', () => {
    const frame = Buffer.from(
      'ffffffffffff0011223344558100000a080045000030123440004006000ac0a80001c0a8000201f6c0010000000100000002701000ff00000000474554200000',
      'hex',
    );
    for (const expression of EXPRESSIONS) {
      const pair = compilePair(expression);
      if (pair === null) continue;
      for (let cut = 0; cut <= frame.byteLength; cut++) pair.check(frame.subarray(0, cut), frame.byteLength);
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
          pair.check(bytes, bytes.byteLength + 3);
        }),
        { numRuns: 200 },
      );
    }
  });
});

describeWithCorpus('the interpreter over real traffic', () => {
  it('equals libpcap, packet by packet, filter by filter', async () => {
    const files = [...corpusFiles('linktypes'), ...corpusFiles('ot'), ...corpusFiles('bad/fuzzed-packets')];
    const frames: { frame: Uint8Array; originalBytes: number; linkType: number }[] = [];
    for (const { path } of files) {
      let left = 60;
      try {
        const file = await openCapture(path);
        for await (const batch of file.batches()) {
          for (const { frame, originalBytes } of packetsOf(batch).slice(0, left)) {
            frames.push({ frame, originalBytes, linkType: batch.linkType });
          }
          if ((left -= batch.packetCount) <= 0) break;
        }
      } catch {
        // Damage, or no capture at all: other tests are about that.
      }
    }
    expect(frames.length).toBeGreaterThan(1000);
    let matches = 0;
    for (const expression of EXPRESSIONS) {
      for (const linkType of new Set(frames.map((item) => item.linkType))) {
        const pair = compilePair(expression, linkType);
        if (pair === null) continue;
        for (const item of frames) {
          if (item.linkType === linkType && pair.check(item.frame, item.originalBytes)) matches++;
        }
      }
    }
    expect(matches).toBeGreaterThan(1000);
  });
});

/** Both machines for one program; null where libpcap has none for the link type. */
function compilePair(
  expression: string,
  linkType = LINKTYPE_ETHERNET,
): { check(frame: Uint8Array, originalBytes: number): boolean } | null {
  let program: Uint8Array;
  try {
    program = compileOffline(linkType, expression, SNAP_BYTES);
  } catch {
    return null;
  }
  const machine = new BpfInterpreter(program);
  return {
    check(frame, originalBytes) {
      const twin = runFilter(program, frame, originalBytes);
      const own = machine.run(frame, 0, frame.byteLength, originalBytes);
      // `expect` for each of a million packets would be most of the test's time.
      if (own !== twin) expect({ expression, own, frame: Buffer.from(frame).toString('hex') }).toBe(twin);
      return own !== 0;
    },
  };
}
