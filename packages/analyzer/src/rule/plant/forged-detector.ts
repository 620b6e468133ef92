/**
 * Forged GOOSE and sampled values: somebody else publishes what a device publishes. Seen in what no honest publisher does, whatever frames were lost, repeated over redundant paths
 * or played in a loop: two different frames with one count, a state that goes on after it was left, and one stream from two MAC addresses by turns. A publisher that begins
 * again and a device that takes another's place do neither.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Told by the dissectors of both protocols; they are this rule's, and no violations of the protocol. */
export const CONTRADICTIONS: ReadonlySet<string> = new Set([
  'two states are published at once',
  'sqNum repeated with other data',
  'data changed without a new stNum',
  'sqNum used twice',
  'smpCnt repeated with other data',
  'two counts are published at once',
]);

const STREAMS_MAX = 4096;
/** A source that was silent for longer has gone. */
const ALIVE_US = 5_000_000;

interface Sources {
  source: string;
  lastUs: number;
  /** Who published before it. */
  before: string;
  beforeUs: number;
}

export function createForgedDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.forged_publisher;
  const contradictions = new KeyedWindows(rule.within * 1000);
  const streams = new Map<string, Sources>();

  function count(flow: Flow, protocol: string, stream: string, what: string, nowUs: number): void {
    if (!rule.enabled) return;
    const key = `${flow.server} ${protocol} ${stream}`;
    const window = contradictions.add(key, nowUs);
    if (window.count < rule.contradictions) return;
    tell(flow, {
      rule: 'forged-publisher',
      title: `Somebody else publishes a device's ${protocol === 'goose' ? 'GOOSE' : 'sampled values'}`,
      score: 0.9,
      technique: 'T0856',
      port: -1,
      protocol,
      evidence: `${window.count} times in ${seconds(window, nowUs)}: ${what}`,
      group: key,
      scope: { client: flow.client, server: flow.server },
      fromUs: window.startUs,
      timeUs: nowUs,
    });
  }

  return {
    state: { contradictions, streams },

    violation(flow, protocol, reason, nowUs) {
      if (CONTRADICTIONS.has(reason)) count(flow, protocol, flow.client, reason, nowUs);
    },

    operation(flow, operation, nowUs) {
      const { protocol, object, unit } = operation;
      if (protocol !== 'goose' && protocol !== 'sampled-values') return;
      const key = `${flow.server} ${flow.vlan} ${unit} ${object}`;
      const known = streams.get(key);
      if (known === undefined) {
        if (streams.size >= STREAMS_MAX) dropOldest(streams);
        streams.set(key, { source: flow.client, lastUs: nowUs, before: '', beforeUs: 0 });
        return;
      }
      const { source, lastUs, before, beforeUs } = known;
      if (source !== flow.client) {
        known.source = flow.client;
        known.before = source;
        known.beforeUs = lastUs;
        if (before === flow.client && nowUs - beforeUs <= ALIVE_US)
          count(flow, protocol, object, `${source} and ${before} publish ${object || unit} by turns`, nowUs);
      }
      known.lastUs = nowUs;
    },
  };
}
