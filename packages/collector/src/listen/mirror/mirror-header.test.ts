import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';
import { MirrorCursor, decodeMirror, type MirrorProtocol } from './mirror-header.ts';

const FRAME = 'ffffffffffff0200000000010806' + '00'.repeat(28);

function decoded(protocol: MirrorProtocol, hex: string): MirrorCursor {
  const cursor = new MirrorCursor();
  decodeMirror(cursor, protocol, Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  return cursor;
}

describe('the wrapping of a mirrored frame', () => {
  it.each<[string, MirrorProtocol, string, Partial<MirrorCursor>]>([
    ['VXLAN', 'vxlan', '08000000 000064 00', { frameOffset: 8, id: 100 }],
    ['Geneve without options', 'geneve', '0000 6558 0000ff 00', { frameOffset: 8, id: 255 }],
    [
      'Geneve with 8 bytes of options',
      'geneve',
      '0200 6558 000001 00 0102030405060708',
      { frameOffset: 16, id: 1 },
    ],
    ['Geneve around IPv4', 'geneve', '0000 0800 000001 00', { linkType: LINKTYPE_RAW, frameOffset: 8 }],
    ['TZSP', 'tzsp', '01 00 0001 01', { frameOffset: 5, id: 0 }],
    ['TZSP with tags', 'tzsp', '01 00 0001 00 28 04 00000007 29 02 05dc 0a 01 ff 01', { frameOffset: 19, sequence: 7, originalBytes: 1500 }], // prettier-ignore
    ['GRE around Ethernet', 'gre', '0000 6558', { frameOffset: 4 }],
    ['GRE with checksum, key and sequence', 'gre', 'b000 6558 12340000 00000009 00000003', { frameOffset: 16, id: 9, sequence: 3 }], // prettier-ignore
    ['GRE around IPv6', 'gre', '0000 86dd', { linkType: LINKTYPE_RAW, frameOffset: 4 }],
    ['ERSPAN I', 'erspan', '0000 88be', { frameOffset: 4, sequence: -1 }],
    ['ERSPAN II, untagged', 'erspan', '1000 88be 00000001 1001 0005 00000000', { frameOffset: 16, id: 5, vlanTag: -1, sequence: 1 }], // prettier-ignore
    ['ERSPAN II, tag taken off', 'erspan', '1000 88be 00000001 1064 b405 00000000', { id: 5, vlanTag: (5 << 13) | 100, isTruncated: true }], // prettier-ignore
    ['ERSPAN II, tag left on', 'erspan', '1000 88be 00000001 1064 1805 00000000', { vlanTag: -1 }],
    ['ERSPAN III', 'erspan', '1000 22eb 00000002 2064 6007 00000000 00000000', { frameOffset: 20, id: 7, vlanTag: (3 << 13) | 100 }], // prettier-ignore
    ['ERSPAN III with a subheader', 'erspan', '1000 22eb 00000002 2000 0007 00000000 00000001 0102030405060708', { frameOffset: 28, vlanTag: -1 }], // prettier-ignore
  ])('%s comes off', (_, protocol, header, expected) => {
    expect(decoded(protocol, header + FRAME)).toMatchObject({
      fault: null,
      linkType: LINKTYPE_ETHERNET,
      ...expected,
    });
  });

  it.each<[MirrorProtocol, string, string]>([
    ['vxlan', '00000000 000064 00', 'not-this-protocol'],
    ['vxlan', '0800', 'too-short'],
    ['vxlan', '08000000 000064 00', 'no-frame'],
    ['geneve', '4000 6558 000001 00', 'not-this-protocol'],
    ['geneve', '3f00 6558 000001 00', 'no-frame'],
    ['geneve', '0000 1234 000001 00 00', 'unknown-payload'],
    ['tzsp', '02 00 0001 01', 'not-this-protocol'],
    ['tzsp', '01 04 0001 01', 'no-frame'],
    ['tzsp', '01 00 0012 01', 'unknown-payload'],
    ['tzsp', '01 00 0001 0a ff 00', 'too-short'],
    ['gre', '0000 88be', 'not-this-protocol'],
    ['gre', '4000 6558 00', 'not-this-protocol'],
    ['erspan', '0000 6558', 'not-this-protocol'],
    ['erspan', '1000 88be 00000001 20', 'too-short'],
    ['erspan', '1000 88be 00000001 20000005 00000000 00', 'not-this-protocol'],
  ])('%s %s is refused as %s', (protocol, hex, fault) => {
    expect(decoded(protocol, hex).fault).toBe(fault);
  });

  it('may be any bytes: they are judged and never thrown at', () => {
    const protocols = ['vxlan', 'geneve', 'tzsp', 'gre', 'erspan'] as const;
    const cursor = new MirrorCursor();
    fc.assert(
      fc.property(fc.constantFrom(...protocols), fc.uint8Array({ maxLength: 80 }), (protocol, bytes) => {
        decodeMirror(cursor, protocol, bytes);
        if (cursor.fault === null) expect(cursor.frameOffset).toBeLessThan(bytes.byteLength);
      }),
      { numRuns: 3000 },
    );
  });
});
