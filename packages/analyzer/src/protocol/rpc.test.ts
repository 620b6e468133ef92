/** ONC RPC by hand: what is called, what is answered, and arguments that no program asks for. */
import { describe, expect, it, test } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { dissectOne, replay, testHostileBytes, tsharkValues } from './it-testing.ts';
import { rpc, rpcOverTcp } from './rpc.ts';
import { opaque, overTcp, rpcCall, rpcReply, words } from './rpc-testing.ts';

const GETPORT = rpcCall(100_000, 2, 3, words(100_232, 10, 17, 0), 7);
const PORT = rpcReply(words(32_773), 7);

describe('a call', () => {
  it('is told by program and procedure, and its reply by it', () => {
    const memory: Memory = {};
    expect(dissectOne(rpc, GETPORT, { memory }).operations).toMatchObject([{ name: 'portmap:getport', action: 'discover', object: 'sadmind' }]); // prettier-ignore
    expect(dissectOne(rpc, PORT, { memory, isFromClient: false }).operations).toMatchObject([{ name: 'portmap:getport', isResponse: true, object: 'sadmind', value: 32_773, exception: '' }]); // prettier-ignore
    expect(dissectOne(rpc, PORT, { memory, isFromClient: false }).operations).toEqual([]);
  });

  it('of a program that is not there is refused', () => {
    const memory: Memory = {};
    dissectOne(rpc, GETPORT, { memory });
    expect(dissectOne(rpc, rpcReply(words(0), 7), { memory, isFromClient: false }).operations).toMatchObject([{ exception: 'not-registered' }]); // prettier-ignore
  });

  it('of NFS has the names of its version, and files are not read', () => {
    expect(dissectOne(rpc, rpcCall(100_003, 2, 8, Buffer.alloc(400, 0x41))).operations).toMatchObject([{ name: 'nfs:write', action: 'file', object: '' }]); // prettier-ignore
    expect(dissectOne(rpc, rpcCall(100_003, 3, 7, Buffer.alloc(400, 0x41))).facts).toEqual([]);
    expect(dissectOne(rpc, rpcCall(100_003, 3, 7)).names()).toEqual(['nfs:write']);
  });

  it('of the mount daemon names the path', () => {
    expect(dissectOne(rpc, rpcCall(100_005, 3, 1, opaque('/export/home'))).operations).toMatchObject([{ name: 'mount:mnt', object: '/export/home' }]); // prettier-ignore
    expect(dissectOne(rpc, rpcCall(100_005, 1, 5)).names()).toEqual(['mount:export']);
  });

  it('over TCP stands behind its mark, and is known on any port', () => {
    const record = overTcp(GETPORT);
    expect(rpcOverTcp.messageBytes?.(record, 0, record.byteLength)).toBe(record.byteLength);
    expect(rpcOverTcp.messageBytes?.(record, 0, 3)).toBe(NEED_MORE);
    expect(rpcOverTcp.messageBytes?.(Buffer.from('GET / HTTP/1.1'), 0, 14)).toBe(NOT_OURS);
    expect(dissectOne(rpcOverTcp, record).names()).toEqual(['portmap:getport']);
    expect(rpcOverTcp.looksLike?.(record, 0, record.byteLength)).toBe(true);
    expect(rpc.looksLikeDatagram?.(GETPORT, 0, GETPORT.byteLength)).toBe(true);
    expect(rpc.looksLikeDatagram?.(PORT, 0, PORT.byteLength)).toBe(false);
  });
});

test.each([
  ['sled', rpcCall(100_232, 10, 1, Buffer.alloc(400, Buffer.from('801c4011', 'hex')))],
  ['sled', rpcCall(100_068, 4, 21, Buffer.alloc(300, 0x90))],
  ['shell-path', rpcCall(100_232, 10, 1, opaque('../../../../../bin/sh -c id'))],
  ['format-string', rpcCall(100_024, 1, 1, opaque('%8x%8x%8x%8x%62716x%hn%51859x%hn'))],
  ['overlong', rpcCall(100_005, 1, 1, opaque('/'.padEnd(1500, 'ab/')))],
])('arguments that no program asks for are told: %s', (fact, call) => {
  expect(dissectOne(rpc, call).facts.map(([key]) => key)).toContain(fact);
});

test('a host’s name and an honest path are nothing to tell', () => {
  expect(dissectOne(rpc, rpcCall(100_024, 1, 2, opaque('client.plant.example'))).facts).toEqual([]);
  expect(dissectOne(rpc, rpcCall(100_005, 3, 1, opaque('/export/100% new'))).facts).toEqual([]);
  expect(dissectOne(rpc, rpcCall(100_004, 2, 3, Buffer.alloc(400))).facts).toEqual([]);
});

testHostileBytes(rpc, [GETPORT, PORT, rpcCall(100_024, 1, 2, opaque('%n%x%x%x')), rpcCall(100_232, 10, 1, Buffer.alloc(200, 0x41))]); // prettier-ignore
testHostileBytes(rpcOverTcp, [overTcp(GETPORT), overTcp(PORT), overTcp(rpcCall(100_003, 3, 7, Buffer.alloc(64)))]); // prettier-ignore

describeWithCorpus('over a real capture', () => {
  test('calls are those of tshark', async () => {
    const path = corpusPath('formats/pcap-be/nfsv2.pcap');
    const calls = tsharkValues(path, 'rpc.msgtyp == 0', 'rpc.procedure').length;
    const { operations } = await replay(path, rpc, [111, 2049, 671, 686, 1023]);
    expect(operations.filter(({ isResponse }) => !isResponse).length).toBe(calls);
    expect(calls).toBeGreaterThan(50);
  });
});
