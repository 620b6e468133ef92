/**
 * The rules' thresholds, as they stand in `config/rules.yaml`: every rule with its switch, its severity and its numbers. Times are durations (`60s`),
 * lists are YAML lists.
 */
import { duration } from '@tapline/shared/config/fields.ts';
import { z } from 'zod';
import { INTERNAL_NETWORKS_DEFAULT, isNetwork } from '../asset/networks.ts';
import { NOTABLE_HOSTS_DEFAULT } from './host/notable-hosts.ts';
import { SEVERITIES, type Severity } from '../alert/finding.ts';

/** Reputation of hosts and files, and where addresses belong, asked for in DNS names. */
const DNS_TRUSTED_DEFAULT = [
  'avast.com',
  'avqs.mcafee.com',
  'avts.mcafee.com',
  'barracudacentral.org',
  'cymru.com',
  'e5.sk',
  'mailspike.net',
  'senderbase.org',
  'sophosxl.net',
  'sorbs.net',
  'spamcop.net',
  'spamhaus.org',
  'surbl.org',
  'trendmicro.com',
  'uribl.com',
  'webroot.com',
];

const DAY_MS = 86_400_000;

function rule<T extends z.ZodRawShape>(severity: Severity, fields: T) {
  return z
    .strictObject({
      enabled: z.boolean().default(true),
      severity: z.enum(SEVERITIES).default(severity),
      ...fields,
    })
    .prefault({} as never);
}

const within = (milliseconds: number) => duration(1000, DAY_MS).default(milliseconds);
const count = (value: number) => z.number().int().min(1).max(1_000_000).default(value);
const network = z.string().refine(isNetwork, 'an address or a network, like 10.0.0.0/8');

export const rulesSchema = z.strictObject({
  internal_networks: z.array(network).max(1024).default(INTERNAL_NETWORKS_DEFAULT),
  scan_vertical: rule('high', { ports: count(12), within: within(60_000) }),
  scan_horizontal: rule('high', { hosts: count(12), within: within(60_000) }),
  scan_slow: rule('medium', { targets: count(25), within: within(3_600_000) }),
  scan_distributed: rule('medium', { sources: count(40), within: within(600_000) }),
  scan_protocol: rule('medium', { protocols: count(4), within: within(60_000) }),
  scan_version: rule('medium', { protocols: count(4), within: within(600_000) }),
  scan_flags: rule('medium', { packets: count(3), within: within(60_000) }),
  arp_scan: rule('medium', { hosts: count(30), within: within(60_000) }),
  syn_flood: rule('high', { half_open: count(60), within: within(10_000) }),
  spoofed_flood: rule('high', { half_open: count(80), within: within(10_000) }),
  connection_flood: rule('high', { connections: count(100), within: within(10_000) }),
  udp_flood: rule('high', { packets: count(5000), within: within(5000) }),
  icmp_flood: rule('high', { packets: count(100), within: within(1000) }),
  reflection: rule('high', { packets: count(50), within: within(10_000) }),
  brute_force: rule('high', { attempts: count(6), within: within(600_000) }),
  http_brute_force: rule('high', { attempts: count(15), within: within(60_000) }),
  sensitive_access: rule('low', {
    ports: z.array(z.number().int().min(1).max(65_535)).default([22, 23, 102, 502, 2404, 3389, 20000, 44818, 4840, 47808]),
    allow: z.array(network).max(1024).default(INTERNAL_NETWORKS_DEFAULT),
  }),
  internet_access: rule('low', {}),
  remote_access: rule('low', {}),
  foreign_hosts: rule('low', {}),
  unknown_service: rule('low', {}),
  weak_kerberos: rule('low', {}),
  dhcp_starvation: rule('medium', { devices: count(60), within: within(60_000) }),
  rogue_dhcp: rule('low', { forged_severity: z.enum(SEVERITIES).default('medium') }),
  rogue_router: rule('medium', { routers: count(10), prefixes: count(20), within: within(60_000) }),
  ndp_spoofing: rule('medium', { changes: count(2), denials: count(3), within: within(60_000) }),
  ndp_flood: rule('medium', { messages: count(1000), within: within(10_000) }),
  name_poisoning: rule('medium', { names: count(4), within: within(600_000) }),
  gateway_takeover: rule('medium', {}),
  routing_newcomer: rule('low', {}),
  stp_root: rule('medium', {}),
  stp_flood: rule('medium', { changes: count(50), bridges: count(50), within: within(10_000) }),
  mac_flood: rule('medium', { addresses: count(1000), within: within(10_000) }),
  vlan_hopping: rule('low', { negotiation_severity: z.enum(SEVERITIES).default('medium'), frames: count(3), within: within(60_000) }),
  discovery_flood: rule('medium', { neighbours: count(200), within: within(10_000) }),
  wifi_deauth: rule('medium', { frames: count(20), within: within(10_000) }),
  icmp_redirect: rule('low', {}),
  directory_search: rule('medium', {}),
  goose_event: rule('low', {}),
  forged_publisher: rule('medium', { contradictions: count(2), within: within(60_000) }),
  arp_spoofing: rule('high', { changes: count(2), within: within(60_000) }),
  protocol_violation: rule('medium', { violations: count(5), within: within(60_000) }),
  beaconing: rule('medium', { intervals: count(8), jitter: z.number().min(0).max(1).default(0.1) }),
  dns_spoofing: rule('medium', {}),
  icmp_tunnel: rule('medium', { packets: count(20), within: within(60_000) }),
  nameless_tls: rule('medium', {}),
  self_signed_tls: rule('medium', {}),
  clear_password: rule('low', {}),
  dead_service: rule('low', { attempts: count(20), within: within(600_000) }),
  tcp_injection: rule('high', {}),
  replayed_segment: rule('medium', { copies: count(20) }),
  notable_host: rule('low', {
    hosts: z.record(z.string().min(1).max(64), z.array(z.string().min(3).max(253)).max(1024)).default(NOTABLE_HOSTS_DEFAULT),
  }),
  dns_tunnel: rule('high', { queries: count(40), within: within(60_000), label_length: count(24), trusted: z.array(z.string().min(3).max(253)).max(1024).default(DNS_TRUSTED_DEFAULT) }),
  smb_spread: rule('medium', { hosts: count(5), within: within(60_000) }),
  remote_administration: rule('medium', {}),
  exploit: rule('high', {}),
  ot_program: rule('medium', {}),
  ot_control: rule('low', { outage_severity: z.enum(SEVERITIES).default('medium'), repeats: count(30), within: within(60_000) }),
  ot_first_write: rule('low', {}),
  ot_new_writer: rule('medium', {}),
  ot_discovery: rule('medium', { hosts: count(8), within: within(600_000) }),
  ot_probe: rule('medium', { units: count(16), functions: count(4), objects: count(30), within: within(60_000) }),
  ot_walk: rule('medium', { units: count(8), addresses: count(30), functions: count(12), within: within(60_000) }),
  ot_switching: rule('medium', { controllers: count(4), objects: count(20), within: within(60_000) }),
  ot_relay: rule('low', { spoofed_severity: z.enum(SEVERITIES).default('medium'), requests: count(5), within: within(60_000) }),
  ot_unanswered: rule('low', { flood_severity: z.enum(SEVERITIES).default('medium'), requests: count(20), flood: count(1000), within: within(60_000) }),
  connection_churn: rule('medium', { connections: count(120), within: within(60_000) }),
  message_flood: rule('medium', { messages: count(3000), within: within(5000) }),
  tcp_reset: rule('medium', { conversations: count(3), resets: count(20), within: within(60_000) }),
  broad_subscription: rule('low', { series_severity: z.enum(SEVERITIES).default('medium'), repeats: count(10), within: within(600_000) }),
  ot_override: rule('medium', { priority: z.number().int().min(0).max(8).default(5) }),
  opcua_anonymous: rule('low', {}),
  ot_suspect_command: rule('high', { within: within(3_600_000) }),
  rpc_enumeration: rule('low', { series_severity: z.enum(SEVERITIES).default('medium'), hosts: count(4), within: within(600_000) }),
  sip_scan: rule('medium', { hosts: count(10), subscribers: count(10), within: within(60_000) }),
  file_transfer: rule('medium', {}),
  web_attack: rule('medium', {}),
  remote_shell: rule('high', {}),
  malware: rule('high', {}),
  one_sided_mirror: rule('medium', { flows: count(8), within: within(600_000) }),
  baseline_new_host: rule('medium', {}),
  baseline_new_pair: rule('low', {}),
  baseline_new_operation: rule('medium', {}),
  baseline_new_write: rule('high', {}),
  baseline_program: rule('high', {}),
  baseline_value: rule('medium', { margin: z.number().min(0).max(10).default(0.1) }),
  baseline_cycle: rule('low', { factor: z.number().min(1.1).max(1000).default(3) }),
  baseline_silent_device: rule('medium', { factor: z.number().min(1.1).max(1000).default(5) }),
}); // prettier-ignore

export type Rules = z.infer<typeof rulesSchema>;
