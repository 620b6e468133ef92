/**
 * Beaconing: a program inside calls somebody outside at even intervals. Connections of one client to one service outside the plant are timed; when the
 * gaps of a whole series differ by less than `jitter` (deviation over mean), nobody typed that. Polling inside the plant does the same and is left alone.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { NetworkList } from '../asset/networks.ts';
import { isGroupAddress } from '../asset/networks.ts';
import { PROTO_TCP } from '../packet/packet-view.ts';
import { protocolName, type Detector, type Report } from './detector.ts';
import type { Rules } from './rule-file.ts';

interface Series {
  lastUs: number;
  gaps: number;
  sum: number;
  squares: number;
  startUs: number;
}

const SERIES_MAX = 16_384;
/** Below it pages load and downloads retry; above it nothing can be said in time. */
const GAP_US_MIN = 1_000_000;
/** Quick ones must be more of them, and more even. */
const QUICK_GAP_US = 5_000_000;
const QUICK_FACTOR = 3;
const GAP_US_MAX = 3_600_000_000;

export function createBeaconDetector(rules: Rules, internal: NetworkList, report: Report): Detector {
  const rule = rules.beaconing;
  const series = new Map<string, Series>();
  return {
    state: { series },
    flowAnswered(flow, nowUs) {
      if (!rule.enabled || flow.protocol !== PROTO_TCP) return;
      if (internal.has(flow.server) || isGroupAddress(flow.server)) return;
      const key = `${flow.client} ${flow.server} ${flow.serverPort}`;
      const known = series.get(key);
      if (known === undefined) {
        if (series.size >= SERIES_MAX) dropOldest(series);
        series.set(key, { lastUs: flow.startUs, startUs: flow.startUs, gaps: 0, sum: 0, squares: 0 });
        return;
      }
      const gap = flow.startUs - known.lastUs;
      // Connections opened together are one call.
      if (gap < GAP_US_MIN) return;
      known.lastUs = flow.startUs;
      if (gap > GAP_US_MAX) {
        known.gaps = 0;
        known.sum = 0;
        known.squares = 0;
        known.startUs = flow.startUs;
        return;
      }
      known.gaps++;
      known.sum += gap;
      known.squares += gap * gap;
      if (known.gaps < rule.intervals) return;
      const mean = known.sum / known.gaps;
      const jitter = Math.sqrt(Math.max(0, known.squares / known.gaps - mean * mean)) / mean;
      const isQuick = mean < QUICK_GAP_US;
      if (isQuick && known.gaps < QUICK_FACTOR * rule.intervals) return;
      if (jitter > (isQuick ? rule.jitter / QUICK_FACTOR : rule.jitter)) return;
      report(
        {
          rule: 'beaconing',
          title: 'Calls home at even intervals',
          severity: rule.severity,
          score: 1 - jitter,
          technique: 'T0869',
          timeUs: nowUs,
          source: flow.client,
          destination: flow.server,
          port: flow.serverPort,
          protocol: protocolName(flow.protocol),
          evidence: `${flow.client} opened ${known.gaps + 1} connections to ${flow.server} port ${flow.serverPort}, one each ${(mean / 1e6).toFixed(1)} s, with a jitter of ${(100 * jitter).toFixed(1)} %`,
          group: key,
          scope: { client: flow.client, server: flow.server, serverPort: flow.serverPort, fromUs: known.startUs, toUs: nowUs }, // prettier-ignore
        },
        flow,
      );
    },
  };
}
