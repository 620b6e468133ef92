/**
 * Brute force: passwords tried one after another. Where the answer is readable (files, mail, databases, terminals, telephones, HTTP, and controllers that have passwords), refusals are counted; where it is encrypted
 * (SSH, RDP), connections that end as a failed login does: soon, after few bytes.
 */
import { BACKWARD, FORWARD, PACKETS, PAYLOAD } from '../../flow/flow-columns.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, type CountedWindow, seconds } from '../keyed-window.ts';
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

const FORM = /^(application\/x-www-form-urlencoded|multipart\/form-data)/i;
const JSON_BODY = /^application\/json/i;
const PASSWORD_QUERY = /[?&]pass(?:word|wd)?=/i;
/** Forms at an address that says nothing of logins. */
const FORMS_FACTOR = 4;
const LOGIN_TARGET = /log-?[io]n|auth|sign-?in|session|token|passw/i;

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

  return {
    state: { attempts, httpAttempts },

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
        const kind = operation.isFromClient ? loginKind(operation, flow.facts['content-type']) : 'none';
        const isRefused = !operation.isFromClient && refusal.test(operation.exception);
        if (kind === 'none' && !isRefused) return;
        const target = operation.object.split('?')[0] ?? '';
        const window = httpAttempts.add(`${flow.line} ${isRefused ? '' : target}`, nowUs);
        const needed = rules.http_brute_force.attempts * (kind === 'form' ? FORMS_FACTOR : 1);
        if (rules.http_brute_force.enabled && window.count >= needed)
          told(flow, window, {
            rule: 'http-brute-force',
            service: 'http',
            what: isRefused ? 'refused requests' : `logins at ${target}`,
            timeUs: nowUs,
          });
      } else if (operation.exception !== '' && refusal.test(operation.exception))
        count(flow, protocol, 'refused logins', nowUs);
    },
  };
}

/** Machines post to one another all day, in XML and in forms too; a login says so in its address or brings a password. */
function loginKind({ name, object }: Operation, body: string | undefined): 'login' | 'form' | 'none' {
  if (PASSWORD_QUERY.test(object)) return 'login';
  if (name !== 'post') return 'none';
  const isForm = FORM.test(body ?? '');
  if (LOGIN_TARGET.test(object.split('?')[0] ?? '') && (body === undefined || isForm || JSON_BODY.test(body)))
    return 'login';
  return isForm ? 'form' : 'none';
}
