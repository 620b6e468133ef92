/**
 * DNS tunnelling: data carried in names. Many different, long, random-looking names under one domain, asked by one client; nobody types those. Names that
 * are looked up once and do not exist, one after another (a domain generation algorithm), are told as well.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

/** More than two full labels: nobody names a host so. A few of them are enough for a suspicion. */
const FULL_NAME = 130;
const FULL_QUERIES = 5;
const ADDRESS_TYPES: ReadonlySet<string> = new Set(['query-a', 'query-aaaa', 'query-https', 'query-ptr']);
/** Of names that are asked for anything but addresses (TXT, MX, CNAME), a quarter is enough for it. */
const CARRIER_SHARE = 4;
/** Hexadecimal or base32 from end to end: some of those may be a tunnel's first. */
const CODED = /^(?:[0-9a-f.]{28,}|[a-z2-7.]{40,})$/;
const CODED_QUERIES = 3;
/** Bits per character, above which a label is not made of words. */
const ENTROPY_MIN = 3.2;
/** Types that tools use, to move data or to break resolvers. */
const UNUSUAL_TYPES: ReadonlySet<string> = new Set(['query-sig', 'query-null', 'query-any', 'query-wks']);
const ZONE_TRANSFERS: ReadonlySet<string> = new Set(['query-axfr', 'query-ixfr']);
/** Who answered questions so lately is a DNS server, and may copy zones from another. */
const DNS_PORT = 53;
const SERVER_US = 86_400_000_000;
/** Records that carry text are asked for now and then, not all the time. */
const CARRIERS_MIN = 20;
/** And those of type NULL not at all, but by tunnels. */
const NULLS_MIN = 8;
const CARRIERS_US = 600_000_000;
/** Names that do not exist, of different domains, within the window. */
const NXDOMAINS_MIN = 10;

interface Asked extends Seen {
  readonly domain: string;
}

export function createDnsDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.dns_tunnel;
  const names = new KeyedWindows(rule.within * 1000);
  const carriers = new KeyedWindows(CARRIERS_US);
  const missing = new KeyedWindows(rule.within * 1000);
  const servers = new KeyedWindows(SERVER_US);
  const trusted = new Set(rule.trusted.map((name) => name.toLowerCase()));

  function isTrusted(name: string): boolean {
    for (let at = 0; at !== -1; at = name.indexOf('.', at + 1))
      if (trusted.has(name.slice(at === 0 ? 0 : at + 1))) return true;
    return false;
  }

  return {
    state: { names, missing, carriers, servers },
    operation(flow, operation, nowUs) {
      if (!rule.enabled || operation.protocol !== 'dns' || operation.object === '') return;
      const name = operation.object.replace(/\.$/, '').toLowerCase();
      const { client, server } = flow;
      const domain = name.split('.').slice(-2).join('.');
      if (operation.isResponse) {
        servers.at(server, nowUs);
        if (operation.name === 'query-sig' && flow.protocol === PROTO_TCP && operation.exception === '')
          told(flow, {
            rule: 'dns-unusual-type',
            title: 'A signature as large as an overflow needs it',
            severity: 'medium',
            technique: 'T0869',
            evidence: `${server} answers ${client} with a signature of ${name} over TCP, as SIGRed does (CVE-2020-1350)`,
            domain,
            fromUs: nowUs,
            timeUs: nowUs,
          });
        if (!/nxdomain|name-error/.test(operation.exception) || name.endsWith('.arpa')) return;
        const window = missing.add(client, nowUs, domain);
        if (memberCount(window) < NXDOMAINS_MIN) return;
        told(flow, {
          rule: 'dns-generated-names',
          title: 'Names that do not exist, one after another',
          technique: 'T0869',
          evidence: `${client} looked up names of ${memberCount(window)} different domains in ${seconds(window, nowUs)} that do not exist`,
          domain,
          fromUs: window.startUs,
          timeUs: nowUs,
        });
        return;
      }
      if (ZONE_TRANSFERS.has(operation.name) && servers.peek(client, nowUs) === undefined)
        told(flow, {
          rule: 'dns-zone-transfer',
          title: 'A zone is asked for by a host that is no DNS server',
          severity: 'medium',
          technique: 'T0846',
          evidence: `${client} asks ${server} for all of ${name} (${operation.name.slice(6)})`,
          domain,
          fromUs: nowUs,
          timeUs: nowUs,
        });
      // Who announces a name to its neighbours asks them for any record of it first (RFC 6762, section 8.1).
      const isAmongNeighbours = flow.serverPort !== DNS_PORT;
      if (!isAmongNeighbours && UNUSUAL_TYPES.has(operation.name))
        told(flow, {
          rule: 'dns-unusual-type',
          title: 'A record type that hardly anybody asks for',
          severity: 'low',
          technique: 'T0869',
          evidence: `${client} asks for ${name} with ${operation.name}`,
          domain,
          fromUs: nowUs,
          timeUs: nowUs,
        });
      // Nothing leaves through questions to one's neighbours, and services of reputation are made of such names.
      if (isAmongNeighbours || isTrusted(name)) return;
      if (operation.name === 'query-txt' || operation.name === 'query-null') {
        const window = carriers.add(`${client} ${domain}`, nowUs, name);
        if (window.count >= (operation.name === 'query-null' ? NULLS_MIN : CARRIERS_MIN))
          told(flow, {
            rule: 'dns-tunnel',
            title: 'Data in DNS answers',
            technique: 'T0869',
            evidence: `${client} asked ${window.count} times for ${operation.name.slice(6)} records of ${memberCount(window)} names under ${domain} in ${seconds(window, nowUs)}`,
            domain,
            fromUs: window.startUs,
            timeUs: nowUs,
          });
      }
      const label = name.slice(0, Math.max(0, name.length - domain.length - 1));
      if (label.length < rule.label_length || entropy(label) < ENTROPY_MIN) return;
      const window = names.add(`${client} ${domain}`, nowUs, name);
      // Names of content networks are long too, but never as long as a name can be, and they are asked for addresses.
      const isFull = operation.value >= FULL_NAME;
      const needed = isFull
        ? FULL_QUERIES
        : ADDRESS_TYPES.has(operation.name)
          ? rule.queries
          : Math.ceil(rule.queries / CARRIER_SHARE);
      const isCoded = CODED.test(label) && memberCount(window) >= CODED_QUERIES;
      if (memberCount(window) < needed && !isCoded) return;
      const count = memberCount(window);
      told(flow, {
        rule: 'dns-tunnel',
        title: 'Data in DNS names',
        severity: count < needed ? 'low' : count < rule.queries ? 'medium' : rule.severity,
        technique: 'T0869',
        evidence: `${client} asked for ${count} different names of ${label.length} characters under ${domain} in ${seconds(window, nowUs)}`,
        domain,
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };

  function told(flow: Flow, { domain, ...seen }: Asked): void {
    const { client, server } = flow;
    tell(flow, {
      ...seen,
      score: 0.9,
      protocol: 'dns',
      group: seen.rule === 'dns-tunnel' ? `${client} ${domain}` : client,
      scope: { client, server, service: 'dns' },
    });
  }
}

/** Shannon entropy of the characters, in bits. */
function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
