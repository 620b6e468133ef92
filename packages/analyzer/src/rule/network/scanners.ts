/**
 * What all scans have in common: how loud each is told, and who was seen scanning lately: the other ports of such a host belong to his scan, so he needs
 * fewer targets to be told again.
 */
import type { Severity } from '../../alert/finding.ts';
import type { NetworkList } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import { type CountedWindow, KeyedWindows, memberCount } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell, Whose } from '../tell.ts';

const WIDE_SCAN_HOSTS = 64;
/** The web, names and time: many servers of them outside are asked by one host, and some never answer. */
const OUTWARD_PORTS: ReadonlySet<number> = new Set([53, 80, 123, 443]);
const KNOWN_SCANNER_US = 600_000_000;
const KNOWN_SCANNER_SHARE = 4;

/** Inventories and monitors look round too, and some of what they know is switched off; and a refusal may be made up by anybody. */
const LOOKING_ROUND: ReadonlySet<string> = new Set(['arp-scan', 'ndp-scan', 'scan-protocol']);

export interface Scan extends Pick<Seen, 'title' | 'severity' | 'evidence' | 'timeUs'> {
  readonly rule:
    | 'scan-vertical'
    | 'scan-horizontal'
    | 'scan-slow'
    | 'scan-protocol'
    | 'scan-version'
    | 'scan-flags'
    | 'arp-scan'
    | 'ndp-scan';
  readonly source: string;
  /** '' for many. */
  readonly destination: string;
  /** -1 for many. */
  readonly port: number;
  readonly protocol: string;
  readonly scope: Whose;
  /** What was sent so long before and behind belongs to it. */
  readonly aroundUs?: number;
}

export interface Scanners {
  /** `window`: what was tried, as members. */
  tell(flow: Flow | null, window: CountedWindow, scan: Scan): void;
  /** So many targets make a scan by this source, of whom else `targets` do. */
  needed(source: string, targets: number, nowUs: number): number;
  readonly state: Record<string, unknown>;
}

export function createScanners(rules: Rules, internal: NetworkList, tell: Tell): Scanners {
  const scanners = new KeyedWindows(KNOWN_SCANNER_US);
  const severities: Readonly<Record<Scan['rule'], Severity>> = {
    'scan-vertical': rules.scan_vertical.severity,
    'scan-horizontal': rules.scan_horizontal.severity,
    'scan-slow': rules.scan_slow.severity,
    'scan-protocol': rules.scan_protocol.severity,
    'scan-version': rules.scan_version.severity,
    'scan-flags': rules.scan_flags.severity,
    'arp-scan': rules.arp_scan.severity,
    'ndp-scan': rules.arp_scan.severity,
  };

  return {
    state: { scanners },

    tell(flow, window, { aroundUs = 0, ...scan }) {
      const { rule, source, destination, port, protocol, timeUs } = scan;
      const severity = scan.severity ?? severityOf(rule, memberCount(window), flow);
      if (severity !== 'low' && !LOOKING_ROUND.has(rule)) scanners.at(source, timeUs);
      const isOfProtocol = rule === 'scan-slow' || rule === 'scan-horizontal';
      const isOfPort = destination === '' || rule === 'scan-version';
      tell(flow, {
        ...scan,
        severity,
        score: 0.95,
        technique: 'T0846',
        group: `${source} ${destination} ${isOfProtocol ? protocol : ''} ${isOfPort ? port : ''}`,
        fromUs: window.startUs - aroundUs,
        toUs: timeUs + aroundUs,
      });
    },

    needed(source, targets, nowUs) {
      return scanners.peek(source, nowUs) === undefined ? targets : Math.ceil(targets / KNOWN_SCANNER_SHARE);
    },
  };

  function severityOf(rule: Scan['rule'], targets: number, flow: Flow | null): Severity {
    const wanted = severities[rule];
    if (flow === null || rule === 'scan-vertical') return wanted;
    const { serverPort: port } = flow;
    // File sharing calls strangers and is answered by few: to be known, but nobody is attacked.
    if (rule !== 'scan-protocol' && isFileSharing(port) && isOutward(flow)) return 'low';
    const isOfHosts = rule === 'scan-horizontal' || rule === 'scan-slow';
    // Who has lost the way to the Internet calls a dozen of its servers in vain.
    if (isOfHosts && targets < WIDE_SCAN_HOSTS && OUTWARD_PORTS.has(port) && isOutward(flow)) return 'low';
    // A dozen hosts may be a tool that looks for its devices; five dozen are not.
    return rule === 'scan-horizontal' && targets < WIDE_SCAN_HOSTS ? 'medium' : wanted;
  }

  function isOutward({ client, server }: Flow): boolean {
    return internal.has(client) && !internal.has(server);
  }
}

/** Gnutella, BitTorrent, eDonkey, Direct Connect, Soulseek. */
function isFileSharing(port: number): boolean {
  return (
    (port >= 6346 && port <= 6348) ||
    (port >= 6881 && port <= 6999) ||
    port === 51_413 ||
    (port >= 4661 && port <= 4672) ||
    port === 411 ||
    port === 412 ||
    port === 2234
  );
}
