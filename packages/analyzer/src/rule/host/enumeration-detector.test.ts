/** Who asks services what there is: what is told, and whose daily work it is. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { udp, type Packet } from '../../packet/frame-testing.ts';
import { opaque, rpcCall, rpcReply, words } from '../../protocol/rpc-testing.ts';
import { sipMessage, snmpMessage } from '../../protocol/services-testing.ts';

const SECOND = 1_000_000;
const CLIENT = '10.0.0.66';

function told(packets: readonly Packet[]): string[] {
  const { alerts } = new Rig().add(packets).finish();
  return [...alerts.values()].filter(({ rule }) => /^(rpc-enumeration|sip-scan|brute-force|exploit)$/.test(rule)).map(({ rule, severity, destination }) => `${rule} ${severity} ${destination}`.trimEnd()).sort(); // prettier-ignore
}

function each(count: number, make: (i: number) => Packet[]): Packet[] {
  return Array.from({ length: count }, (_, i) => make(i)).flat();
}

const to = (server: string, payload: Uint8Array | string, timeUs: number, port: number): Packet => ({ timeUs, frame: udp(`${CLIENT}:${port === 5060 ? 40_000 : 900}`, `${server}:${port}`, { payload: Buffer.from(payload) }) }); // prettier-ignore
const back = (server: string, payload: Uint8Array | string, timeUs: number, port: number): Packet => ({ timeUs, frame: udp(`${server}:${port}`, `${CLIENT}:${port === 5060 ? 40_000 : 900}`, { payload: Buffer.from(payload) }) }); // prettier-ignore

describe('RPC', () => {
  it('is asked by who asks, also from a port of the kind that servers have', () => {
    const rig = new Rig()
      .add([to('10.0.0.2', rpcCall(100_232, 10, 1, opaque('../../bin/sh')), 0, 32_773)])
      .finish();
    expect(rig.alert('exploit')).toMatchObject({ source: CLIENT, destination: '10.0.0.2' });
    expect(rig.flows[0]).toMatchObject({ client: CLIENT });
  });

  it('is asked of one host by people, and of many by others', () => {
    const list = (count: number): Packet[] => each(count, (i) => [to(`10.0.1.${i}`, rpcCall(100_000, 2, 4), i * SECOND, 111)]); // prettier-ignore
    expect(told(list(1))).toEqual(['rpc-enumeration low 10.0.1.0']);
    expect(told(list(4))).toContain('rpc-enumeration medium');
  });

  it('programs with holes are looked for, those of NFS are used', () => {
    const ask = (program: number): Packet[] => each(6, (i) => [to(`10.0.1.${i}`, rpcCall(100_000, 2, 3, words(program, 2, 17, 0)), i * SECOND, 111)]); // prettier-ignore
    expect(told(ask(100_232))).toEqual(['rpc-enumeration medium']);
    expect(told(ask(100_003))).toEqual([]);
  });

  it('on a port that the port mapper named is known by its shape', () => {
    const rig = new Rig().add([
      to('10.0.1.1', rpcCall(100_000, 2, 3, words(100_005, 1, 17, 0)), 0, 111),
      back('10.0.1.1', rpcReply(words(665)), 1000, 111),
      to('10.0.1.1', rpcCall(100_005, 1, 5), 2000, 665),
      back('10.0.1.1', rpcReply(words(0)), 3000, 665),
    ]);
    rig.finish();
    expect(rig.flows.map(({ service }) => service)).toEqual(['rpc', 'rpc']);
    expect(rig.alert('rpc-enumeration')?.evidence).toContain('exports');
  });
});

describe('SNMP', () => {
  const tried = (count: number, isAnswered: boolean): Packet[] =>
    each(count, (i) => {
      const ask = to('10.0.1.1', snmpMessage(`word${i}`), i * SECOND, 161);
      return isAnswered ? [ask, back('10.0.1.1', snmpMessage(`word${i}`, 0xa2), i * SECOND + 1000, 161)] : [ask]; // prettier-ignore
    });

  it('communities that nobody answers are guessed', () => {
    expect(told(tried(6, false))).toEqual(['brute-force high 10.0.1.1']);
    expect(told(tried(5, false))).toEqual([]);
    expect(told(tried(12, true))).toEqual([]);
  });

  it('one community is asked all day, answered or not, and so are its contexts', () => {
    expect(told(each(40, (i) => [to('10.0.1.1', snmpMessage(`plant@${i}`), i * SECOND, 161)]))).toEqual([]);
  });
});

describe('SIP', () => {
  const options = (i: number): string => sipMessage(`OPTIONS sip:7@10.0.1.${i} SIP/2.0`, '7', `b${i}`);
  const register = (i: number, more = ''): string => sipMessage('REGISTER sip:10.0.1.1 SIP/2.0', `${100 + i}`, `b${i}`, more); // prettier-ignore
  const answer = (i: number, status: string): string =>
    sipMessage(`SIP/2.0 ${status}`, `${100 + i}`, `b${i}`);

  it('systems that do not answer are looked for; those that do are kept an eye on', () => {
    expect(told(each(10, (i) => [to(`10.0.1.${i}`, options(i), i * SECOND, 5060)]))).toEqual(['sip-scan medium']); // prettier-ignore
    expect(told(each(30, (i) => [to(`10.0.1.${i}`, options(i), i * SECOND, 5060), back(`10.0.1.${i}`, answer(i, '200 OK'), i * SECOND + 1000, 5060)]))).toEqual([]); // prettier-ignore
  });

  it('a telephone system asks for its telephones, also for those that are off', () => {
    const registered: Packet = { timeUs: 0, frame: udp('10.0.1.50:40000', `${CLIENT}:5060`, { payload: Buffer.from(register(1)) }) }; // prettier-ignore
    expect(told([registered, ...each(30, (i) => [to(`10.0.1.${i}`, options(i), i * SECOND, 5060)])])).toEqual([]); // prettier-ignore
  });

  it('subscribers that are not there are searched for', () => {
    const search = (status: string): Packet[] => each(10, (i) => [to('10.0.1.1', register(i), i * SECOND, 5060), back('10.0.1.1', answer(i, status), i * SECOND + 1000, 5060)]); // prettier-ignore
    expect(told(search('404 Not Found'))).toEqual(['sip-scan medium 10.0.1.1']);
    expect(told(search('401 Unauthorized'))).toEqual([]);
    expect(told(search('200 OK'))).toEqual([]);
  });

  it('passwords are guessed where answers are refused', () => {
    const authorization = 'Authorization: Digest username="100"\r\n';
    const guess = (status: string): Packet[] => each(8, (i) => [to('10.0.1.1', register(0, authorization), i * SECOND, 5060), back('10.0.1.1', answer(0, status), i * SECOND + 1000, 5060)]); // prettier-ignore
    expect(told(guess('401 Unauthorized'))).toEqual(['brute-force high 10.0.1.1']);
    expect(told(guess('200 OK'))).toEqual([]);
  });

  it('a tool says its name', () => {
    expect(told([to('10.0.1.1', register(0, 'User-Agent: friendly-scanner\r\n'), 0, 5060)])).toEqual(['sip-scan medium 10.0.1.1']); // prettier-ignore
    expect(told([to('10.0.1.1', register(0, 'User-Agent: Asterisk PBX\r\n'), 0, 5060)])).toEqual([]);
  });
});
