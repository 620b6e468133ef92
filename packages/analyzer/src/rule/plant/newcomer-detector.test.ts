/** Who is new and asks a device what it is, is told as something to know; who also searches for the processor, or tries policy after policy, louder. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { connection } from '../traffic-testing.ts';

const SECOND = 1_000_000;
type Line = readonly ['>' | '<', Uint8Array];

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const connect = (slot: number): Line => [
  '>',
  hex(`03000016 11e0 0000 0001 00 c0010a c1020100 c202010${slot}`),
];
const CONFIRMED: Line = ['<', hex('03000016 11d0 0001 0002 00 c0010a c1020100 c2020102')];
const SETUP: Line = ['>', hex('03000019 02f080 32010000 0100 0008 0000 f0000001000101e0')];
const szl = (list: string): Line => ['>', hex(`03000021 02f080 32070000 0b00 0008 0008 00011204 1144 01 00 ff09 0004 ${list} 0001`)]; // prettier-ignore
const READ: Line = ['>', hex('0300001f 02f080 32010000 0600 000e 0000 0401 120a 10 02 0004 0000 82 000009')];

function visit(index: number, server: string, lines: readonly Line[], timeUs = index * SECOND): Packet[] {
  return connection(`10.0.0.66:${5000 + index}`, server, lines, timeUs);
}

function told(packets: readonly Packet[]): string[] {
  return [...new Rig().add(packets).finish().alerts.values()]
    .filter(({ rule }) => /^ot-(discovery|probe)$/.test(rule))
    .map(({ rule, severity, technique }) => `${rule} ${severity} ${technique}`);
}

describe('a Siemens controller', () => {
  const server = '10.0.0.2:102';
  const opened: readonly Line[] = [connect(2), CONFIRMED, SETUP];

  it('that a newcomer asks for its identity is told as low, and nothing of other lists', () => {
    expect(told(visit(0, server, [...opened, szl('0011')]))).toEqual(['ot-discovery low T0888']);
    expect(told(visit(0, server, [...opened, szl('001c')]))).toEqual(['ot-discovery low T0888']);
    expect(told(visit(0, server, [...opened, szl('0132')]))).toEqual([]);
  });

  it('whose processor is searched for first is told louder', () => {
    const search = [...visit(0, server, [connect(1)]), ...visit(1, server, [...opened, szl('0011')])];
    expect(told(search)).toContain('ot-discovery medium T0888');
  });

  it('that is called by two clients of one panel, both answered, is not searched', () => {
    const two = [...visit(0, server, [connect(1), CONFIRMED, SETUP, READ]), ...visit(1, server, [...opened, szl('0011')])]; // prettier-ignore
    expect(told(two)).toEqual(['ot-discovery low T0888']);
  });

  it('that is asked by who has long been there is not told', () => {
    const known = visit(0, server, [...opened, READ]);
    expect(told([...known, ...visit(1, server, [...opened, szl('0011')], 90 * SECOND)])).toEqual([]);
  });

  it('with which a session is opened and dropped is told, unless something was asked in it', () => {
    expect(told(visit(0, server, opened))).toEqual(['ot-discovery low T0888']);
    expect(told(visit(0, server, [...opened, READ]))).toEqual([]);
  });
});

describe('a server of OPC UA', () => {
  const server = '10.0.0.2:4840';
  const policy = (name: string): Line => {
    const uri = Buffer.from(`http://opcfoundation.org/UA/SecurityPolicy#${name}`);
    const message = Buffer.concat([Buffer.alloc(16), uri, Buffer.alloc(24, 0xff)]);
    message.write('OPNF');
    message.writeUInt32LE(message.byteLength, 4);
    message.writeUInt32LE(uri.byteLength, 12);
    return ['>', message];
  };
  /** GetEndpoints, or what begins a session, in a channel without security. */
  const service = (type: number): Line => {
    const code = Buffer.alloc(2);
    code.writeUInt16LE(type);
    const message = Buffer.concat([Buffer.alloc(24), hex('0100'), code, Buffer.alloc(40)]);
    message.write('MSGF');
    message.writeUInt32LE(message.byteLength, 4);
    return ['>', message];
  };
  const hello: Line = ['>', hex('48454c46 20000000 00000000 ffff0000 ffff0000 00000000 00000000 00000000')];
  const endpoints = [hello, policy('None'), service(428)];
  const wordless = [visit(0, server, []), visit(1, server, [])].flat();

  it('with which policy after policy is tried is told', () => {
    const names = ['None', 'Basic128Rsa15', 'Basic256', 'Basic256Sha256'];
    const tried = (count: number): Packet[] => names.slice(0, count).flatMap((name, i) => visit(i, server, [hello, policy(name)])); // prettier-ignore
    expect(told(tried(4))).toEqual(['ot-probe medium T0888']);
    expect(told(tried(2))).toEqual([]);
  });

  it('that is knocked at and asked for its endpoints, and nothing else, is told as low', () => {
    expect(told([...wordless, ...visit(2, server, endpoints)])).toEqual(['ot-discovery low T0888']);
    expect(told(visit(2, server, endpoints))).toEqual([]);
  });

  it('that is asked by who has a session with it is not told', () => {
    const session = visit(3, server, [hello, policy('None'), service(461)]);
    expect(told([...session, ...wordless, ...visit(4, server, endpoints)])).toEqual([]);
  });
});
