/**
 * Beaconing: a program inside calls somebody outside at even intervals. Connections of one client to one service outside the plant are timed; when the
 * gaps of a whole series differ by less than `jitter` (deviation over mean), nobody typed that. Polling inside the plant does the same and is left alone.
 * Datagrams that nobody answers, each from another port, are what a script sends: wherever they go, that is a thing to know.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import type { NetworkList } from '../../asset/networks.ts';
import { isGroupAddress } from '../../asset/networks.ts';
import type { Severity } from '../../alert/finding.ts';
import { BACKWARD, PACKETS } from '../../flow/flow-columns.ts';
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP, PROTO_UDP } from '../../packet/packet-view.ts';
import { protocolName, type Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

interface Series {
  lastUs: number;
  startUs: number;
  /** The last ones, at most QUICK_FACTOR × `intervals`. */
  gaps: number[];
  /** It was told: what goes on in its rhythm belongs to it. */
  mean: number;
}

const SERIES_MAX = 16_384;
/** NetFlow, IPFIX, sFlow, StatsD, TZSP, syslog and the like: nobody answers a report. */
const REPORT_PORTS: ReadonlySet<number> = new Set([
  2055, 2056, 4729, 4739, 5514, 6343, 8125, 9555, 9995, 9996, 12_201, 37_008,
]);
/** Below it pages load and downloads retry; above it nothing can be said in time. */
const GAP_US_MIN = 1_000_000;
/** Quick ones must be more of them, and more even. */
const QUICK_GAP_US = 5_000_000;
const QUICK_FACTOR = 3;
const GAP_US_MAX = 3_600_000_000;

export function createBeaconDetector(rules: Rules, internal: NetworkList, tell: Tell): Detector {
  const rule = rules.beaconing;
  const series = new Map<string, Series>();
  return {
    state: { series },
    flowAnswered(flow, nowUs) {
      // Whatever its address, who is asked for registers is a controller, and polled.
      if (flow.protocol !== PROTO_TCP || internal.has(flow.server) || OT_SERVICES.has(flow.service)) return;
      called(flow, nowUs, rule.severity, 'Calls home at even intervals');
    },

    flowEnded(flow, values, nowUs) {
      if (flow.protocol !== PROTO_UDP || flow.service !== '' || flow.serverPort < 1024 || flow.wasReversed)
        return;
      if (REPORT_PORTS.has(flow.serverPort) || (values[flow.row + BACKWARD + PACKETS] as number) > 0) return;
      called(flow, nowUs, 'low', 'Datagrams at even intervals that nobody answers');
    },
  };

  function called(flow: Flow, nowUs: number, severity: Severity, title: string): void {
    if (!rule.enabled || isGroupAddress(flow.server)) return;
    const key = flow.line;
    const known = series.get(key);
    if (known === undefined) {
      if (series.size >= SERIES_MAX) dropOldest(series);
      series.set(key, { lastUs: flow.startUs, startUs: flow.startUs, gaps: [], mean: 0 });
      return;
    }
    const gap = flow.startUs - known.lastUs;
    // Connections opened together are one call; one from the future is none.
    if (gap < GAP_US_MIN && gap > -GAP_US_MAX) return;
    known.lastUs = flow.startUs;
    if (Math.abs(gap) > GAP_US_MAX) {
      known.gaps = [];
      known.mean = 0;
      known.startUs = flow.startUs;
      return;
    }
    known.gaps.push(gap);
    if (known.gaps.length > QUICK_FACTOR * rule.intervals) known.gaps.shift();
    const isInRhythm = known.mean > 0 && gap > known.mean / 2 && gap < known.mean * 2;
    const rhythm = rhythmOf(known.gaps);
    if (rhythm === null && !isInRhythm) return;
    if (rhythm !== null) known.mean = rhythm.mean;
    const mean = known.mean;
    const jitter = rhythm?.jitter ?? rule.jitter;
    tell(flow, {
      rule: 'beaconing',
      title,
      severity,
      score: 1 - jitter,
      technique: 'T0869',
      protocol: protocolName(flow.protocol),
      evidence: `${flow.client} calls ${flow.server} port ${flow.serverPort} each ${(mean / 1e6).toFixed(1)} s, with a jitter of ${(100 * jitter).toFixed(1)} %, for ${Math.round((nowUs - known.startUs) / 1e6)} s`,
      group: key,
      scope: { client: flow.client, server: flow.server, serverPort: flow.serverPort },
      fromUs: known.startUs,
      timeUs: nowUs,
    });
  }

  /** Mean and jitter of the last gaps, if there are enough of them and they are even. The longest of eight is left out: a call may fail. */
  function rhythmOf(gaps: readonly number[]): { readonly mean: number; readonly jitter: number } | null {
    if (gaps.length < rule.intervals) return null;
    const isQuick = median(gaps) < QUICK_GAP_US;
    const needed = isQuick ? QUICK_FACTOR * rule.intervals : rule.intervals;
    if (gaps.length < needed) return null;
    const even = gaps.slice(-needed).sort((a, b) => a - b);
    even.length -= Math.floor(needed / 8);
    const mean = even.reduce((sum, gap) => sum + gap, 0) / even.length;
    const variance = even.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / even.length;
    const jitter = Math.sqrt(variance) / mean;
    return jitter <= (isQuick ? rule.jitter / QUICK_FACTOR : rule.jitter) ? { mean, jitter } : null;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
