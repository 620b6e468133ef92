/**
 * Brute force: passwords tried one after another. Where the answer is readable (FTP, Telnet, HTTP, SMB, and controllers that have passwords), refusals are counted; where it is encrypted
 * (SSH, RDP), connections that end as a failed login does: soon, after few bytes.
 */
import { BACKWARD, FORWARD, PACKETS, PAYLOAD } from '../flow/flow-columns.ts';
import type { Flow } from '../flow/flow.ts';
import type { Detector, Report } from './detector.ts';
import { KeyedWindows, type CountedWindow } from './keyed-window.ts';
import type { Rules } from './rule-file.ts';
import { seconds } from './scan-detector.ts';

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
  opcua: /^identity-token-(rejected|invalid)$/,
  mqtt: /^(bad-user-name-or-password|not-authorized|bad-authentication-method|banned)$/,
};

const FORM = /^(application\/x-www-form-urlencoded|multipart\/form-data)/i;
const JSON_BODY = /^application\/json/i;
const LOGIN_TARGET = /log-?[io]n|auth|sign-?in|session|token|passw/i;

export function createLoginDetector(rules: Rules, report: Report): Detector {
  const attempts = new KeyedWindows(rules.brute_force.within * 1000);
  const httpAttempts = new KeyedWindows(rules.http_brute_force.within * 1000);

  function found(
    rule: 'brute_force' | 'http_brute_force',
    window: CountedWindow,
    flow: Flow,
    service: string,
    what: string,
    nowUs: number,
  ): void {
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title: `Password guessing over ${service.toUpperCase()}`,
        severity: rules[rule].severity,
        score: 0.9,
        technique: 'T0859',
        timeUs: nowUs,
        source: flow.client,
        destination: flow.server,
        port: flow.serverPort,
        protocol: service,
        evidence: `${window.count} ${what} by ${flow.client} at ${flow.server} port ${flow.serverPort} in ${seconds(window, nowUs)}`,
        group: `${flow.client} ${flow.server} ${flow.serverPort}`,
        scope: {
          client: flow.client,
          server: flow.server,
          serverPort: flow.serverPort,
          fromUs: window.startUs,
          toUs: nowUs,
        },
      },
      flow,
    );
  }

  function count(flow: Flow, service: string, what: string, nowUs: number): void {
    const window = attempts.add(`${flow.client} ${flow.server} ${flow.serverPort}`, nowUs);
    // The window may begin with the end of the first attempt; its flow began before.
    window.startUs = Math.min(window.startUs, Math.max(flow.startUs, window.startUs - 120_000_000));
    if (rules.brute_force.enabled && window.count >= rules.brute_force.attempts)
      found('brute_force', window, flow, service, what, nowUs);
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
        const isLogin =
          operation.isFromClient &&
          operation.name === 'post' &&
          mayBeLogin(flow.facts['content-type'], operation.object);
        const isRefused = !operation.isFromClient && refusal.test(operation.exception);
        if (!isLogin && !isRefused) return;
        const window = httpAttempts.add(`${flow.client} ${flow.server} ${flow.serverPort} ${isLogin ? operation.object.split('?')[0] : ''}`, nowUs); // prettier-ignore
        if (rules.http_brute_force.enabled && window.count >= rules.http_brute_force.attempts)
          found('http_brute_force', window, flow, 'http', isLogin ? `posts to ${operation.object}` : 'refused requests', nowUs); // prettier-ignore
      } else if (operation.exception !== '' && refusal.test(operation.exception))
        count(flow, protocol, 'refused logins', nowUs);
    },
  };
}

/** Machines post to one another all day, in XML; people fill in forms. */
function mayBeLogin(body: string | undefined, target: string): boolean {
  if (body === undefined) return LOGIN_TARGET.test(target);
  return FORM.test(body) || (JSON_BODY.test(body) && LOGIN_TARGET.test(target));
}
