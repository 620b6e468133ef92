/**
 * DHCP servers that give away what is not theirs to give: another router for a network than its known server names (DHCPv4); link-local addresses, or
 * themselves as name server without being a router (DHCPv6), as tools do that put themselves in between. A server that is only the second is low.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Lease, Lease6 } from '../../protocol/dhcp-lease.ts';
import type { Tell } from './control-tell.ts';
import type { Standing } from './router-watch.ts';
import type { Rules } from '../rule-file.ts';

const NETWORKS_MAX = 4096;
const SERVERS_MAX = 4096;
/** Who was silent for so long is forgotten. */
const KNOWN_US = 86_400_000_000;
const LINK_LOCAL = /^fe[89ab][0-9a-f]:/;

interface NetworkLease {
  readonly server: string;
  readonly routers: readonly string[];
  timeUs: number;
}

export interface LeaseWatch {
  lease(lease: Lease, sender: string, flow: Flow | null, timeUs: number): void;
  /** `standing` of the sender among routers. */
  lease6(lease: Lease6, sender: string, vlan: number, standing: Standing, flow: Flow | null, timeUs: number): void; // prettier-ignore
  readonly state: Record<string, unknown>;
}

export function createLeaseWatch(rules: Rules, tell: Tell): LeaseWatch {
  const rule = rules.rogue_dhcp;
  const networks = new Map<string, NetworkLease>();
  /** VLAN → its server of DHCPv6. */
  const servers6 = new Map<string, { readonly server: string; readonly sender: string; timeUs: number }>();

  return {
    state: { networks, servers6 },

    lease({ network, server: named, routers }, sender, flow, timeUs) {
      if (!rule.enabled || network === '' || routers.length === 0) return;
      const server = named === '' ? sender : named;
      const known = networks.get(network);
      if (known === undefined || timeUs - known.timeUs > KNOWN_US) {
        if (networks.size >= NETWORKS_MAX) dropOldest(networks);
        networks.set(network, { server, routers, timeUs });
      } else if (known.server === server) networks.set(network, { server, routers, timeUs });
      else if (!routers.some((router) => known.routers.includes(router)))
        found('Two servers name different routers for one network', `${server} says that the router of ${network} is ${routers.join(', ')}; ${known.server} says ${known.routers.join(', ')}`, sender, rule.forged_severity, `router ${network} ${server}`, 67, flow, timeUs); // prettier-ignore
    },

    lease6({ server: named, addresses, nameServers }, sender, vlan, standing, flow, timeUs) {
      if (!rule.enabled) return;
      const server = named === '' ? sender : named;
      const local = addresses.find((address) => LINK_LOCAL.test(address));
      if (local !== undefined)
        found('A DHCPv6 server gives link-local addresses away', `${sender} gives ${local} away${nameServers.length === 0 ? '' : `, and names ${nameServers.join(', ')} as name server`}: no address that a server gives is link-local`, sender, rule.forged_severity, `local ${sender}`, 547, flow, timeUs); // prettier-ignore
      else if (nameServers.includes(sender) && LINK_LOCAL.test(sender) && standing !== 'router')
        found('A DHCPv6 server names itself as name server', `${sender}, which was not heard as a router, says that names are to be asked of itself`, sender, standing === 'host' ? rule.forged_severity : rule.severity, `names ${sender}`, 547, flow, timeUs); // prettier-ignore
      const known = servers6.get(`${vlan}`);
      if (known === undefined || timeUs - known.timeUs > KNOWN_US || known.server === server) {
        if (servers6.size >= SERVERS_MAX) dropOldest(servers6);
        servers6.set(`${vlan}`, { server, sender, timeUs });
      } else
        found('A second server hands out addresses', `${sender} answers as a DHCPv6 server, as ${known.sender} does`, sender, rule.severity, `second ${sender}`, 547, flow, timeUs); // prettier-ignore
    },
  };

  function found(
    title: string,
    evidence: string,
    source: string,
    severity: Severity,
    group: string,
    port: number,
    flow: Flow | null,
    timeUs: number,
  ): void {
    const protocol = port === 547 ? 'dhcpv6' : 'dhcp';
    tell({ rule: 'rogue-dhcp', title, severity, technique: 'T0830', protocol, source, port, evidence, group, scope: { host: source, serverPort: port }, timeUs }, flow); // prettier-ignore
  }
}
