/**
 * DHCP servers that give away what is not theirs to give: another router for a network than its known server names (DHCPv4); link-local addresses, or
 * themselves as name server without being a router (DHCPv6), as tools do that put themselves in between. A server that is only the second is low.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Lease, Lease6 } from '../../protocol/dhcp-lease.ts';
import type { Standing } from './router-watch.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell, Told } from '../tell.ts';

const NETWORKS_MAX = 4096;
const SERVERS_MAX = 4096;
/** Who was silent for so long is forgotten. */
const KNOWN_US = 86_400_000_000;
const LINK_LOCAL = /^fe[89ab][0-9a-f]:/;

type Told6 = Pick<Told, 'title' | 'severity' | 'evidence' | 'group' | 'timeUs'> & { readonly source: string };

interface NetworkLease {
  readonly server: string;
  readonly routers: readonly string[];
  timeUs: number;
}

export interface LeaseWatch {
  lease(lease: Lease, sender: string, flow: Flow | null, timeUs: number): void;
  /** `standing` of the sender among routers. */
  lease6(
    lease: Lease6,
    sender: string,
    vlan: number,
    standing: Standing,
    flow: Flow | null,
    timeUs: number,
  ): void;
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
        tell(flow, {
          rule: 'rogue-dhcp',
          title: 'Two servers name different routers for one network',
          severity: rule.forged_severity,
          technique: 'T0830',
          source: sender,
          destination: '',
          port: 67,
          protocol: 'dhcp',
          evidence: `${server} says that the router of ${network} is ${routers.join(', ')}; ${known.server} says ${known.routers.join(', ')}`,
          group: `router ${network} ${server}`,
          scope: { host: sender, serverPort: 67 },
          fromUs: timeUs,
          timeUs,
        });
    },

    lease6({ server: named, addresses, nameServers }, sender, vlan, standing, flow, timeUs) {
      if (!rule.enabled) return;
      const server = named === '' ? sender : named;
      const local = addresses.find((address) => LINK_LOCAL.test(address));
      if (local !== undefined)
        told6(flow, {
          title: 'A DHCPv6 server gives link-local addresses away',
          severity: rule.forged_severity,
          source: sender,
          evidence: `${sender} gives ${local} away${nameServers.length === 0 ? '' : `, and names ${nameServers.join(', ')} as name server`}: no address that a server gives is link-local`,
          group: `local ${sender}`,
          timeUs,
        });
      else if (nameServers.includes(sender) && LINK_LOCAL.test(sender) && standing !== 'router')
        told6(flow, {
          title: 'A DHCPv6 server names itself as name server',
          severity: standing === 'host' ? rule.forged_severity : rule.severity,
          source: sender,
          evidence: `${sender}, which was not heard as a router, says that names are to be asked of itself`,
          group: `names ${sender}`,
          timeUs,
        });
      const known = servers6.get(`${vlan}`);
      if (known === undefined || timeUs - known.timeUs > KNOWN_US || known.server === server) {
        if (servers6.size >= SERVERS_MAX) dropOldest(servers6);
        servers6.set(`${vlan}`, { server, sender, timeUs });
      } else
        told6(flow, {
          title: 'A second server hands out addresses',
          source: sender,
          evidence: `${sender} answers as a DHCPv6 server, as ${known.sender} does`,
          group: `second ${sender}`,
          timeUs,
        });
    },
  };

  /** Of a server of DHCPv6. */
  function told6(flow: Flow | null, what: Told6): void {
    tell(flow, {
      ...what,
      rule: 'rogue-dhcp',
      technique: 'T0830',
      destination: '',
      port: 547,
      protocol: 'dhcpv6',
      scope: { host: what.source, serverPort: 547 },
      fromUs: what.timeUs,
    });
  }
}
