/**
 * Which flows an alert is about. A scan is known only at its twelfth port, but the first eleven flows were part of it: so verdicts are given when all
 * alerts of a flow's time are known, by the alerts' scopes.
 */
import { isGroupAddress } from '../asset/networks.ts';
import { severityRank, type Scope } from '../alert/finding.ts';
import type { Alert } from '../alert/alert-desk.ts';
import type { FlowRecord } from '../flow/flow-record.ts';

const MALICIOUS_FROM = severityRank('medium');

/** Fills `alerts` and `verdict` of each record. */
export function giveVerdicts(records: Iterable<FlowRecord>, alerts: Iterable<Alert>): void {
  const byAddress = new Map<string, Alert[]>();
  const anybody: Alert[] = [];
  const severe = new Set<string>();
  const aboutUnanswered = new Set<string>();
  for (const alert of alerts) {
    if (alert.scope.isUnanswered === true) aboutUnanswered.add(alert.id);
    if (severityRank(alert.severity) >= MALICIOUS_FROM) severe.add(alert.id);
    const address = alert.scope.client ?? alert.scope.server ?? alert.scope.host ?? alert.scope.pair?.[0];
    if (address === undefined) {
      if (Object.keys(alert.scope).length > 2) anybody.push(alert);
      continue;
    }
    const known = byAddress.get(address);
    if (known === undefined) byAddress.set(address, [alert]);
    else known.push(alert);
  }
  for (const record of records) {
    // Who opened a connection in the midst of a flood, and was answered, is none of it.
    const ids = new Set(record.alerts.filter((id) => !isAnswered(record) || !aboutUnanswered.has(id)));
    for (const list of [byAddress.get(record.client), byAddress.get(record.server), anybody])
      for (const alert of list ?? [])
        if (alert.sensor === record.sensor && isInScope(record, alert.scope)) ids.add(alert.id);
    record.alerts = [...ids];
    record.verdict = record.alerts.some((id) => severe.has(id)) ? 'malicious' : 'benign';
  }
}

/** Whether the flow was alive in the scope's time and between its ends. */
export function isInScope(record: FlowRecord, scope: Scope): boolean {
  if (scope.client !== undefined && scope.client !== record.client) return false;
  if (scope.host !== undefined && !isOf(record, scope.host)) return false;
  if (scope.pair !== undefined && !isBetween(record, scope.pair)) return false;
  if (scope.server !== undefined && scope.server !== record.server) return false;
  if (scope.clientPort !== undefined && scope.clientPort !== record.clientPort) return false;
  if (scope.serverPort !== undefined && scope.serverPort !== record.serverPort) return false;
  if (scope.protocol !== undefined && scope.protocol !== record.protocol) return false;
  if (scope.service !== undefined && scope.service !== record.service) return false;
  if (scope.isUnanswered === true && isAnswered(record)) return false;
  const startUs = record.ts * 1e6;
  // Seconds as doubles lose a fraction of a microsecond.
  return startUs <= scope.toUs + 1 && startUs + record.duration * 1e6 >= scope.fromUs - 1;
}

/** What a host tells everybody goes there whatever is done to its address. */
function isOf({ client, server, protocol }: FlowRecord, host: string): boolean {
  if (host !== client && host !== server) return false;
  return protocol === -1 || !isGroupAddress(server);
}

function isAnswered({ serverPackets, serverBytes }: FlowRecord): boolean {
  return serverPackets > 0 && serverBytes > 0;
}

function isBetween({ client, server }: FlowRecord, [a, b]: readonly [string, string]): boolean {
  return (client === a && server === b) || (client === b && server === a);
}
