import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { openCapture } from '../pcap/capture-file.ts';
import { internetChecksum } from './checksum.ts';
import {
  FRAME_ARP,
  FRAME_IPV4,
  FRAME_IPV6,
  FRAME_MALFORMED,
  FRAME_OTHER,
  FRAME_UNKNOWN_LINK,
  FrameCursor,
  locateFrame,
} from './frame-cursor.ts';
import { describeFrame } from './frame-name.ts';
import { formatAddress, formatMac, parseAddress } from './ip-address.ts';
import {
  LINKTYPE_C_HDLC,
  LINKTYPE_ETHERNET,
  LINKTYPE_IPV4,
  LINKTYPE_IPV6,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_LOOP,
  LINKTYPE_NULL,
  LINKTYPE_PPP,
  LINKTYPE_RAW,
} from './link-type.ts';
import { RECORD_HEADER_BYTES, readU32 } from './record.ts';

const MACS = '0c0000000001 0a0000000002';
/** 10.0.0.1 → 10.0.0.2, UDP, 28 bytes. */
const IPV4 = '4500001c0001000040110000 0a000001 0a000002 0035c00000080000';
const FD = 'fd000000000000000000000000000001';
const FE = 'fd000000000000000000000000000002';
/** The same over IPv6, 48 bytes. */
const IPV6 = `6000000000081140 ${FD} ${FE} 0035c00000080000`;

/** Locates a frame given in hex, laid into the middle of other bytes so that a wrong offset shows. */
function locate(
  linkType: number,
  hex: string,
): { cursor: FrameCursor; bytes: Buffer; offset: number; end: number } {
  const frame = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const bytes = Buffer.concat([Buffer.alloc(7, 0x45), frame, Buffer.alloc(64, 0x45)]);
  const cursor = new FrameCursor();
  locateFrame(cursor, linkType, bytes, 7, frame.byteLength);
  return { cursor, bytes, offset: 7, end: 7 + frame.byteLength };
}

/** `source>destination proto` as text. */
function flow(linkType: number, hex: string): string {
  const { cursor, bytes } = locate(linkType, hex);
  if (cursor.sourceOffset === -1) return describeFrame(cursor);
  const size = cursor.addressBytes as 4 | 16;
  return `${formatAddress(bytes, cursor.sourceOffset, size)}>${formatAddress(bytes, cursor.destinationOffset, size)} ${cursor.transportProtocol}`;
}

const V4 = '10.0.0.1>10.0.0.2 17';
const V6 = 'fd00::1>fd00::2 17';

describe('IP is found behind', () => {
  it.each([
    ['Ethernet II', LINKTYPE_ETHERNET, `${MACS} 0800 ${IPV4}`, V4],
    ['Ethernet II, IPv6', LINKTYPE_ETHERNET, `${MACS} 86dd ${IPV6}`, V6],
    ['an 802.1Q tag', LINKTYPE_ETHERNET, `${MACS} 8100 600a 0800 ${IPV4}`, V4],
    ['two tags (QinQ)', LINKTYPE_ETHERNET, `${MACS} 88a8 0064 8100 000a 86dd ${IPV6}`, V6],
    ['tags of older gear', LINKTYPE_ETHERNET, `${MACS} 9100 0064 9200 000a 0800 ${IPV4}`, V4],
    ['an HSR tag', LINKTYPE_ETHERNET, `${MACS} 892f 0040 0001 0800 ${IPV4}`, V4],
    ['LLC and SNAP', LINKTYPE_ETHERNET, `${MACS} 0024 aaaa03 000000 0800 ${IPV4}`, V4],
    ['MPLS labels', LINKTYPE_ETHERNET, `${MACS} 8847 00010040 00020140 ${IPV4}`, V4],
    [
      'MPLS, Ethernet pseudo-wire',
      LINKTYPE_ETHERNET,
      `${MACS} 8847 00010140 00000000 ${MACS} 0800 ${IPV4}`,
      V4,
    ],
    ['PPPoE', LINKTYPE_ETHERNET, `${MACS} 8864 1100 0001 001e 0021 ${IPV4}`, V4],
    ['PPPoE, IPv6', LINKTYPE_ETHERNET, `${MACS} 8864 1100 0001 0032 0057 ${IPV6}`, V6],
    ['RAW', LINKTYPE_RAW, IPV4, V4],
    ['RAW, IPv6', LINKTYPE_RAW, IPV6, V6],
    ['IPV4', LINKTYPE_IPV4, IPV4, V4],
    ['IPV6', LINKTYPE_IPV6, IPV6, V6],
    ['NULL, little-endian', LINKTYPE_NULL, `02000000 ${IPV4}`, V4],
    ['NULL, big-endian', LINKTYPE_NULL, `00000002 ${IPV4}`, V4],
    ['NULL, IPv6 of macOS', LINKTYPE_NULL, `1e000000 ${IPV6}`, V6],
    ['LOOP, IPv6 of OpenBSD', LINKTYPE_LOOP, `00000018 ${IPV6}`, V6],
    ['SLL', LINKTYPE_LINUX_SLL, `0000 0001 0006 0a00000000020000 0800 ${IPV4}`, V4],
    ['SLL with a tag', LINKTYPE_LINUX_SLL, `0000 0001 0006 0a00000000020000 8100 0005 0800 ${IPV4}`, V4],
    ['SLL2', LINKTYPE_LINUX_SLL2, `86dd 0000 00000002 0001 00 06 0a00000000020000 ${IPV6}`, V6],
    ['PPP with HDLC framing', LINKTYPE_PPP, `ff03 0021 ${IPV4}`, V4],
    ['C-HDLC', LINKTYPE_C_HDLC, `0f00 0800 ${IPV4}`, V4],
  ])('%s', (_, linkType, hex, wanted) => {
    expect(flow(linkType, hex)).toBe(wanted);
  });
});

describe('what is not IP is named', () => {
  it.each([
    ['arp', `${MACS} 0806 0001`],
    ['lldp', `${MACS} 88cc 0207`],
    ['profinet', `${MACS} 8100 c000 8892 8000`],
    ['goose', `${MACS} 88b8 0001`],
    ['sv', `${MACS} 88ba 4000`],
    ['ethercat', `${MACS} 88a4 0e10`],
    ['stp', `${MACS} 0026 424203 0000`],
    ['ethertype-0x88b5', `${MACS} 88b5 00`],
    ['llc-0x98', `${MACS} 0003 989803`],
    ['malformed', `${MACS} 08`],
    ['malformed', `${MACS} 0800 45`],
    ['malformed', `${MACS} 0800 ${IPV6}`],
    ['malformed', `${MACS} 8100 00`],
  ])('%s', (name, hex) => {
    const { cursor, offset } = locate(LINKTYPE_ETHERNET, hex);
    expect(describeFrame(cursor)).toBe(name);
    expect(cursor.networkOffset).toBe(-1);
    // A frame that makes no sense still has a sender.
    expect(cursor.linkSourceOffset).toBe(offset + 6);
  });

  it('a link type nobody told us about is unknown, not malformed', () => {
    expect(locate(147, '00').cursor.kind).toBe(FRAME_UNKNOWN_LINK);
  });
});

describe('the IP header', () => {
  it('says how long the packet is: padding behind it is left out, truncation is seen', () => {
    const padded = locate(LINKTYPE_ETHERNET, `${MACS} 0800 ${IPV4} ${'00'.repeat(18)}`).cursor;
    expect([padded.networkBytes, padded.networkOriginalBytes]).toEqual([28, 28]);
    const cut = locate(LINKTYPE_ETHERNET, `${MACS} 0800 ${IPV4.slice(0, -8)}`).cursor;
    expect([cut.networkBytes, cut.networkOriginalBytes]).toEqual([24, 28]);
    const offloaded = locate(LINKTYPE_RAW, IPV4.replace('001c', '0000')).cursor;
    expect([offloaded.networkBytes, offloaded.networkOriginalBytes]).toEqual([28, 28]);
  });

  it('leads over options and extension headers to the transport, and not in later fragments', () => {
    const options = locate(
      LINKTYPE_RAW,
      '46000020000000004006 0000 0a000001 0a000002 01010101 01bb01bb00000000',
    ).cursor;
    expect(options.transportOffset - options.networkOffset).toBe(24);
    const later = locate(LINKTYPE_RAW, IPV4.replace('00010000', '00010003')).cursor;
    expect([later.fragment, later.transportOffset]).toEqual([1, -1]);
    const first = locate(LINKTYPE_RAW, IPV4.replace('00010000', '00012000')).cursor;
    expect([first.fragment, first.transportOffset - first.networkOffset]).toEqual([1, 20]);
    const extended = locate(
      LINKTYPE_RAW,
      `6000000000180040 ${FD} ${FE} 2c00000000000000 1100000000000001 0035c00000080000`,
    ).cursor;
    expect([
      extended.transportProtocol,
      extended.transportOffset - extended.networkOffset,
      extended.fragment,
    ]).toEqual([17, 56, 0]);
    const sixth = locate(
      LINKTYPE_RAW,
      `6000000000102c40 ${FD} ${FE} 1100000900000001 0035c00000080000`,
    ).cursor;
    expect([sixth.fragment, sixth.transportOffset]).toEqual([1, -1]);
  });

  it('VLAN: the outermost identifier, and how many tags', () => {
    const { cursor } = locate(LINKTYPE_ETHERNET, `${MACS} 88a8 6064 8100 000a 0806 0001`);
    expect([cursor.kind, cursor.vlanId, cursor.vlanCount, cursor.etherType]).toEqual([
      FRAME_ARP,
      100,
      2,
      0x0806,
    ]);
  });
});

describe('on any bytes', () => {
  const linkTypes = [0, 1, 9, 101, 104, 108, 113, 228, 229, 276, 147];
  /** Bytes that look like tags and headers more often than chance would have it. */
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 24 }),
    fc
      .constantFrom(
        '8100',
        '88a8',
        '892f',
        '0800',
        '86dd',
        '8847',
        '8864',
        '45',
        '60',
        'aaaa03000000',
        '2c',
        '00000100',
      )
      .map((hex) => Buffer.from(hex, 'hex')),
  );
  it('nothing throws, and every offset lies inside the frame', () => {
    const cursor = new FrameCursor();
    fc.assert(
      fc.property(
        fc.constantFrom(...linkTypes),
        fc.array(piece, { maxLength: 24 }),
        fc.nat(40),
        (linkType, pieces, offset) => {
          const frame = Buffer.concat([
            Buffer.from(MACS.replaceAll(' ', ''), 'hex').subarray(0, linkType === 1 ? 12 : 0),
            ...pieces,
          ]);
          const bytes = Buffer.concat([Buffer.alloc(offset, 0x81), frame, Buffer.alloc(40, 0x81)]);
          locateFrame(cursor, linkType, bytes, offset, frame.byteLength);
          const end = offset + frame.byteLength;
          const inside = (at: number, byteLength: number): boolean =>
            at === -1 || (at >= offset && at + byteLength <= end);
          expect(inside(cursor.networkOffset, cursor.networkBytes)).toBe(true);
          expect(inside(cursor.sourceOffset, cursor.addressBytes)).toBe(true);
          expect(inside(cursor.destinationOffset, cursor.addressBytes)).toBe(true);
          expect(inside(cursor.linkSourceOffset, 6)).toBe(true);
          expect(inside(cursor.linkDestinationOffset, 6)).toBe(true);
          expect(inside(cursor.transportOffset, 1)).toBe(true);
          expect(inside(cursor.payloadOffset, 0)).toBe(true);
          const isIp = cursor.kind === FRAME_IPV4 || cursor.kind === FRAME_IPV6;
          expect(isIp).toBe(cursor.networkOffset !== -1);
          expect(cursor.reason !== 0).toBe(cursor.kind === FRAME_MALFORMED);
          expect([
            FRAME_IPV4,
            FRAME_IPV6,
            FRAME_ARP,
            FRAME_OTHER,
            FRAME_MALFORMED,
            FRAME_UNKNOWN_LINK,
          ]).toContain(cursor.kind);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describeWithCorpus('beside tshark', () => {
  /** Folders whose outermost network layer both see alike; tunnels inside IP do not matter, the first address counts. */
  const FOLDERS = [
    'linktypes/vlan',
    'linktypes/qinq',
    'linktypes/mpls',
    'linktypes/pppoe',
    'linktypes/ipv6-ext',
    'linktypes/cooked',
    'linktypes/llc-snap-stp',
    'linktypes/loopback-null-raw',

    'linktypes/vxlan',
    'ot/modbus',
    'ot/profinet',
    'ot/iec61850',
    'ot/bacnet',
  ];
  /** One tshark a file: enough to see every layer, few enough to stay quick. */
  const FILES_MAX = 3;

  it.each(FOLDERS)('the addresses of every packet are the same: %s', async (folder) => {
    for (const file of corpusFiles(folder).slice(0, FILES_MAX)) {
      const fields = ['ip.src', 'ipv6.src', 'ip.dst', 'ipv6.dst'].flatMap((field) => ['-e', field]);
      const text = execFileSync(
        'tshark',
        ['-r', file.path, '-n', '-T', 'fields', '-E', 'occurrence=f', ...fields],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 28 },
      );
      const theirs = text
        .split('\n')
        .slice(0, -1)
        .map((line) => line.split('\t'));
      const ours = await addressesOf(file.path);
      expect(ours.length, file.name).toBe(theirs.length);
      ours.forEach((pair, index) => {
        const [ip4, ip6, to4, to6] = theirs[index] ?? [];
        // Where a frame is cut or contradicts itself, tshark shows what it can and we call it malformed.
        if (pair === null) return;
        expect(pair, `${file.name} #${index + 1}`).toEqual([canonical(ip4 || ip6), canonical(to4 || to6)]);
      });
    }
  });
});

/** Source and destination of every packet; undefined for what is not IP, null for what is malformed or unknown. */
async function addressesOf(path: string): Promise<((string | undefined)[] | null)[]> {
  const cursor = new FrameCursor();
  const pairs: ((string | undefined)[] | null)[] = [];
  const capture = await openCapture(path);
  for await (const { bytes, byteLength, linkType } of capture.batches())
    for (let at = 0; at < byteLength;) {
      const capturedBytes = readU32(bytes, at + 8);
      locateFrame(cursor, linkType, bytes, at + RECORD_HEADER_BYTES, capturedBytes);
      const size = cursor.addressBytes as 4 | 16;
      if (cursor.kind === FRAME_MALFORMED || cursor.kind === FRAME_UNKNOWN_LINK) pairs.push(null);
      else if (cursor.networkOffset === -1) pairs.push([undefined, undefined]);
      else
        pairs.push([
          formatAddress(bytes, cursor.sourceOffset, size),
          formatAddress(bytes, cursor.destinationOffset, size),
        ]);
      at += RECORD_HEADER_BYTES + capturedBytes;
    }
  return pairs;
}

/** tshark's spelling of an address is not always RFC 5952's. */
function canonical(text: string | undefined): string | undefined {
  const bytes = text === undefined || text === '' ? null : parseAddress(text);
  return bytes === null ? undefined : formatAddress(bytes, 0, bytes.byteLength as 4 | 16);
}

describe('addresses as text', () => {
  it.each([
    ['::', '::'],
    ['::1', '::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8::0:1', '2001:db8::1'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
    ['fe80::', 'fe80::'],
    ['10.0.0.1', '10.0.0.1'],
  ])('%s is written %s', (text, wanted) => {
    const bytes = parseAddress(text);
    expect(bytes === null ? null : formatAddress(bytes, 0, bytes.byteLength as 4 | 16)).toBe(wanted);
  });

  it('what is no address, or has a zone, is none', () => {
    for (const text of ['', '1.2.3', '10.0.0.0/8', 'fe80::1%eth0', 'x', '::1::2'])
      expect(parseAddress(text)).toBeNull();
  });

  it('any address survives text and back', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ minLength: 4, maxLength: 4 }),
          fc.uint8Array({ minLength: 16, maxLength: 16 }),
        ),
        (bytes) => {
          expect(parseAddress(formatAddress(bytes, 0, bytes.byteLength as 4 | 16))).toEqual(bytes);
        },
      ),
    );
  });

  it('a MAC is six pairs', () => {
    expect(formatMac(Buffer.from('000c29ff0001', 'hex'), 0)).toBe('00:0c:29:ff:00:01');
  });
});

it('the Internet checksum of a header with its checksum in place is 0', () => {
  // RFC 1071's own example, and the header of an IPv4 packet.
  expect(internetChecksum(Buffer.from('0001f203f4f5f6f7', 'hex'), 0, 8)).toBe(0x220d);
  expect(internetChecksum(Buffer.from('45000073000040004011b861c0a80001c0a800c7', 'hex'), 0, 20)).toBe(0);
  expect(internetChecksum(Buffer.from('01', 'hex'), 0, 1)).toBe(0xfeff);
});
