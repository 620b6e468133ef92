/** Who feels a controller for what it has is told, and who operates it is not; who then commands it is told louder. */
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { activateSession, writeNode } from './opcua-testing.ts';
import { connection, modbus, refused } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const CLIENT = '10.0.0.66:5000';
const SERVER = '10.0.0.2:502';

/** One connection in which each request, given as unit and PDU, has its answer, or '' for none. */
function talk(lines: readonly (readonly [number, readonly number[], readonly number[] | null])[], everyUs = 100_000): Packet[] {
  const packets = connection(CLIENT, SERVER, [], 0, false);
  let [there, back] = [101, 501];
  lines.forEach(([unit, question, answer], i) => {
    const timeUs = 10_000 + i * everyUs;
    const say = (pdu: readonly number[]): Buffer => {
      const message = Buffer.from(modbus(i, ...pdu));
      message[6] = unit;
      return message;
    };
    const payload = say(question);
    packets.push({ timeUs, frame: tcp(CLIENT, SERVER, 'PA', { sequence: there, payload }) });
    there += payload.byteLength;
    const reply = answer === null ? Buffer.alloc(0) : say(answer);
    packets.push({ timeUs: timeUs + 1000, frame: tcp(SERVER, CLIENT, 'PA', { sequence: back, payload: reply }) });
    back += reply.byteLength;
  });
  return packets;
} // prettier-ignore

function told(packets: readonly Packet[], rules: object = {}): string[] {
  const rig = new Rig({ rules }).add(packets).finish();
  return [...rig.alerts.values()]
    .filter(({ rule }) => /^ot-(probe|discovery|suspect-command)$/.test(rule))
    .map(({ rule, severity, technique }) => `${rule} ${severity} ${technique}`)
    .sort();
}

const read = (register: number): number[] => [3, register >> 8, register & 255, 0, 1];
const READ_ANSWER = [3, 2, 0, 7];
const times = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));

describe('stations behind a gateway', () => {
  it('that are tried one after the other and are not there are told', () => {
    expect(told(talk(times(40, (i) => [i, read(0), null])))).toEqual(['ot-probe medium T0846']);
    expect(told(talk(times(40, (i) => [i, read(0), [0x83, 0x0b]])))).toEqual(['ot-probe medium T0846']);
  });

  it('that are polled and answer are not, however many there are', () => {
    expect(told(talk(times(400, (i) => [i % 60, read(0), READ_ANSWER])))).toEqual([]);
  });

  it('of which a few are dead are not', () => {
    expect(told(talk(times(400, (i) => [i % 20, read(0), i % 20 < 5 ? null : READ_ANSWER])))).toEqual([]);
  });
});

describe('functions and addresses', () => {
  it('that are all refused are told', () => {
    const functions = times(20, (i) => [1, [60 + i], [0x80 | (60 + i), 1]] as const);
    expect(told(talk(functions))).toEqual(['ot-probe medium T0888']);
    const registers = times(60, (i) => [1, read(i * 10), [0x83, 2]] as const);
    expect(told(talk(registers))).toEqual(['ot-probe medium T0861']);
  });

  it('of which one is refused again and again are a wrong setting', () => {
    expect(told(talk(times(200, () => [1, read(7), [0x83, 2]])))).toEqual([]);
    expect(told(talk(times(200, (i) => [1, read(i % 100), i % 5 < 2 ? [0x83, 2] : READ_ANSWER])))).toEqual([]); // prettier-ignore
  });
});

describeWithCorpus('on a real capture', () => {
  it('a tool that asks for every address of DNP3 is told', async () => {
    const { alerts } = await analyzeCapture('ot/dnp3/dnp3.pcap');
    expect(alerts).toContainEqual(expect.objectContaining({ rule: 'ot-probe', severity: 'medium', source: '172.17.0.8' })); // prettier-ignore
  });

  it('a tool that tries every function of Modbus is told', async () => {
    const { alerts } = await analyzeCapture('ot/modbus/modbus_test_data_part2.pcap');
    expect(alerts).toContainEqual(expect.objectContaining({ rule: 'ot-probe', technique: 'T0888' }));
    expect(alerts.filter(({ severity }) => severity === 'high')).toEqual([]);
  });
});

describe('functions of DNP3', () => {
  /** A link frame around user data, by its CRCs. */
  const frame = (control: number, destination: number, source: number, user: string): Buffer => {
    const data = Buffer.from(user, 'hex');
    const header = Buffer.from([5, 0x64, 5 + data.byteLength, control, destination, 0, source, 0]);
    return Buffer.concat([header, crc(header), data, crc(data)]);
  };
  const crc = (bytes: Buffer): Buffer => {
    let value = 0;
    for (const byte of bytes) {
      value ^= byte;
      for (let i = 0; i < 8; i++) value = value & 1 ? (value >>> 1) ^ 0xa6bc : value >>> 1;
    }
    return Buffer.from([~value & 0xff, (~value >>> 8) & 0xff]);
  };

  it('that are refused are told apart by what was asked', () => {
    const lines = times(6, (i) => [
      ['>', frame(0xc4, 10, 1, `c0c1${(40 + i).toString(16)}`)],
      ['<', frame(0x44, 1, 10, 'c0c1810001')],
    ] as const).flat(); // prettier-ignore
    expect(told(connection('10.0.0.66:5000', '10.0.0.2:20000', lines, 0))).toEqual(['ot-probe medium T0888']);
  });
});

describe('identification', () => {
  const ask = (i: number): Packet[] =>
    connection(`10.0.0.66:${5000 + i}`, `10.0.1.${i}:502`, [['>', modbus(1, 17)]], i * SECOND);

  it('of one controller is a thing to know, of many a search', () => {
    expect(told(ask(1))).toEqual(['ot-discovery low T0888']);
    const many = told(times(12, ask).flat());
    expect(many.filter((one) => one.includes('medium'))).toEqual(['ot-discovery medium T0888']);
  });
});

describe('a command from who looked around', () => {
  const scan = times(12, (i) => refused(`10.0.0.66:${40_000 + i}`, `10.0.0.2:${1000 + i}`, i * 100_000)).flat(); // prettier-ignore
  const write = (client: string, timeUs: number): Packet[] =>
    connection(`${client}:5000`, SERVER, [['>', modbus(1, 6, 0, 1, 0, 2)]], timeUs);

  it('is told, within its time', () => {
    expect(told([...scan, ...write('10.0.0.66', 10 * SECOND)])).toEqual(['ot-suspect-command high T0855']);
    const rules = { ot_suspect_command: { within: '1m' } };
    expect(told([...scan, ...write('10.0.0.66', 70 * SECOND)], rules)).toEqual([]);
  });

  it('of another host is not', () => {
    expect(told([...scan, ...write('10.0.0.67', 10 * SECOND)])).toEqual([]);
  });

  it('is no louder than its probe when it is all that was caught', () => {
    const functions = times(20, (i) => [1, [60 + i], [0x80 | (60 + i), 1]] as const);
    const after = [...functions, [1, [6, 0, 1, 0, 2], [6, 0, 1, 0, 2]] as const];
    expect(told(talk(after))).toEqual(['ot-probe medium T0888', 'ot-suspect-command medium T0855']);
  });
});

describe('a command past those who should have a say', () => {
  const alerts = (packets: readonly Packet[]): string[] =>
    [...new Rig().add(packets).finish().alerts.values()].map(({ rule, severity }) => `${rule} ${severity}`);

  it('is one in an anonymous session, and none in a named one', () => {
    const session = (token: number): Packet[] =>
      connection('10.0.0.66:5000', '10.0.0.2:4840', [['>', activateSession(1, token)], ['>', writeNode(2)]], 0); // prettier-ignore
    expect(alerts(session(321))).toContain('opcua-anonymous low');
    expect(alerts(session(324)).join()).not.toContain('opcua-anonymous');
    expect(alerts(session(324))).toContain('ot-first-write low');
  });
});
