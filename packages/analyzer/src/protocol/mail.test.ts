/** Logins of POP3, IMAP and SMTP by hand: told with their refusals and without their passwords, and nothing behind them. */
import { describe, expect, it, test } from 'vitest';
import { NEED_MORE, NOT_OURS, type Dissector, type Memory } from './dissector.ts';
import { Recorder, ascii, dissectOne, testHostileBytes } from './it-testing.ts';
import { imap, pop3, smtp } from './mail.ts';

const SECRET = 'hunter2';

/** `>` the client's lines, `<` the server's; the operations that came of them. */
function talk(dissector: Dissector, lines: readonly string[]): { told: string[]; memory: Memory } {
  const memory: Memory = {};
  const recorder = new Recorder();
  for (const line of lines)
    dissectOne(dissector, ascii(`${line.slice(2)}\r\n`), { memory, recorder, isFromClient: line[0] === '>' });
  expect(JSON.stringify([recorder.operations, recorder.facts, memory])).not.toContain(SECRET);
  const told = recorder.operations.map(({ name, object, isResponse, exception }) => `${isResponse ? '<' : '>'}${name} ${object} ${exception}`.trim()); // prettier-ignore
  return { told, memory };
}

describe('POP3', () => {
  it('is read up to the login', () => {
    const { told, memory } = talk(pop3, ['< +OK POP3 ready', '> USER ann', '< +OK', `> PASS ${SECRET}`, '< -ERR [AUTH] no', '> USER ann', '< +OK', `> PASS ${SECRET}`, '< +OK welcome', '> RETR 1']); // prettier-ignore
    expect(told).toEqual(['>user ann', '<user ann', '>pass', '<pass ann refused', '>user ann', '<user ann', '>pass', '<pass ann']); // prettier-ignore
    expect(memory['done']).toBe(true);
  });

  it('that is in use is no wrong password', () => {
    const { told } = talk(pop3, ['> USER ann', '< +OK', `> PASS ${SECRET}`, '< -ERR [IN-USE] locked']);
    expect(told.at(-1)).toBe('<pass ann not-done');
  });

  it('in a dialogue says secrets', () => {
    const { told } = talk(pop3, ['> AUTH LOGIN', '< + VXNlcg==', `> ${SECRET}`, '< + UGFzcw==', `> ${SECRET}`, '< -ERR denied']); // prettier-ignore
    expect(told).toEqual(['>auth', '<auth  refused']);
  });
});

test('who asks for a kind of login that there is not, or takes it back, guesses nothing', () => {
  expect(talk(pop3, ['> AUTH', '< -ERR no', '> AUTH GSSAPI', '< + ', '> *', '< -ERR back']).told).toEqual(['>auth', '<auth  not-done', '>auth', '<auth  not-done']); // prettier-ignore
  expect(talk(imap, ['> a AUTHENTICATE GSSAPI', '< a NO']).told.at(-1)).toBe('<authenticate  not-done');
  expect(talk(imap, ['> a AUTHENTICATE PLAIN eA==', '< a NO']).told.at(-1)).toBe('<authenticate  refused');
});

describe('IMAP', () => {
  it('is read up to the login, by its tags', () => {
    const { told, memory } = talk(imap, ['< * OK IMAP4rev1', '> a1 CAPABILITY', '< * CAPABILITY IMAP4rev1', '< a1 OK', `> a2 LOGIN "ann" ${SECRET}`, '< * BYE a2 NO', '< a2 NO [AUTHENTICATIONFAILED] no', `> a3 login ann ${SECRET}`, '< a3 OK in', `> a4 LOGIN x ${SECRET}`]); // prettier-ignore
    expect(told).toEqual(['>login ann', '<login ann refused', '>login ann', '<login ann']);
    expect(memory['done']).toBe(true);
  });

  it('may send names as literals', () => {
    const { told } = talk(imap, ['> a LOGIN {3}', '< + go', '> ann {7}', '< + go', `> ${SECRET}`, '< a NO']);
    expect(told).toEqual(['>login', '<login  refused']);
  });
});

describe('SMTP', () => {
  it('refuses a login with 535', () => {
    const { told } = talk(smtp, ['< 220 mail ESMTP', '> EHLO host', '< 250-mail', '< 250 AUTH LOGIN', '> AUTH LOGIN', '< 334 VXNlcg==', `> ${SECRET}`, '< 334 UGFzcw==', `> ${SECRET}`, '< 535 5.7.8 no', `> AUTH PLAIN ${SECRET}`, '< 454 later']); // prettier-ignore
    expect(told).toEqual(['>ehlo host', '<ehlo host', '>auth', '<auth host refused', '>auth', '<auth host not-done']); // prettier-ignore
  });

  it('ends for the reader where a mail begins', () => {
    const { told, memory } = talk(smtp, ['> EHLO host', '< 250 mail', '> MAIL FROM:<a@b>', '< 250 ok', '> DATA', '< 354 go', `> VRFY ${SECRET}`]); // prettier-ignore
    expect(told).toEqual(['>ehlo host', '<ehlo host', '>data', '<data host']);
    expect(memory['done']).toBe(true);
  });
});

test('lines are framed, and one without an end is taken as it came', () => {
  const two = ascii('USER ann\r\nPASS x\r\n');
  expect(pop3.messageBytes?.(two, 0, two.byteLength)).toBe(10);
  expect(pop3.messageBytes?.(two, 0, 4)).toBe(NEED_MORE);
  const long = ascii(`USER ${'A'.repeat(3000)}`);
  expect(pop3.messageBytes?.(long, 0, long.byteLength)).toBe(long.byteLength);
  expect(dissectOne(pop3, long).facts).toEqual([['overlong', expect.stringContaining('user')]]);
  expect(pop3.messageBytes?.(Uint8Array.of(22, 3, 1), 0, 3)).toBe(NOT_OURS);
  const banner = ascii('220 mail.example ESMTP\r\n');
  expect([smtp, pop3, imap].map((one) => one.looksLike?.(banner, 0, banner.byteLength))).toEqual([true, false, false]); // prettier-ignore
});

const samples = ['USER ann', 'PASS x', '-ERR no', '+OK', '+ ', 'a LOGIN ann x', 'a NO', 'AUTH PLAIN', '535 no', '334 ', 'DATA', '354 '].map((line) => ascii(`${line}\r\n`)); // prettier-ignore
for (const one of [pop3, imap, smtp]) testHostileBytes(one, samples);
