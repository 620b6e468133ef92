/** docs/protocol.md is a promise to people who write their own client: what it shows and states must be what we do. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BATCH_BYTES_MAX } from '../packet/batch.ts';
import { PACKET_BYTES_MAX } from '../packet/record.ts';
import {
  BATCH_PAYLOAD_BYTES_MAX,
  CONTROL_PAYLOAD_BYTES_MAX,
  FRAME_ACK,
  FRAME_BATCH,
  FRAME_TYPE_LAST,
  FRAME_GAP,
  FRAME_HELLO,
  FRAME_WELCOME,
  encodeFrame,
  frameTypeName,
  type Frame,
} from './frame.ts';
import {
  decodeBye,
  decodeGap,
  decodeHeartbeat,
  decodeHello,
  decodeLane,
  decodeRefuse,
  decodeReport,
  decodeWelcome,
  encodeBye,
  encodeGap,
  encodeHeartbeat,
  encodeHello,
  encodeLane,
  encodeRefuse,
  encodeReport,
  encodeWelcome,
  type RefuseCode,
} from './messages.ts';
import {
  ANSWER_PLAIN_BYTES_MAX,
  decodeAnswer,
  decodeAnswered,
  decodeCredit,
  decodeQuery,
  encodeAnswer,
  encodeAnswered,
  encodeCredit,
  encodeQuery,
} from './edge-messages.ts';
import { decodeBatch, encodeBatch } from './packet-batch.ts';
import { copyOfRecords, decodeChunks } from './tunnel-test-support.ts';

const text = readFileSync(new URL('../../../../docs/protocol.md', import.meta.url), 'utf8');

/** The hex blocks of the document, by the frame's name. */
const examples = new Map(
  [...text.matchAll(/^```hex ([\w ]+)\n([0-9a-f \n]+)```$/gm)].map(([, name = '', hex = '']) => [
    name,
    Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'),
  ]),
);

function example(name: string): { bytes: Buffer; frame: Frame } {
  const bytes = examples.get(name) ?? Buffer.alloc(0);
  const frames = decodeChunks([bytes]);
  expect(frames).toHaveLength(1);
  return { bytes, frame: frames[0] as Frame };
}

describe('the worked example in docs/protocol.md', () => {
  it('decodes to what the text says, and encodes to the same bytes', () => {
    const hello = example('HELLO');
    expect(hello.frame.type).toBe(FRAME_HELLO);
    expect(decodeHello(hello.frame)).toMatchObject({
      sensor: 'p1',
      epoch: '0123456789abcdef',
      firstSequence: 1,
    });
    expect(Buffer.from(encodeHello(decodeHello(hello.frame)))).toEqual(hello.bytes);

    const welcome = example('WELCOME');
    expect(welcome.frame.type).toBe(FRAME_WELCOME);
    expect(Buffer.from(encodeWelcome(decodeWelcome(welcome.frame)))).toEqual(welcome.bytes);

    const batch = example('BATCH');
    expect(batch.frame).toMatchObject({ type: FRAME_BATCH, sequence: 1, packetCount: 1 });
    expect(decodeBatch(batch.frame)).toMatchObject({
      packetCount: 1,
      linkType: 1,
      interfaceId: 0,
      byteLength: 58,
    });
    expect(encodeBatch(decodeBatch(batch.frame), 1, 'none')).toEqual(batch.bytes);

    const gap = example('GAP');
    expect(gap.frame).toMatchObject({ type: FRAME_GAP, sequence: 2 });
    const { firstSequence, ...message } = decodeGap(gap.frame);
    expect([firstSequence, message.packets]).toEqual([2, 3]);
    expect(Buffer.from(encodeGap(message, 2))).toEqual(gap.bytes);

    const ack = example('ACK');
    expect(Buffer.from(encodeFrame(FRAME_ACK, 2, new Uint8Array(0)))).toEqual(ack.bytes);
    const bye = example('BYE');
    expect(Buffer.from(encodeBye(decodeBye(bye.frame)))).toEqual(bye.bytes);
  });

  it('shows the other types and codecs as they are', () => {
    const lane = example('LANE');
    expect(Buffer.from(encodeLane(decodeLane(lane.frame)))).toEqual(lane.bytes);
    const report = example('REPORT');
    expect(Buffer.from(encodeReport(decodeReport(report.frame)))).toEqual(report.bytes);
    const heartbeat = example('HEARTBEAT');
    expect(Buffer.from(encodeHeartbeat(decodeHeartbeat(heartbeat.frame)))).toEqual(heartbeat.bytes);
    const refuse = example('REFUSE');
    const { code, sentence } = decodeRefuse(refuse.frame);
    expect(Buffer.from(encodeRefuse(code as RefuseCode, sentence))).toEqual(refuse.bytes);
    const query = example('QUERY');
    expect(Buffer.from(encodeQuery(decodeQuery(query.frame)))).toEqual(query.bytes);
    const credit = example('CREDIT');
    expect(Buffer.from(encodeCredit(decodeCredit(credit.frame)))).toEqual(credit.bytes);
    const answered = example('ANSWERED');
    expect(Buffer.from(encodeAnswered(decodeAnswered(answered.frame)))).toEqual(answered.bytes);
    const answer = decodeAnswer(example('ANSWER').frame);
    expect(answer).toMatchObject({ id: 1, packets: 1, linkType: 101 });
    expect(decodeAnswer(decodeChunks([encodeAnswer(answer)])[0] as Frame)).toEqual(answer);
    const zstd = example('BATCH zstd');
    const lz4 = example('BATCH lz4');
    expect([zstd.frame.lane, zstd.frame.codec, lz4.frame.codec]).toEqual([1, 1, 2]);
    expect(copyOfRecords(decodeBatch(zstd.frame))).toEqual(copyOfRecords(decodeBatch(lz4.frame)));
    expect(decodeBatch(lz4.frame).packetCount).toBe(3);
  });
});

describe('docs/protocol.md', () => {
  it('states the limits that hold', () => {
    const grouped = (value: number): string => value.toLocaleString('en-US');
    for (const limit of [
      BATCH_PAYLOAD_BYTES_MAX,
      CONTROL_PAYLOAD_BYTES_MAX,
      PACKET_BYTES_MAX,
      ANSWER_PLAIN_BYTES_MAX,
    ])
      expect(text).toContain(grouped(limit));
    expect(BATCH_PAYLOAD_BYTES_MAX).toBe(24 + BATCH_BYTES_MAX);
  });

  it('lists every type by its number', () => {
    for (let type = FRAME_HELLO; type <= FRAME_TYPE_LAST; type++)
      expect(text).toMatch(new RegExp(`^\\| ${String(type)} \\| ${frameTypeName(type)} \\|`, 'm'));
  });
});
