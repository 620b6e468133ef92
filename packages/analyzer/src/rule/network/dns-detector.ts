/**
 * DNS tunnelling: data carried in names. Many different, long, random-looking names under one domain, asked by one client; nobody types those. Names that
 * are looked up once and do not exist, one after another (a domain generation algorithm), are told as well.
 */
import type { Severity } from '../../alert/finding.ts';
import { PROTO_TCP } from '../../packet/packet-view.ts';
import type { Detector, Report } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

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

export function createDnsDetector(rules: Rules, report: Report): Detector {
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
      const domain = name.split('.').slice(-2).join('.');
      if (operation.isResponse) {
        servers.at(flow.server, nowUs);
        if (operation.name === 'query-sig' && flow.protocol === PROTO_TCP && operation.exception === '')
          found('dns-unusual-type', 'A signature as large as an overflow needs it', domain, nowUs, `${flow.server} answers ${flow.client} with a signature of ${name} over TCP, as SIGRed does (CVE-2020-1350)`, 'medium'); // prettier-ignore
        if (!/nxdomain|name-error/.test(operation.exception) || name.endsWith('.arpa')) return;
        const window = missing.add(flow.client, nowUs, domain);
        if (memberCount(window) < NXDOMAINS_MIN) return;
        found('dns-generated-names', 'Names that do not exist, one after another', domain, window.startUs, `${flow.client} looked up names of ${memberCount(window)} different domains in ${seconds(window, nowUs)} that do not exist`); // prettier-ignore
        return;
      }
      if (ZONE_TRANSFERS.has(operation.name) && servers.peek(flow.client, nowUs) === undefined)
        found('dns-zone-transfer', 'A zone is asked for by a host that is no DNS server', domain, nowUs, `${flow.client} asks ${flow.server} for all of ${name} (${operation.name.slice(6)})`, 'medium'); // prettier-ignore
      // Who announces a name to its neighbours asks them for any record of it first (RFC 6762, section 8.1).
      const isAmongNeighbours = flow.serverPort !== DNS_PORT;
      if (!isAmongNeighbours && UNUSUAL_TYPES.has(operation.name))
        found('dns-unusual-type', 'A record type that hardly anybody asks for', domain, nowUs, `${flow.client} asks for ${name} with ${operation.name}`, 'low'); // prettier-ignore
      // Nothing leaves through questions to one's neighbours, and services of reputation are made of such names.
      if (isAmongNeighbours || isTrusted(name)) return;
      if (operation.name === 'query-txt' || operation.name === 'query-null') {
        const window = carriers.add(`${flow.client} ${domain}`, nowUs, name);
        if (window.count >= (operation.name === 'query-null' ? NULLS_MIN : CARRIERS_MIN))
          found('dns-tunnel', 'Data in DNS answers', domain, window.startUs, `${flow.client} asked ${window.count} times for ${operation.name.slice(6)} records of ${memberCount(window)} names under ${domain} in ${seconds(window, nowUs)}`); // prettier-ignore
      }
      const label = name.slice(0, Math.max(0, name.length - domain.length - 1));
      if (label.length < rule.label_length || entropy(label) < ENTROPY_MIN) return;
      const window = names.add(`${flow.client} ${domain}`, nowUs, name);
      // Names of content networks are long too, but never as long as a name can be, and they are asked for addresses.
      const isFull = operation.value >= FULL_NAME;
      const needed = isFull ? FULL_QUERIES : ADDRESS_TYPES.has(operation.name) ? rule.queries : Math.ceil(rule.queries / CARRIER_SHARE); // prettier-ignore
      const isCoded = CODED.test(label) && memberCount(window) >= CODED_QUERIES;
      if (memberCount(window) < needed && !isCoded) return;
      const severity = memberCount(window) < needed ? 'low' : memberCount(window) < rule.queries ? 'medium' : rule.severity; // prettier-ignore
      found('dns-tunnel', 'Data in DNS names', domain, window.startUs, `${flow.client} asked for ${memberCount(window)} different names of ${label.length} characters under ${domain} in ${seconds(window, nowUs)}`, severity); // prettier-ignore

      function found(
        kind: string,
        title: string,
        domain: string,
        fromUs: number,
        evidence: string,
        severity: Severity = rule.severity,
      ): void {
        report(
          {
            rule: kind,
            title,
            severity,
            score: 0.9,
            technique: kind === 'dns-zone-transfer' ? 'T0846' : 'T0869',
            timeUs: nowUs,
            source: flow.client,
            destination: flow.server,
            port: flow.serverPort,
            protocol: 'dns',
            evidence,
            group: kind === 'dns-tunnel' ? `${flow.client} ${domain}` : flow.client,
            scope: { client: flow.client, server: flow.server, service: 'dns', fromUs, toUs: nowUs },
          },
          flow,
        );
      }
    },
  };
}

/** Shannon entropy of the characters, in bits. */
function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
