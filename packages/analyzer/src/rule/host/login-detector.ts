/**
 * Brute force: passwords tried one after another. Where the answer is readable (files, mail, databases, terminals, telephones, HTTP, and controllers that have passwords), refusals are counted; where it is encrypted
 * (SSH, RDP), connections that end as a failed login does: soon, after few bytes.
 */
import { BACKWARD, FORWARD, PACKETS, PAYLOAD } from '../../flow/flow-columns.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import { PASSWORD_FORM } from '../../protocol/http.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, addMember, hasMember, memberCount, seconds, type CountedWindow } from '../keyed-window.ts'; // prettier-ignore
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** A shell that was entered has sent more than this; three refused passwords have not. */
const SSH_FAILED_BYTES_MAX = 6000;
const RDP_FAILED_BYTES_MAX = 20_000;
/** Service → what a refused login looks like among its exceptions. */
const REFUSALS: Readonly<Record<string, RegExp>> = {
  ftp: /530|login/,
  telnet: /login-incorrect/,
  smb: /logon-failure|wrong-password|account-locked|0xc000006[ad]|0xc0000234/,
  // Wrong password, unknown name: what one after another means guessing.
  kerberos: /preauth-failed|principal-unknown/,
  http: /^(401|403)$/,
  ldap: /invalid-credentials/,
  s7comm: /^0xd602$/,
  melsec: /^password-refused$/,
  opcua: /^identity-token-(rejected|invalid)$/,
  pop3: /^refused$/,
  imap: /^refused$/,
  smtp: /^refused$/,
  mysql: /^refused$/,
  postgresql: /^refused$/,
  tds: /^refused$/,
  redis: /^refused$/,
  vnc: /^refused/,
  rlogin: /^refused$/,
  rsh: /^refused$/,
  rexec: /^refused$/,
  // Brought an answer, and was refused again.
  sip: /^refused-/,
  mqtt: /^(bad-user-name-or-password|not-authorized|bad-authentication-method|banned)$/,
};

/** So many names of users are told apart, of so many who ask: 512 × 64 × 96 characters are 3 MiB. Far fewer are guesses. */
const NAMES_MAX = 64;
const NAMERS_MAX = 512;

const FORM = /^(application\/x-www-form-urlencoded|multipart\/form-data)/i;
const JSON_BODY = /^application\/json/i;
const PASSWORD_QUERY = /[?&]pass(?:word|wd)?=/i;
/** Forms at an address that says nothing of logins. */
const FORMS_FACTOR = 4;
/** Passwords at an address of logins, at a pace that no person has: half as many are guesses, eight of them in five seconds. */
const BURST_US = 5_000_000;
const BURST_SHARE = 0.5;
const LOGIN_TARGET = /log-?[io]n|auth|sign-?in|session|token|passw/i;

type LoginKind = 'password' | 'login' | 'form' | 'none';

interface Guessed {
  readonly rule: 'brute-force' | 'http-brute-force';
  readonly service: string;
  /** Of which there were so many: `refused logins`. */
  readonly what: string;
  readonly timeUs: number;
}

export function createLoginDetector(rules: Rules, tell: Tell): Detector {
  const attempts = new KeyedWindows(rules.brute_force.within * 1000);
  const httpAttempts = new KeyedWindows(rules.http_brute_force.within * 1000);
  const bursts = new KeyedWindows(BURST_US);
  /** Names that a ticket service does not know, by who asks it for them. */
  const unknownNames = new KeyedWindows(rules.brute_force.within * 1000, NAMERS_MAX);

  function told(flow: Flow, window: CountedWindow, seen: Guessed): void {
    const { client, server, serverPort } = flow;
    tell(flow, {
      rule: seen.rule,
      title: `Password guessing over ${seen.service.toUpperCase()}`,
      score: 0.9,
      technique: 'T0859',
      protocol: seen.service,
      evidence: `${window.count} ${seen.what} by ${client} at ${server} port ${serverPort} in ${seconds(window, seen.timeUs)}`,
      group: `${client} ${server} ${serverPort}`,
      scope: { client, server, serverPort },
      fromUs: window.startUs,
      timeUs: seen.timeUs,
    });
  }

  function count(flow: Flow, service: string, what: string, nowUs: number): void {
    const window = attempts.add(flow.line, nowUs);
    // The window may begin with the end of the first attempt; its flow began before.
    window.startUs = Math.min(window.startUs, Math.max(flow.startUs, window.startUs - 120_000_000));
    if (rules.brute_force.enabled && window.count >= rules.brute_force.attempts)
      told(flow, window, { rule: 'brute-force', service, what, timeUs: nowUs });
  }

  /** A client that asks for a ticket for one unknown name again and again guesses nothing. A name that could not be read may be any. */
  function wasUnknown(flow: Flow, { exception }: Operation, nowUs: number): boolean {
    const name = flow.facts['unknown-principal'] ?? '';
    if (exception !== 'principal-unknown' || name === '') return false;
    const names = unknownNames.at(flow.line, nowUs);
    if (hasMember(names, name)) return true;
    if (memberCount(names) < NAMES_MAX) addMember(names, name);
    return false;
  }

  /** A login over HTTP, of that kind at that address, or a request that was refused. */
  function countHttp(flow: Flow, kind: LoginKind, target: string, timeUs: number): void {
    const isRefused = kind === 'none';
    const key = `${flow.line} ${isRefused ? '' : target}`;
    const { attempts: limit } = rules.http_brute_force;
    const burst = kind === 'password' ? bursts.add(key, timeUs) : null;
    const window = httpAttempts.add(key, timeUs);
    const isBurst = burst !== null && burst.count >= limit * BURST_SHARE;
    if (isBurst || window.count >= limit * (kind === 'form' ? FORMS_FACTOR : 1))
      told(flow, isBurst ? burst : window, {
        rule: 'http-brute-force',
        service: 'http',
        what: isRefused ? 'refused requests' : `logins at ${target}`,
        timeUs,
      });
  }

  return {
    state: { attempts, httpAttempts, bursts, unknownNames },

    flowEnded(flow, values, nowUs) {
      const limit =
        flow.service === 'ssh' ? SSH_FAILED_BYTES_MAX : flow.service === 'rdp' ? RDP_FAILED_BYTES_MAX : 0;
      if (limit === 0 || flow.ending === 'long') return;
      const answered = values[flow.row + BACKWARD + PAYLOAD] as number;
      const asked = values[flow.row + FORWARD + PACKETS] as number;
      if (answered > 0 && answered <= limit && asked > 3)
        count(flow, flow.service, 'short connections, as after refused logins,', nowUs);
    },

    operation(flow, operation, nowUs) {
      const refusal = REFUSALS[operation.protocol];
      if (refusal === undefined) return;
      const { protocol } = operation;
      // A topic may be refused to who is logged in.
      if (protocol === 'mqtt' && operation.name !== 'connect') return;
      if (protocol === 'http') {
        if (!rules.http_brute_force.enabled) return;
        const kind = operation.isFromClient ? loginKind(operation, flow) : 'none';
        const isRefused = !operation.isFromClient && refusal.test(operation.exception);
        if (kind !== 'none' || isRefused) countHttp(flow, kind, operation.object.split('?')[0] ?? '', nowUs);
      } else if (
        operation.exception !== '' &&
        refusal.test(operation.exception) &&
        !wasUnknown(flow, operation, nowUs)
      )
        count(flow, protocol, 'refused logins', nowUs);
    },
  };
}

/** Machines post to one another all day, in XML and in forms too; a login says so in its address or brings a password. `password`: both, as no machine's token does. */
function loginKind({ name, object }: Operation, { facts, memory }: Flow): LoginKind {
  const body = facts['content-type'];
  const isLogin = LOGIN_TARGET.test(object.split('?')[0] ?? '');
  if (PASSWORD_QUERY.test(object)) return isLogin ? 'password' : 'login';
  if (name !== 'post') return 'none';
  const isForm = FORM.test(body ?? '');
  if (isLogin && isForm && memory[PASSWORD_FORM] === true) return 'password';
  if (isLogin && (body === undefined || isForm || JSON_BODY.test(body))) return 'login';
  return isForm ? 'form' : 'none';
}
