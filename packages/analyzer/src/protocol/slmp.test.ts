/** SLMP and MELSOFT: messages by hand, noise, a real capture, and what the rules make of them. */
import { describe, expect, it, test } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../engine-testing.ts';
import { udp } from '../packet/frame-testing.ts';
import { connection } from '../rule/traffic-testing.ts';
import { checkTotal, fromHex, hear, hearCapture, tally } from './ot-test-support.ts';
import { slmp } from './slmp.ts';
import { ANSWERS, ASKS, speakerOf } from './speaker.ts';

const ROUTE = '00 ff ff03 00';

function counted(head: string, body: string): Uint8Array {
  const bytes = fromHex(body);
  return Uint8Array.of(...fromHex(head), bytes.byteLength & 255, bytes.byteLength >> 8, ...bytes);
}

const ask = (body: string): Uint8Array => counted(`5000 ${ROUTE}`, `1000 ${body}`);
const say = (body: string): Uint8Array => counted(`d000 ${ROUTE}`, body);
const ask4 = (serial: string, body: string): Uint8Array =>
  counted(`5400 ${serial} 0000 ${ROUTE}`, `1000 ${body}`);
const say4 = (serial: string, body: string): Uint8Array => counted(`d400 ${serial} 0000 ${ROUTE}`, body);
/** Seventeen bytes up to where the engineering tool's function stands. */
const tool = (body: string): Uint8Array => counted('57 01000000 1111 07 0000 ffff 03 0000 fe 03 0000', `1c 0a 16 14 ${'00'.repeat(20)} ${body}`); // prettier-ignore
const toolSays = (endCode: string, body: string): Uint8Array => counted('d7 01000000 1111 7f 000000 a803 00 ffff 03 0000', `9c 0a 18 14 ${endCode} ${'00'.repeat(20)} ${body}`); // prettier-ignore

const UNLOCK = ask('3016 0000 0400 31323334');
const REFUSED = say(`00c2 ${ROUTE} 3016 0000`);
const STOP = ask('0210 0000 0100');

describe('messages by hand', () => {
  test.each([
    ['0104 0000 640000 a8 0300', 'read', 'read', 'D100', 3, NaN],
    ['0104 0100 1f0000 9c 1000', 'read', 'read', 'X1F', 16, NaN],
    ['0104 0200 40e20100 a800 0100', 'read', 'read', 'D123456', 1, NaN],
    ['0114 0000 640000 a8 0200 3930 0000', 'write', 'write', 'D100', 2, 12345],
    ['0114 0100 0a0000 90 0300 10 10', 'write', 'write', 'M10', 3, 1],
    ['0304 0000 02 01 640000 a8 650000 a8 000000 b4', 'read-random', 'read', 'D100', 3, NaN],
    ['0214 0000 01 00 640000 a8 0700', 'write-random', 'write', 'D100', 1, 7],
    ['0214 0000 00 01 640000 a8 01000100', 'write-random', 'write', 'D100', 1, 65537],
    ['0214 0100 01 0a0000 9d 01', 'write-random', 'write', 'YA', 1, 1],
    ['0604 0000 01 00 640000 77 0400', 'read-block', 'read', 'dev-0x77:100', 1, NaN],
    ['1c04 0000 0100 0000 0300 6100 6200 6300', 'read-label', 'read', 'abc', 1, NaN],
    ['0110 0000 0100 00 00', 'plc-start', 'control', '', 0, NaN],
    ['0210 0000 0100', 'plc-stop', 'control', '', 0, NaN],
    ['0310 0000 0100', 'plc-pause', 'control', '', 0, NaN],
    ['0510 0000 0100', 'latch-clear', 'control', '', 0, NaN],
    ['0610 0000 0100', 'plc-reset', 'control', '', 0, NaN],
    ['3016 0000 0400 31323334', 'remote-unlock', 'session', '', 0, NaN],
    ['3116 0000 0400 31323334', 'remote-lock', 'session', '', 0, NaN],
    ['0101 0000', 'read-cpu-model', 'discover', '', 0, NaN],
    ['1906 0000 0200 4142', 'self-test', 'session', '', 0, NaN],
    ['2218 0000', 'delete-file', 'file', '', 0, NaN],
    ['2918 0000', 'write-file', 'program', '', 0, NaN],
    ['9999 0000', 'command-0x9999', 'other', '', 0, NaN],
  ] as const)('%s is %s', (body, name, action, object, count, value) => {
    const expected = { protocol: 'melsec', name, action, object, count, value, unit: 255, isResponse: false };
    for (const message of [ask(body), ask4('0300', body)]) {
      const { operations, violations } = hear(slmp, message);
      expect(violations).toEqual([]);
      expect(operations).toMatchObject([expected]);
      expect(slmp.messageBytes?.(message, 0, message.byteLength)).toBe(message.byteLength);
      expect(slmp.looksLike?.(message, 0, message.byteLength)).toBe(name !== 'command-0x9999');
    }
  });

  it('an answer is about what was asked, by its serial where it has one', () => {
    const memory = {};
    const answer = (message: Uint8Array) => hear(slmp, message, { memory, isFromClient: false }).operations[0]; // prettier-ignore
    hear(slmp, ask('0104 0000 640000 a8 0200'), { memory });
    expect(answer(say('0000 3930 0000'))).toMatchObject({ name: 'read', object: 'D100', count: 2, value: 12345, isResponse: true, exception: '' }); // prettier-ignore
    expect(answer(say('0000 3930'))).toMatchObject({ name: 'answer', object: '', value: NaN });
    hear(slmp, ask4('0100', '0104 0100 0a0000 90 0200'), { memory });
    hear(slmp, ask4('0200', '0104 0000 650000 a8 0100'), { memory });
    expect(answer(say4('0200', '0000 0500'))).toMatchObject({ object: 'D101', value: 5 });
    expect(answer(say4('0100', '0000 10'))).toMatchObject({ object: 'M10', value: 1 });
  });

  it('a refusal says what it refuses, whether the request was heard or not', () => {
    const answer = (message: Uint8Array) => hear(slmp, message, { isFromClient: false }).operations[0];
    expect(answer(REFUSED)).toMatchObject({ name: 'remote-unlock', exception: 'password-refused' });
    expect(answer(say(`10c8 ${ROUTE} 3016 0000`))).toMatchObject({ exception: 'password-refused' });
    expect(answer(say(`59c0 ${ROUTE} 3016 0000`))).toMatchObject({ exception: 'command-not-supported' });
    expect(answer(say(`01c2 ${ROUTE} 0114 0000`))).toMatchObject({ name: 'write', exception: 'locked' });
    expect(answer(say('3412'))).toMatchObject({ name: 'answer', exception: 'end-code-0x1234' });
    const memory = {};
    hear(slmp, UNLOCK, { memory });
    expect(hear(slmp, say('00c2'), { memory, isFromClient: false }).operations).toMatchObject([{ name: 'remote-unlock', exception: 'password-refused' }]); // prettier-ignore
  });

  it('what breaks the rules is told, what is of somebody else is not', () => {
    expect(hear(slmp, ask('0104 0000 6400')).violations).toEqual([
      'request shorter than its command demands',
    ]);
    expect(hear(slmp, ask('0104')).violations).toEqual(['request shorter than its header']);
    expect(hear(slmp, ask('0101 0000').slice(0, -1)).violations).toContain('length field and message disagree'); // prettier-ignore
    for (const noise of ['', '50', '4745 5420', '5000 00ff 3412 0006 0010 0001 0100 00', '80e1 0000 0000'])
      expect(hear(slmp, fromHex(noise))).toMatchObject({ operations: [], violations: [] });
    expect(slmp.messageBytes?.(fromHex('4745 5420 2f'), 0, 5)).toBe(-1);
    expect(slmp.messageBytes?.(fromHex('5000 00ff'), 0, 4)).toBe(0);
  });

  it('the engineering tool is told by its functions, its files by their names', () => {
    const name = (message: Uint8Array) => {
      expect(slmp.looksLike?.(message, 0, message.byteLength)).toBe(true);
      const { name, action, object, exception, isResponse } = hear(slmp, message).operations[0] ?? {};
      return [name, action, object, exception, isResponse];
    };
    const file = '2400 4d00 4100 0000';
    expect(name(tool('0121 0100 0000 0001'))).toEqual(['read-cpu-model', 'discover', '', '', false]);
    expect(name(tool(`1867 0900 3200 0300 ${file}`))).toEqual(['open-file', 'file', '$MA', '', false]);
    const opening = (mode: string, name: string): Uint8Array => tool(`1867 0900 3200 0000 0000 00 ${mode} 04 00 00000000 2200 ${Buffer.from(name, 'utf16le').toString('hex')} 0000`); // prettier-ignore
    expect(name(opening('00', '$MELPRJ$\\MAIN.PRG'))).toEqual(['open-file', 'file', '$MELPRJ$\\MAIN.PRG', '', false]); // prettier-ignore
    expect(name(opening('01', '$MELPRJ$\\MAIN.PRG'))).toEqual(['open-file-to-write', 'program', '$MELPRJ$\\MAIN.PRG', '', false]); // prettier-ignore
    expect(name(opening('01', '$MELPRJ$\\SourceInfo.CAB'))).toEqual(['open-file-to-write', 'file', '$MELPRJ$\\SourceInfo.CAB', '', false]); // prettier-ignore
    expect(name(tool('1869 0b00 0000 9200'))).toEqual(['write-file', 'file', '', '', false]);
    expect(name(tool('1002 0b00 0000'))).toEqual(['plc-stop', 'control', '', '', false]);
    expect(name(tool('0410 0300 0000'))).toEqual(['melsoft-0x0410', 'read', '', '', false]);
    expect(name(toolSays('8040', '1734 0900'))).toEqual([
      'melsoft-0x1734',
      'other',
      '',
      'request-data-error',
      true,
    ]);
    expect(name(toolSays('0943', '0131 0100'))).toEqual(['log-in', 'session', '', 'password-refused', true]);
    expect(name(toolSays('0000', '0131 0100'))).toEqual(['log-in', 'session', '', '', true]);
    expect(hear(slmp, fromHex('5a0000ff')).operations).toMatchObject([{ name: 'connect', action: 'session', isResponse: false }]); // prettier-ignore
    expect(slmp.messageBytes?.(fromHex('5a0000ff57'), 0, 5)).toBe(4);
  });

  it('who asks and who answers is told by the first bytes', () => {
    expect(speakerOf(STOP, 0, STOP.byteLength)).toBe(ASKS);
    expect(speakerOf(REFUSED, 0, REFUSED.byteLength)).toBe(ANSWERS);
  });
});

test('any bytes are read without a throw', () => {
  checkTotal(slmp, [
    UNLOCK, REFUSED, STOP, ask('0104 0000 640000 a8 0200'), ask4('0100', '0214 0000 00 01 640000 a8 01000100'), say4('0100', '0000 0500'),
    ask('1c04 0000 0100 0000 0300 6100 6200 6300'), ask('0114 0300 0a000000 9000 0300 10 10'), tool('1867 0900 2400 4d00 4100 0000'), toolSays('8040', '1734 0900'),
    fromHex('5a0000ff'), fromHex('da0000011400c0a80365'),
  ]); // prettier-ignore
});

describe('what the rules make of it', () => {
  it.each([5007, 9012])('refused unlocks one after another are guessing, at port %i', (port) => {
    const told = (answer: Uint8Array): string[] => {
      const rig = new Rig({ rules: { brute_force: { attempts: 6 } } });
      for (let i = 0; i < 6; i++) rig.add(connection(`10.0.0.66:${5000 + i}`, `10.0.0.2:${port}`, [['>', UNLOCK], ['<', answer]], i * 1_000_000)); // prettier-ignore
      return rig.finish().rules.filter((rule) => /brute-force|protocol-violation/.test(rule));
    };
    expect(told(REFUSED)).toEqual(['brute-force']);
    expect(told(say('0000'))).toEqual([]);
  });

  it('a remote stop is told, over TCP and UDP', () => {
    const overTcp = new Rig().add(connection('10.0.0.66:5000', '10.0.0.2:5007', [['>', STOP], ['<', say('0000')]], 0)).finish(); // prettier-ignore
    const overUdp = new Rig().add([{ timeUs: 0, frame: udp('10.0.0.66:5000', '10.0.0.2:5007', { payload: STOP }) }]).finish(); // prettier-ignore
    for (const rig of [overTcp, overUdp])
      expect(rig.alert('ot-control')).toMatchObject({ severity: 'medium', protocol: 'melsec', technique: 'T0816', source: '10.0.0.66', destination: '10.0.0.2' }); // prettier-ignore
  });

  it('a file that is written is a program that is changed, a file that is deleted is destruction', () => {
    const told = (body: string) => new Rig().add(connection('10.0.0.66:5000', '10.0.0.2:5007', [['>', ask(body)]], 0)).finish(); // prettier-ignore
    expect(told('2918 0000').alert('ot-program')).toMatchObject({ protocol: 'melsec', technique: 'T0843' });
    expect(told('2218 0000').alert('ot-control')).toMatchObject({ technique: 'T0809' });
  });
});

describeWithCorpus('on a real capture', () => {
  it('an engineer’s session is read whole, and nothing in it is taken for an attack', async () => {
    const { operations, violations } = await hearCapture(
      slmp,
      corpusPath('ot/other-ot/melsoft_UDP_clean_2.pcap'),
    );
    expect(violations).toEqual([]);
    expect(operations).toHaveLength(432);
    const asked = operations.filter(({ isResponse }) => !isResponse);
    expect(tally(asked.map(({ action }) => action))).toEqual({
      discover: 16,
      file: 26,
      other: 26,
      read: 100,
      session: 48,
    });
    expect(tally(operations.filter(({ exception }) => exception !== '').map(({ name, exception }) => `${name} ${exception}`))).toEqual({ 'melsoft-0x1734 request-data-error': 1 }); // prettier-ignore
    expect(asked.some(({ name, object }) => name === 'open-file' && object === '$MELPRJ$\\CPU.PRM')).toBe(
      true,
    );
    const { alerts } = await analyzeCapture('ot/other-ot/melsoft_UDP_clean_2.pcap');
    expect(alerts.filter(({ severity }) => severity !== 'low')).toEqual([]);
  });
});
