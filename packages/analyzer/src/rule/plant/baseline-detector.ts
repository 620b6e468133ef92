/**
 * Deviations from the baseline: a host, a pair or an operation that was never seen, a value outside its range, a rhythm that changed, a device that fell silent. The first
 * *write* of a host that only ever read, and a program download that was never part of the plant's days, are what it is for.
 */
import type { BaselineOperation, SensorBaseline } from '../../asset/baseline.ts';
import { OT_SERVICES, operationKey, serviceName } from '../../asset/inventory.ts';
import { isGroupAddress, type NetworkList } from '../../asset/networks.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { RuleName, Seen, Tell } from '../tell.ts';
import { CHANGES, knownPairs, type KnownPair } from './known-pairs.ts';
import { createSilenceWatch } from './silence-watch.ts';

/** A rhythm is one when its gaps differ by less than this, deviation over mean, in so many repetitions. */
const RHYTHM_JITTER = 0.3;
const RHYTHM_COUNT = 20;
const VALUES_MIN = 5;
/** Gaps that are averaged before a rhythm is called changed. */
const RHYTHM_GAPS = 10;
const TRACKED_MAX = 65_536;
/** A plant does what it always did. */
const SCORE = 0.9;

interface Rhythm {
  lastUs: number;
  gaps: number;
  sum: number;
}

/** What is found in a single operation. */
type OperationRule = Extract<
  RuleName,
  'baseline-program' | 'baseline-new-write' | 'baseline-new-operation' | 'baseline-value' | 'baseline-cycle'
>;

type OperationSeen = Omit<Seen, 'rule'> & { readonly rule: OperationRule; readonly group?: string };

export function createBaselineDetector(
  rules: Rules,
  internal: NetworkList,
  baseline: SensorBaseline,
  tell: Tell,
): Detector {
  const hosts = new Map(baseline.hosts.map((host) => [host.address, host]));
  const pairs = knownPairs(baseline);
  const silence = createSilenceWatch(rules, hosts, tell);
  const rhythms = new Map<string, Rhythm>();
  const isEnabled: Readonly<Record<OperationRule, boolean>> = {
    'baseline-program': rules.baseline_program.enabled,
    'baseline-new-write': rules.baseline_new_write.enabled,
    'baseline-new-operation': rules.baseline_new_operation.enabled,
    'baseline-value': rules.baseline_value.enabled,
    'baseline-cycle': rules.baseline_cycle.enabled,
  };

  function newHost(flow: Flow, address: string, nowUs: number): boolean {
    if (hosts.has(address) || isGroupAddress(address) || !internal.has(address)) return false;
    if (rules.baseline_new_host.enabled)
      tell(flow, {
        rule: 'baseline-new-host',
        title: 'A host that was never here',
        score: SCORE,
        technique: 'T0848',
        source: address,
        destination: '',
        protocol: serviceName(flow),
        evidence: `${address} is not among the ${hosts.size} hosts of the baseline`,
        group: address,
        scope: { host: address },
        timeUs: nowUs,
      });
    return true;
  }

  return {
    state: { ...silence.state, rhythms },

    flowStarted(flow, view) {
      const nowUs = view.timeUs;
      // Of a conversation that begins with an answer only the server was heard: its client may be nobody.
      const isNew = newHost(flow, flow.wasReversed ? flow.server : flow.client, nowUs);
      if (isNew || isGroupAddress(flow.server)) return;
      const { client, server } = flow;
      const pair = `${client} ${server} ${flow.serverPort}`;
      if (pairs.has(pair) || !rules.baseline_new_pair.enabled) return;
      tell(flow, {
        rule: 'baseline-new-pair',
        title: 'Two hosts that never talked like this',
        score: SCORE,
        technique: 'T0846',
        protocol: serviceName(flow),
        evidence: `${client} goes to ${server} ${serviceName(flow)}, which is not in the baseline`,
        group: pair,
        scope: { client, server },
        timeUs: nowUs,
      });
    },

    flowAnswered(flow, nowUs) {
      if (!isGroupAddress(flow.server)) newHost(flow, flow.server, nowUs);
    },

    packet(view, flow, isFromClient) {
      silence.listens(view.timeUs);
      if (flow === null) return;
      const sender = isFromClient ? flow.client : flow.server;
      if (hosts.has(sender)) silence.hears(sender);
      else if (isFromClient && flow.wasReversed && flow.memory['client-told'] !== true) {
        flow.memory['client-told'] = true;
        newHost(flow, sender, view.timeUs);
      }
      silence.check();
    },

    operation(flow, operation, nowUs) {
      if (!OT_SERVICES.has(operation.protocol)) return;
      const ends = `${flow.client} ${flow.server}`;
      // All that was seen at this port comes first: a line's service is the one its last conversation had, so another line may bear the name.
      const pair = pairs.get(`${ends} ${flow.serverPort}`) ?? pairs.get(`${ends} ${operation.protocol}`);
      const key = operationKey(operation);
      const known = pair?.operations.get(key);
      if (known === undefined) {
        if (!operation.isResponse) meet(flow, operation, pair, nowUs);
        return;
      }
      compareValue(known, flow, operation, nowUs);
      if (!operation.isResponse)
        compareRhythm(known, `${ends} ${flow.serverPort} ${key}`, flow, operation, nowUs);
    },
  };

  /** An operation that the baseline does not know. */
  function meet(flow: Flow, operation: Operation, pair: KnownPair | undefined, nowUs: number): void {
    const { client, server } = flow;
    const what = whatOf(operation);
    const changes = CHANGES.has(operation.action);
    if (operation.action === 'program')
      told(flow, operation, {
        rule: 'baseline-program',
        title: "A controller's program is touched, as it never was",
        technique: 'T0843',
        evidence: `${client} asks ${server} for ${what}, which the baseline does not know`,
        timeUs: nowUs,
      });
    else if (changes && pair?.hasWritten !== true)
      told(flow, operation, {
        rule: 'baseline-new-write',
        title: 'A host commands that never did',
        technique: 'T0855',
        evidence: `${client} ${pair === undefined ? 'never talked with' : 'only ever read from'} ${server}, and now sends ${what}`,
        group: `${client} ${server}`,
        timeUs: nowUs,
      });
    else
      told(flow, operation, {
        rule: 'baseline-new-operation',
        title: 'An operation that was never used here',
        severity: changes ? rules.baseline_new_operation.severity : 'low',
        technique: 'T0855',
        evidence: `${client} asks ${server} for ${what}, which the baseline does not know`,
        timeUs: nowUs,
      });
  }

  function compareValue(known: BaselineOperation, flow: Flow, operation: Operation, nowUs: number): void {
    const { value } = operation;
    if (Number.isNaN(value) || known.min === null || known.max === null) return;
    // A few samples are no range.
    if (known.count < VALUES_MIN) return;
    const margin = Math.max(1e-9, (known.max - known.min) * rules.baseline_value.margin);
    if (value >= known.min - margin && value <= known.max + margin) return;
    told(flow, operation, {
      rule: 'baseline-value',
      title: 'A value outside its range',
      technique: 'T0836',
      evidence: `${whatOf(operation)} is ${value}; the baseline knows ${known.min} to ${known.max}`,
      timeUs: nowUs,
    });
  }

  function compareRhythm(
    known: BaselineOperation,
    key: string,
    flow: Flow,
    operation: Operation,
    nowUs: number,
  ): void {
    if (known.count < RHYTHM_COUNT || known.cycle_us === 0) return;
    if (known.cycle_deviation_us > RHYTHM_JITTER * known.cycle_us) return;
    const rhythm = rhythms.get(key);
    if (rhythm === undefined) {
      if (rhythms.size < TRACKED_MAX) rhythms.set(key, { lastUs: nowUs, gaps: 0, sum: 0 });
      return;
    }
    rhythm.sum += Math.max(0, nowUs - rhythm.lastUs);
    rhythm.lastUs = nowUs;
    if (++rhythm.gaps < RHYTHM_GAPS) return;
    const mean = rhythm.sum / rhythm.gaps;
    rhythm.gaps = 0;
    rhythm.sum = 0;
    const { factor } = rules.baseline_cycle;
    if (mean <= known.cycle_us * factor && mean >= known.cycle_us / factor) return;
    told(flow, operation, {
      rule: 'baseline-cycle',
      title: 'A rhythm that changed',
      technique: 'T0831',
      evidence: `${whatOf(operation)} comes each ${(mean / 1e6).toFixed(3)} s; the baseline knows ${(known.cycle_us / 1e6).toFixed(3)} s`,
      timeUs: nowUs,
    });
  }

  function told(flow: Flow, operation: Operation, seen: OperationSeen): void {
    const { client, server } = flow;
    if (!isEnabled[seen.rule]) return;
    tell(flow, {
      group: `${client} ${server} ${operation.name} ${operation.object}`,
      ...seen,
      score: SCORE,
      protocol: serviceName(flow),
      scope: { client, server },
    });
  }
}

function whatOf({ name, object }: Operation): string {
  return `${name}${object === '' ? '' : ` of ${object}`}`;
}
