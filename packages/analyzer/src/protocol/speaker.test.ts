/** Who speaks, by what is said: messages by hand, noise, and every first word of real conversations whose SYN was seen. */
import fc from 'fast-check';
import { readCapture } from '@tapline/shared/pcap/testing.ts';
import { describe, expect, it } from 'vitest';
import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { PacketView, TCP_ACK, TCP_SYN, locatePacket } from '../packet/packet-view.ts';
import { fromHex } from './ot-test-support.ts';
import { ANSWERS, ASKS, UNKNOWN, speakerOf } from './speaker.ts';

const said = (hex: string) => {
  const bytes = fromHex(hex);
  return speakerOf(bytes, 0, bytes.byteLength);
};

const WORDS: readonly (readonly [string, string, number])[] = [
  ['Modbus reads registers', '0001 0000 0006 01 03 0000 000a', ASKS],
  ['Modbus answers with registers', '0001 0000 0007 01 03 04 00010002', ANSWERS],
  ['Modbus refuses', '0001 0000 0003 01 83 02', ANSWERS],
  ['Modbus writes registers', '0001 0000 000b 01 10 0000 0002 04 00010002', ASKS],
  ['Modbus has written registers', '0001 0000 0006 01 10 0000 0002', ANSWERS],
  ['Modbus writes one register, or says that it did', '0001 0000 0006 01 06 0000 0002', UNKNOWN],
  ['three bytes of coils, or a question', '0001 0000 0006 01 01 03 010101', UNKNOWN],
  ['S7 asks for a connection', '0300 0016 11 e0 0000 0001 00 c0010a c1020100 c2020102', ASKS],
  ['S7 reads', '0300 001f 02f080 3201 0000 0100 000e 0000 0401 120a10 02 0001 0001 84 000000', ASKS],
  ['S7 answers', '0300 001a 02f080 3203 0000 0100 0002 0005 0000 0401 ff04 0008 01', ANSWERS],
  ['DNP3 reads', '0564 08 c4 0a00 0100 fc42 c0 c1 01 0000', ASKS],
  ['DNP3 reports of its own accord', '0564 0a 44 0100 0a00 6e25 c0 f0 82 8000 0000', ANSWERS],
  ['DNP3 asks for the link, as a master', '0564 05 c9 0a00 0100 d6e0', ASKS],
  ['IEC 104 starts', '6804 07000000', ASKS],
  ['IEC 104 has started', '6804 0b000000', ANSWERS],
  ['IEC 104 keeps the connection up', '6804 43000000', UNKNOWN],
  ['IEC 104 operates', '680e 0000 0000 2d 01 06 00 0100 010000 01', ASKS],
  ['IEC 104 confirms', '680e 0000 0000 2d 01 07 00 0100 010000 01', ANSWERS],
  ['IEC 104 reports', '680e 0000 0000 01 01 03 00 0100 010000 01', ANSWERS],
  ['EtherNet/IP registers', '6500 0400 00000000 00000000 0000000000000000 00000000 01000000', ASKS],
  ['EtherNet/IP is registered', '6500 0400 07000000 00000000 0000000000000000 00000000 01000000', ANSWERS],
  ['CIP asks', '6f00 1600 07000000 00000000 0000000000000000 00000000 00000000 0000 0200 00000000 b2000600 0e0220012401', ASKS],
  ['CIP answers', '6f00 1600 07000000 00000000 0000000000000000 00000000 00000000 0000 0200 00000000 b2000600 8e0000000100', ANSWERS],
  ['OPC UA says hello', '48454c46 20000000 00000000 00000100 00000100 00000000 00000000 00000000', ASKS],
  ['OPC UA hears it', '41434b46 1c000000 00000000 00000100 00000100 00000000 00000000', ANSWERS],
  ['somebody else', '474554202f20485454502f312e310d0a0d0a', UNKNOWN],
  ['nothing', '', UNKNOWN],
]; // prettier-ignore

/** DNP3's CRC stands where `hex` has a wrong one: of the header's first eight bytes. */
function sealed(hex: string): string {
  const bytes = fromHex(hex);
  if (bytes[0] !== 0x05 || bytes[1] !== 0x64) return hex;
  let crc = 0;
  for (const byte of bytes.subarray(0, 8)) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xa6bc : crc >>> 1;
  }
  bytes[8] = ~crc & 0xff;
  bytes[9] = (~crc >>> 8) & 0xff;
  return Buffer.from(bytes).toString('hex');
}

describe('who speaks is told by what is said:', () => {
  it.each(WORDS)('%s', (_, hex, speaker) => {
    expect(said(sealed(hex))).toBe(speaker);
  });

  it('of any bytes, without a look outside them', () => {
    const samples = WORDS.map(([, hex]) => fromHex(sealed(hex)));
    const cut = fc.tuple(fc.constantFrom(...samples), fc.nat(80)).map(([bytes, end]) => bytes.slice(0, end));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), cut), fc.nat(255), (bytes, filler) => {
        const wide = new Uint8Array(bytes.byteLength + 60).fill(filler);
        wide.set(bytes, 7);
        expect(speakerOf(wide, 7, 7 + bytes.byteLength)).toBe(speakerOf(bytes, 0, bytes.byteLength));
      }),
      { numRuns: 2000 },
    );
  });
});

describeWithCorpus('of conversations whose SYN was seen', () => {
  it('no word is given to the wrong side', async () => {
    let judged = 0;
    for (const folder of ['ot/modbus', 'ot/s7', 'ot/iec104', 'ot/enip-cip', 'ot/dnp3', 'ot/opcua'])
      for (const { path, name } of corpusFiles(folder)) {
        // Broken on purpose, or with the roles turned round on purpose.
        if (/fuzz|modbus_test_data_part1|iec104_a/.test(name)) continue;
        const clients = new Set<string>();
        const view = new PacketView();
        for (const packet of (await readCapture(path)).packets) {
          const frame = new Uint8Array(Buffer.from(packet.frame, 'hex'));
          view.timeUs = 0;
          view.wireBytes = frame.byteLength;
          locatePacket(view, packet.linkType, frame, 0, frame.byteLength);
          if (view.protocol !== 6) continue;
          const { sourcePort, destinationPort, payloadOffset, payloadEnd } = view;
          if ((view.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN)
            clients.add(`${sourcePort} ${destinationPort}`);
          const isClient = clients.has(`${sourcePort} ${destinationPort}`);
          if (!isClient && !clients.has(`${destinationPort} ${sourcePort}`)) continue;
          const speaker = speakerOf(frame, payloadOffset, payloadEnd);
          if (speaker === UNKNOWN) continue;
          judged++;
          expect(speaker, `${name} ${sourcePort} ${destinationPort} ${Buffer.from(frame.subarray(payloadOffset, payloadEnd)).toString('hex')}`).toBe(isClient ? ASKS : ANSWERS); // prettier-ignore
        }
      }
    expect(judged).toBeGreaterThan(10_000);
  });
});
