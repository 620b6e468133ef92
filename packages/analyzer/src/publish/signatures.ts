/**
 * A number for each rule, as EVE readers want one. The numbers are written down and never given again: dashboards and suppressions of a SOC stand on them.
 *
 *   9000001 …   the table, in the order in which the rules came to be
 *   9100000 …   rules that the table does not know, by a hash of their names
 */
import { createHash } from 'node:crypto';

const FIRST = 9_000_001;
const UNKNOWN_FIRST = 9_100_000;
const UNKNOWN_COUNT = 900_000;

/** Append only. */
const RULES: readonly string[] = [
  'scan-vertical',
  'scan-horizontal',
  'scan-slow',
  'scan-distributed',
  'scan-protocol',
  'arp-scan',
  'syn-flood',
  'spoofed-flood',
  'connection-flood',
  'udp-flood',
  'icmp-flood',
  'reflection',
  'brute-force',
  'http-brute-force',
  'sensitive-access',
  'arp-spoofing',
  'protocol-violation',
  'beaconing',
  'dns-tunnel',
  'dns-generated-names',
  'smb-spread',
  'remote-administration',
  'exploit',
  'ot-program',
  'ot-control',
  'ot-new-writer',
  'agent-silent',
  'sensor-silent',
  'forged-publisher',
  'ot-probe',
  'ot-discovery',
  'ot-suspect-command',
  'ot-override',
  'opcua-anonymous',
  'ot-walk',
  'ot-relay',
  'connection-churn',
  'message-flood',
  'tcp-reset',
  'broad-subscription',
  'ot-unanswered',
  'ot-switching',
  'scan-flags',
  'dhcp-starvation',
  'weak-kerberos',
  'directory-search',
  'internet-access',
  'nameless-tls',
  'remote-access',
  'foreign-hosts',
  'unknown-service',
  'dns-spoofing',
  'icmp-redirect',
  'rogue-dhcp',
  'one-sided-mirror',
  'dns-unusual-type',
  'dns-zone-transfer',
  'icmp-tunnel',
  'file-transfer',
  'nameless-http',
  'malware',
  'remote-shell',
  'web-attack',
  'ot-first-write',
  'goose-event',
  'baseline-new-host',
  'baseline-new-pair',
  'baseline-new-operation',
  'baseline-new-write',
  'baseline-program',
  'baseline-value',
  'baseline-cycle',
  'baseline-silent-device',
  'rogue-router',
  'ndp-spoofing',
  'ndp-flood',
  'name-poisoning',
  'gateway-takeover',
  'routing-newcomer',
  'stp-root',
  'stp-flood',
  'mac-flood',
  'vlan-hopping',
  'discovery-flood',
  'clear-password',
  'self-signed-tls',
  'notable-host',
  'dead-service',
  'replayed-segment',
  'rpc-enumeration',
  'sip-scan',
];

export const RULE_NUMBERS: ReadonlyMap<string, number> = new Map(
  RULES.map((rule, index) => [rule, FIRST + index]),
);

export function signatureId(rule: string): number {
  return RULE_NUMBERS.get(rule) ?? UNKNOWN_FIRST + (createHash('sha256').update(rule).digest().readUInt32BE() % UNKNOWN_COUNT); // prettier-ignore
}
