/**
 * What is asked of a Windows domain's directory (LDAP) and of its ticket service (Kerberos) by those who want its accounts: lists of accounts that can be
 * attacked offline, the whole directory at once, tickets with nothing but weak encryption.
 */
import type { Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector, Report } from '../detector.ts';
import type { Rules } from '../rule-file.ts';

/** Filters that serve no program's daily work. */
const SEARCHES: readonly (readonly [RegExp, string])[] = [
  [/\(serviceprincipalname=\*\)/i, 'Accounts whose tickets can be cracked are looked for'],
  [/:1\.2\.840\.113556\.1\.4\.803:=4194304\)/, 'Accounts without preauthentication are looked for'],
  [/:1\.2\.840\.113556\.1\.4\.803:=524288\)|\(msds-allowedtodelegateto=\*\)/i, 'Accounts that may speak for others are looked for'],
  [/\(ms-mcs-admpwd|\(mslaps-/i, 'Passwords of local administrators are looked for'],
]; // prettier-ignore
const EVERYTHING = /^\(objectclass=\*\)$/i;
/** A person's address book asks for a few entries at a time. */
const ENTRIES_MIN = 200;

const ETYPE = 'etype:';
/** AES, and what RFC 8009 and Camellia added to it. */
const STRONG: ReadonlySet<string> = new Set(['17', '18', '19', '20', '25', '26']);
/** Encryption type 0 is none; no Windows offers it. Tools write it where they cross out others. */
const NONE = '0';

export function createDirectoryDetector(rules: Rules, report: Report): Detector {
  function found(
    rule: 'directory_search' | 'weak_kerberos' | 'exploit',
    title: string,
    severity: Severity,
    technique: string,
    evidence: string,
    flow: Flow,
    nowUs: number,
  ): void {
    const { client, server } = flow;
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.8,
        technique,
        timeUs: nowUs,
        source: client,
        destination: server,
        port: flow.serverPort,
        protocol: flow.service,
        evidence,
        group: `${client} ${server} ${title}`,
        scope: { client, server, service: flow.service, fromUs: flow.startUs, toUs: nowUs },
      },
      flow,
    );
  }

  function tellTicket(flow: Flow, operation: Operation, nowUs: number): void {
    if (!rules.weak_kerberos.enabled || operation.isResponse || !operation.object.startsWith(ETYPE)) return;
    const offered = operation.object.slice(ETYPE.length).split(',');
    if (offered.includes(NONE))
      found('weak_kerberos', 'A ticket is asked for as tools with a stolen hash do', 'medium', 'T0859', `${flow.client} offers ${flow.server} the encryption types ${offered.join(', ')}; 0 is none at all`, flow, nowUs); // prettier-ignore
    else if (!offered.some((type) => STRONG.has(type)))
      found('weak_kerberos', 'A ticket is asked for with weak encryption only', rules.weak_kerberos.severity, 'T0859', `${flow.client} offers ${flow.server} the encryption types ${offered.join(', ')}, as tools with a stolen hash do, and Windows before 2008`, flow, nowUs); // prettier-ignore
  }

  function tellSearch(flow: Flow, operation: Operation, nowUs: number): void {
    if (!rules.directory_search.enabled || !operation.name.startsWith('search')) return;
    const { severity } = rules.directory_search;
    if (operation.isResponse) {
      const before = flow.memory['entries'];
      const entries = (typeof before === 'number' ? before : 0) + (operation.name === 'search-entry' ? 1 : 0);
      flow.memory['entries'] = entries;
      if (operation.name === 'search' && flow.memory['everything'] === true && entries >= ENTRIES_MIN)
        found('directory_search', 'The whole directory is read', severity, 'T0888', `${flow.client} was given ${entries} entries of ${flow.server}, asking for (objectClass=*)`, flow, nowUs); // prettier-ignore
      return;
    }
    if (operation.name === 'search-subtree' && EVERYTHING.test(operation.object)) flow.memory['everything'] = true; // prettier-ignore
    const what = SEARCHES.find(([pattern]) => pattern.test(operation.object));
    if (what !== undefined)
      found('directory_search', what[1], severity, 'T0888', `${flow.client} asks ${flow.server} for ${operation.object}`, flow, nowUs); // prettier-ignore
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      if (key === 'java-attribute' && rules.exploit.enabled)
        found('exploit', 'Java code is handed out through a directory (JNDI injection)', rules.exploit.severity, 'T0866', `${flow.server} answers ${flow.client} with ${value}`, flow, nowUs); // prettier-ignore
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol === 'kerberos') tellTicket(flow, operation, nowUs);
      else if (operation.protocol === 'ldap') tellSearch(flow, operation, nowUs);
    },
  };
}
