/**
 * What is asked of a Windows domain's directory (LDAP) and of its ticket service (Kerberos) by those who want its accounts: lists of accounts that can be
 * attacked offline, the whole directory at once, tickets with nothing but weak encryption.
 */
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

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

export function createDirectoryDetector(rules: Rules, tell: Tell): Detector {
  function told(flow: Flow, seen: Seen): void {
    const { client, server, service } = flow;
    const group = `${client} ${server} ${seen.title}`;
    tell(flow, { ...seen, score: 0.8, group, scope: { client, server, service } });
  }

  function tellTicket(flow: Flow, operation: Operation, nowUs: number): void {
    if (!rules.weak_kerberos.enabled || operation.isResponse || !operation.object.startsWith(ETYPE)) return;
    const offered = operation.object.slice(ETYPE.length).split(',');
    if (offered.includes(NONE))
      told(flow, {
        rule: 'weak-kerberos',
        title: 'A ticket is asked for as tools with a stolen hash do',
        severity: 'medium',
        technique: 'T0859',
        evidence: `${flow.client} offers ${flow.server} the encryption types ${offered.join(', ')}; 0 is none at all`,
        timeUs: nowUs,
      });
    else if (!offered.some((type) => STRONG.has(type)))
      told(flow, {
        rule: 'weak-kerberos',
        title: 'A ticket is asked for with weak encryption only',
        technique: 'T0859',
        evidence: `${flow.client} offers ${flow.server} the encryption types ${offered.join(', ')}, as tools with a stolen hash do, and Windows before 2008`,
        timeUs: nowUs,
      });
  }

  function tellSearch(flow: Flow, operation: Operation, nowUs: number): void {
    if (!rules.directory_search.enabled || !operation.name.startsWith('search')) return;
    if (operation.isResponse) {
      const before = flow.memory['entries'];
      const entries = (typeof before === 'number' ? before : 0) + (operation.name === 'search-entry' ? 1 : 0);
      flow.memory['entries'] = entries;
      if (operation.name === 'search' && flow.memory['everything'] === true && entries >= ENTRIES_MIN)
        told(flow, {
          rule: 'directory-search',
          title: 'The whole directory is read',
          technique: 'T0888',
          evidence: `${flow.client} was given ${entries} entries of ${flow.server}, asking for (objectClass=*)`,
          timeUs: nowUs,
        });
      return;
    }
    if (operation.name === 'search-subtree' && EVERYTHING.test(operation.object))
      flow.memory['everything'] = true;
    const what = SEARCHES.find(([pattern]) => pattern.test(operation.object));
    if (what !== undefined)
      told(flow, {
        rule: 'directory-search',
        title: what[1],
        technique: 'T0888',
        evidence: `${flow.client} asks ${flow.server} for ${operation.object}`,
        timeUs: nowUs,
      });
  }

  return {
    state: {},

    fact(flow, key, value, nowUs) {
      if (key === 'java-attribute' && rules.exploit.enabled)
        told(flow, {
          rule: 'exploit',
          title: 'Java code is handed out through a directory (JNDI injection)',
          technique: 'T0866',
          evidence: `${flow.server} answers ${flow.client} with ${value}`,
          timeUs: nowUs,
        });
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol === 'kerberos') tellTicket(flow, operation, nowUs);
      else if (operation.protocol === 'ldap') tellSearch(flow, operation, nowUs);
    },
  };
}
