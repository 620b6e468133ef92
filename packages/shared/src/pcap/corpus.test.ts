/** The reader against real captures: the manifest's numbers, Wireshark's own reader, and what damaged files must say. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, test } from 'vitest';

import { corpusFiles, corpusPath, describeWithCorpus, manifest } from '../../../../tests/support/corpus.ts';
import { encodeFileHeader, transcodeToMicroseconds } from './pcap-writer.ts';
import type { PlainPacket } from './testing.ts';
import { readCapture } from './testing.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-pcap-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Files of the manifest's kinds that are captures in our formats, beyond those its own reader knew. */
const CAPTURES = manifest().filter(
  (row) => row.packets !== null && /\.(pcap|pcapng|cap)(\.gz)?$/.test(row.path),
);

/** Where we deliberately differ from the manifest's reader: it went on behind a damaged block, read a version that does not exist, or took a second header for a packet. */
const DIFFERENT_COUNT: ReadonlyMap<string, number> = new Map([
  ['bad/derived/http_post-epb-caplen-huge.pcapng', 1],
  ['bad/derived/http_post-epb-unknown-interface.pcapng', 1],
  ['bad/derived/modbus-two-files-concatenated.pcap', 166],
  ['bad/fuzzed-packets/pcapng-invalid-vers-1.pcapng', 0],
]);

function recordsOf(packets: readonly PlainPacket[]): Buffer {
  return Buffer.concat(
    packets.map((packet) => {
      const frame = Buffer.from(packet.frame, 'hex');
      const header = Buffer.alloc(16);
      [packet.seconds, packet.nanoseconds, frame.byteLength, packet.originalBytes].forEach((value, i) =>
        header.writeUInt32LE(value, i * 4),
      );
      return Buffer.concat([header, frame]);
    }),
  );
}

function microsecondsOf(time: string): number {
  return Date.parse(`${time.slice(0, 19)}Z`) * 1000 + Number(time.slice(20, 26));
}

/** The manifest rounds nanoseconds, we cut them. */
function near(expected: number): (time: number) => boolean {
  return (time) => time === expected || time === expected - 1;
}

describeWithCorpus('over the corpus', () => {
  test('every capture has the packets, link types and times of the manifest', async () => {
    expect(CAPTURES.length).toBeGreaterThan(800);
    for (const row of CAPTURES) {
      const { packets, file } = await readCapture(row.absolutePath);
      expect(packets.length, row.path).toBe(DIFFERENT_COUNT.get(row.path) ?? row.packets);
      if (packets.length === 0 || DIFFERENT_COUNT.has(row.path)) continue;
      const linkTypes = new Set(row.linkTypes.map((linkType) => (linkType === 12 ? 101 : linkType)));
      for (const packet of packets)
        if (!linkTypes.has(packet.linkType)) throw new Error(`${row.path}: link type ${packet.linkType}`);
      if (file === null || file.remarks.timeClamped + file.remarks.timeMissing > 0) continue;
      const times = packets.map((packet) => packet.seconds * 1e6 + Math.floor(packet.nanoseconds / 1000));
      if (microsecondsOf(row.firstTime) >= 0 && row.parseRemarks === '') {
        expect(times[0], row.path).toSatisfy(near(microsecondsOf(row.firstTime)));
        expect(times.at(-1), row.path).toSatisfy(near(microsecondsOf(row.lastTime)));
      }
    }
  });

  test('capinfos counts the same packets and bytes on the wire in every sound file', async () => {
    const sound = CAPTURES.filter(
      (row) => !/^bad\/|nokia/.test(row.path) && row.parseRemarks === '' && row.packets !== 0,
    );
    const { stdout } = spawnSync(
      'capinfos',
      ['-T', '-m', '-r', '-M', '-c', '-d', ...sound.map((row) => row.absolutePath)],
      {
        encoding: 'utf8',
        maxBuffer: 1e8,
      },
    );
    const counted = new Map(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => /^(.*),(\d+),(\d+)$/.exec(line))
        .map((match) => [match?.[1], `${match?.[2]} packets, ${match?.[3]} bytes`]),
    );
    expect(counted.size).toBeGreaterThan(550);
    for (const row of sound) {
      if (!counted.has(row.absolutePath)) continue;
      const { packets } = await readCapture(row.absolutePath);
      const originalBytes = packets.reduce((sum, packet) => sum + packet.originalBytes, 0);
      expect(`${packets.length} packets, ${originalBytes} bytes`, row.path).toBe(
        counted.get(row.absolutePath),
      );
    }
  });

  test('editcap makes the same nanosecond records, byte for byte, of every format', async () => {
    const files = [
      ...corpusFiles('formats'),
      ...corpusFiles('linktypes/qinq'),
      ...corpusFiles('ot/profinet'),
    ].filter((file) => /\.(pcap|pcapng)(\.gz|\.zst)?$/.test(file.name) && !/spb-only|nokia/.test(file.name));
    let compared = 0;
    for (const file of files) {
      const output = join(directory, 'ns.pcap');
      // Several link types do not fit one classic file: editcap says so, and there is nothing to compare.
      if (spawnSync('editcap', ['-F', 'nsecpcap', file.path, output]).status !== 0) continue;
      const { packets } = await readCapture(file.path);
      if (packets.length === 0) continue;
      expect(recordsOf(packets).equals(readFileSync(output).subarray(24)), file.name).toBe(true);
      compared++;
    }
    expect(compared).toBeGreaterThan(30);
  });

  test('tcpdump writes the same microsecond file', async () => {
    for (const name of [
      'bench/benign-it/smb.pcap',
      'formats/equivalent-modbus/us-be.pcap',
      'formats/equivalent-modbus/plain.pcapng',
    ]) {
      const { stdout } = spawnSync('tcpdump', ['-r', corpusPath(name), '-w', '-'], { maxBuffer: 1e8 });
      const { packets, file } = await readCapture(corpusPath(name));
      const records = recordsOf(packets);
      const header = encodeFileHeader({
        linkType: 1,
        precision: 'us',
        snapBytes: file?.interfaces[0]?.snapBytes ?? 0,
      });
      const bytes = new Uint8Array(header.byteLength + records.byteLength);
      bytes.set(header);
      transcodeToMicroseconds(records, records.byteLength, bytes, header.byteLength);
      // Header apart (tcpdump puts its own snap length there).
      expect(Buffer.compare(bytes.subarray(24), stdout.subarray(24)), name).toBe(0);
    }
  });

  test('the same packets come out of every container', async () => {
    const path = (name: string): string => corpusPath(`formats/equivalent-modbus/${name}`);
    const base = (await readCapture(path('base-us-le.pcap'))).packets;
    expect(base).toHaveLength(166);
    const nanoseconds = (packet: PlainPacket): number => packet.nanoseconds;
    const content = (packet: PlainPacket): unknown => [packet.frame, packet.originalBytes, packet.linkType];
    const exact = ['us-be.pcap', 'ns-le.pcap', 'ns-be.pcap', 'modified-alexey.pcap', 'plain.pcapng', 'be-us.pcapng', 'le-ns.pcapng', 'le-tsoffset.pcapng', 'le-two-interfaces.pcapng', 'us-le.pcap.gz', 'us-le.pcap.zst', 'two-gzip-members.pcap.gz']; // prettier-ignore
    for (const name of exact) {
      const { packets, error } = await readCapture(path(name));
      expect(error, name).toBeNull();
      expect(packets.map(content), name).toEqual(base.map(content));
      expect(packets.map(nanoseconds), name).toEqual(base.map(nanoseconds));
    }
    // Coarser units lose what they cannot hold, and nothing else.
    for (const [name, unit] of [
      ['le-ms.pcapng', 1e6],
      ['le-2pow20.pcapng', 1e9 / 2 ** 20],
    ] as const) {
      const { packets } = await readCapture(path(name));
      expect(packets.map(content), name).toEqual(base.map(content));
      packets.forEach((packet, i) => {
        const lost = (base[i]?.nanoseconds ?? 0) - packet.nanoseconds;
        expect(lost >= 0 && lost < unit, `${name} ${i}`).toBe(true);
      });
    }
    const twice = await readCapture(path('le-then-be-sections.pcapng'));
    expect(twice.packets.map(content)).toEqual([...base, ...base].map(content));
    const timeless = await readCapture(path('le-spb-only.pcapng'));
    expect(timeless.packets.map(content)).toEqual(base.map(content));
    expect(timeless.file?.remarks.timeMissing).toBe(166);
  });

  test.each([
    ['http_post-block-len-0.pcapng', 1, 148, 'a block length of 0 is below the least, 12'],
    ['http_post-block-len-unaligned.pcapng', 1, 148, 'a block length of 101 is not a multiple of 4'],
    [
      'http_post-cut-in-block.pcapng',
      12,
      8472,
      'the file ends inside a block: 689 of its 1492 bytes are there',
    ],
    [
      'http_post-epb-caplen-huge.pcapng',
      1,
      148,
      'a captured length of 2147483647 bytes does not fit its block of 100',
    ],
    [
      'http_post-epb-unknown-interface.pcapng',
      1,
      148,
      'a packet names interface 999, but its section describes 1',
    ],
    ['http_post-shb-bad-bom.pcapng', 0, 0, 'a section header has no byte-order magic but 00000000'],
    ['http_post-trailer-mismatch.pcapng', 1, 148, 'a block says 100 bytes at its start and 104 at its end'],
    ['http_post-two-sections.pcapng', 42, null, ''],
    ['http_post-unknown-block.pcapng', 21, null, ''],
    ['modbus-bad-magic.pcap', 0, 0, 'it starts with deadbeef, not with a PCAP magic'],
    ['modbus-bitflips.pcap', 76, 6577, 'a captured length of 1107296256 bytes'],
    ['modbus-caplen-ffffffff.pcap', 83, 7166, 'a captured length of 4294967295 bytes'],
    [
      'modbus-caplen-off-by-5.pcap',
      85,
      7283,
      'the file ends inside a packet: 7579 of its 17664 bytes are there',
    ],
    ['modbus-cut-mid-global-header.pcap', 0, 0, 'the file ends inside its header: 17 of 24 bytes are there'],
    ['modbus-cut-mid-packet.pcap', 85, 7344, 'the file ends inside a packet: 76 of its 78 bytes are there'],
    [
      'modbus-cut-mid-record-header.pcap',
      0,
      24,
      'the file ends inside a record header: 7 of its 16 bytes are there',
    ],
    ['modbus-fifty-empty-packets.pcap', 50, null, ''],
    ['modbus-gz-truncated.pcap.gz', 160, 14376, 'the gzip data is cut short'],
    ['modbus-leading-garbage.pcap', 0, 0, 'not with a PCAP magic'],
    ['modbus-named-pcap-but-gzip.pcap', 166, null, ''],
    ['modbus-origlen-lt-caplen.pcap', 166, null, ''],
    ['modbus-random-bytes.pcap', 0, 0, 'not with a PCAP magic'],
    ['modbus-snaplen-40-but-longer.pcap', 166, null, ''],
    ['modbus-ts-max.pcap', 166, null, ''],
    ['modbus-two-files-concatenated.pcap', 166, 14878, 'a second file header stands where a record should'],
    ['modbus-unknown-linktype.pcap', 166, null, ''],
    ['modbus-version-9.9.pcap', 166, null, ''],
    ['modbus-zero-length.pcap', 0, 0, 'it is empty'],
  ])('%s gives %d packets and the reason at its offset', async (name, packetCount, offset, reason) => {
    const { packets, error } = await readCapture(corpusPath(`bad/derived/${name}`));
    expect(packets).toHaveLength(packetCount);
    if (offset === null) expect(error).toBeNull();
    else {
      expect(error?.code).toBe('PCAP_INVALID');
      expect(error?.context).toMatchObject({ offset, packetCount });
      expect(error?.context['reason']).toContain(reason);
    }
  });
});
