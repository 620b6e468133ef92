/** The UDP tunnel in docs/protocol.md is a promise too: its datagrams are built here from its text, byte by byte. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeGroup, encodeGroup, groupShape } from './datagram-group.ts';
import { DatagramSeal } from './datagram-seal.ts';
import {
  GROUP_BYTES_MAX,
  GROUP_BYTES_MIN,
  openChecksummed,
  readDatagramHeader,
  writeDatagramChecksum,
  writeDatagramHeader,
} from './datagram.ts';
import { decodeBye, encodeBye } from './messages.ts';
import { encodeParity, restoreShards } from './reed-solomon.ts';

const text = readFileSync(new URL('../../../../docs/protocol.md', import.meta.url), 'utf8');

function example(name: string): Buffer {
  const hex = new RegExp(`^\`\`\`datagram ${name}\n([0-9a-f \n]+)\`\`\`$`, 'm').exec(text)?.[1] ?? '';
  return Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
}

const secret = Uint8Array.from({ length: 32 }, (_, i) => i);
const prefix = {
  sequence: 2,
  packets: 4,
  bytes: 222,
  oldestNs: 1767225600123456789n,
  newestNs: 1767225602000000000n,
};

describe('the worked datagrams in docs/protocol.md', () => {
  it('are what a sender makes of the group in the text', () => {
    const frame = encodeBye({ reason: 'done' });
    const groupBytes = 40 + frame.byteLength;
    const shape = groupShape(groupBytes, 32, { data: 10, parity: 2 });
    expect(shape).toEqual({ dataShards: 3, parityShards: 1, shardBytes: 30 });
    const data = encodeGroup(prefix, frame, 90);
    const all = Buffer.concat([data, encodeParity(data, 3, 1, 30)]);
    const build = (shard: number, cipher: number): Buffer => {
      const bytes = Buffer.alloc(40 + 30 + (cipher === 0 ? 4 : 16));
      writeDatagramHeader(bytes, {
        cipher,
        keyId: cipher === 0 ? 0 : 1,
        epochSeconds: 0x6955b900,
        epochRandom: 0x89abcdef,
        number: 20 + shard,
        group: 5,
        following: 3 - shard,
        groupBytes,
        shard,
        dataShards: 3,
        parityShards: 1,
      });
      bytes.set(all.subarray(shard * 30, (shard + 1) * 30), 40);
      if (cipher === 0) writeDatagramChecksum(bytes);
      else new DatagramSeal(secret, cipher).seal(bytes, 20 + shard);
      return bytes;
    };
    for (let shard = 0; shard < 4; shard++)
      expect(build(shard, 0), `DATAGRAM${shard}`).toEqual(example(`DATAGRAM${shard}`));
    expect(build(0, 1)).toEqual(example('SEALED'));
    expect(build(0, 2)).toEqual(example('SEALED2'));
  });

  it('give the group back when any one of the four is missing', () => {
    for (let missing = 0; missing < 4; missing++) {
      const shards = [0, 1, 2, 3].map((shard) =>
        shard === missing ? null : openChecksummed(example(`DATAGRAM${shard}`)),
      );
      expect(restoreShards(shards, 3, 1, 30)).toBe(true);
      const { prefix: found, frame } = decodeGroup(
        Buffer.concat(shards.slice(0, 3) as Uint8Array[]).subarray(0, 89),
      );
      expect(found).toEqual(prefix);
      expect(decodeBye(frame)).toEqual({ reason: 'done' });
    }
  });

  it('hold the same shard sealed as plain', () => {
    for (const [name, cipher] of [
      ['SEALED', 1],
      ['SEALED2', 2],
    ] as const) {
      expect(readDatagramHeader(example(name))).toMatchObject({ cipher, keyId: 1, number: 20 });
      const shard = new DatagramSeal(secret, cipher).open(example(name), 20);
      expect(shard).toEqual(openChecksummed(example('DATAGRAM0')));
    }
  });

  it('keep the limits that the page states', () => {
    for (const limit of [GROUP_BYTES_MIN, GROUP_BYTES_MAX])
      expect(text).toContain(limit.toLocaleString('en-US'));
  });
});
