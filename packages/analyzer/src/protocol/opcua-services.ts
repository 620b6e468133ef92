/** What the services of OPC UA are called and do, and the statuses they refuse with. */
import { hex } from './byte-reader.ts';
import type { Action } from './dissector.ts';

/** By the type of the request. */
export const SERVICES: ReadonlyMap<number, readonly [string, Action]> = new Map([
  [422, ['find-servers', 'discover']],
  [428, ['get-endpoints', 'discover']],
  [437, ['register-server', 'session']],
  [446, ['open-secure-channel', 'session']],
  [452, ['close-secure-channel', 'session']],
  [461, ['create-session', 'session']],
  [467, ['activate-session', 'session']],
  [473, ['close-session', 'session']],
  [479, ['cancel', 'other']],
  [488, ['add-nodes', 'program']],
  [494, ['add-references', 'program']],
  [500, ['delete-nodes', 'program']],
  [506, ['delete-references', 'program']],
  [527, ['browse', 'read']],
  [533, ['browse-next', 'read']],
  [554, ['translate-browse-paths', 'read']],
  [560, ['register-nodes', 'session']],
  [566, ['unregister-nodes', 'session']],
  [615, ['query-first', 'read']],
  [621, ['query-next', 'read']],
  [631, ['read', 'read']],
  [664, ['history-read', 'read']],
  [673, ['write', 'write']],
  [700, ['history-update', 'write']],
  [712, ['call', 'control']],
  [751, ['create-monitored-items', 'read']],
  [763, ['modify-monitored-items', 'read']],
  [769, ['set-monitoring-mode', 'read']],
  [775, ['set-triggering', 'read']],
  [781, ['delete-monitored-items', 'read']],
  [787, ['create-subscription', 'session']],
  [793, ['modify-subscription', 'session']],
  [799, ['set-publishing-mode', 'session']],
  [826, ['publish', 'read']],
  [832, ['republish', 'read']],
  [841, ['transfer-subscriptions', 'session']],
  [847, ['delete-subscriptions', 'session']],
  [12_208, ['find-servers-on-network', 'discover']],
  [12_211, ['register-server-2', 'session']],
] as const); // prettier-ignore

const STATUSES: ReadonlyMap<number, string> = new Map([
  [0x8001, 'unexpected-error'], [0x8002, 'internal-error'], [0x8004, 'resource-unavailable'], [0x8005, 'communication-error'], [0x800a, 'timeout'], [0x800b, 'service-unsupported'], [0x8013, 'security-checks-failed'], [0x8012, 'certificate-invalid'], [0x801a, 'certificate-untrusted'], [0x801f, 'user-access-denied'], [0x8020, 'identity-token-invalid'], [0x8021, 'identity-token-rejected'], [0x8022, 'secure-channel-id-invalid'], [0x8025, 'session-id-invalid'], [0x8026, 'session-closed'], [0x8033, 'node-id-invalid'], [0x8034, 'node-id-unknown'], [0x8035, 'attribute-id-invalid'], [0x803a, 'not-readable'], [0x803b, 'not-writable'], [0x803c, 'out-of-range'], [0x8073, 'write-not-supported'], [0x8074, 'type-mismatch'], [0x8075, 'method-invalid'], [0x8054, 'security-mode-rejected'], [0x8055, 'security-policy-rejected'], [0x8079, 'no-subscription'], [0x807d, 'server-too-busy'], [0x807e, 'message-type-invalid'], [0x807f, 'secure-channel-unknown'], [0x8080, 'message-too-large'], [0x8083, 'endpoint-url-invalid'],
]); // prettier-ignore

export function statusName(status: number): string {
  return STATUSES.get(Math.floor(status / 0x1_0000)) ?? hex(status, 8);
}

/** The service that a type answers: it is three higher than the request, of the younger services one. */
export function answeredBy(type: number): readonly [string, Action] | undefined {
  return SERVICES.get(type > 12_000 ? type - 1 : type - 3);
}
