/**
 * Deviations from the baseline: a host, a pair or an operation that was never seen, a value outside its range, a rhythm that changed, a device that fell silent. The first
 * *write* of a host that only ever read, and a program download that was never part of the plant's days, are what it is for.
 */
import type { BaselineOperation, SensorBaseline } from '../../asset/baseline.ts';
import { OT_SERVICES, operationKey, serviceName } from '../../asset/inventory.ts';
import { isGroupAddress, type NetworkList } from '../../asset/networks.ts';
import type { Severity } from '../../alert/finding.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Detector, Report } from '../detector.ts';
import type { Rules } from '../rule-file.ts';

/** A rhythm is one when its gaps differ by less than this, deviation over mean, in so many repetitions. */
const RHYTHM_JITTER = 0.3;
const RHYTHM_COUNT = 20;
const VALUES_MIN = 5;
/** Gaps that are averaged before a rhythm is called changed. */
const RHYTHM_GAPS = 10;
/** A host that was heard less often has no habit of talking. */
const TALKATIVE_PACKETS = 50;
const SILENCE_US_MIN = 60_000_000;
const SILENCE_CHECK_US = 10_000_000;
const DEAF_US = 30_000_000;
const TRACKED_MAX = 65_536;

interface KnownPair {
  readonly operations: ReadonlyMap<string, BaselineOperation>;
  /** It changed something at the server before. */
  readonly hasWritten: boolean;
}

interface Rhythm {
  lastUs: number;
  gaps: number;
  sum: number;
}

type BaselineRule = Extract<keyof Rules, `baseline_${string}`>;

export function createBaselineDetector(
  rules: Rules,
  internal: NetworkList,
  baseline: SensorBaseline,
  report: Report,
): Detector {
  const hosts = new Map(baseline.hosts.map((host) => [host.address, host]));
  const pairs = new Map<string, KnownPair>();
  for (const { client, server, service, port, operations } of baseline.pairs)
    // Two lines of a baseline may share a service (EtherNet/IP on TCP and UDP) or a port: what either knows is known.
    for (const what of [service, String(port)]) {
      const key = `${client} ${server} ${what}`;
      pairs.set(key, merged(pairs.get(key), operations));
    }
  /** When a host was heard last. */
  const heard = new Map<string, number>();
  const rhythms = new Map<string, Rhythm>();
  const clock = new Map<string, number>();

  function found(
    rule: BaselineRule,
    title: string,
    technique: string,
    flow: Flow | null,
    about: { source: string; destination: string; group: string; timeUs: number },
    evidence: string,
    severity: Severity = rules[rule].severity,
  ): void {
    if (!rules[rule].enabled) return;
    const { source, destination, group, timeUs } = about;
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.9,
        technique,
        timeUs,
        source,
        destination,
        port: flow?.serverPort ?? -1,
        protocol: flow === null ? '' : serviceName(flow),
        evidence,
        group,
        scope: {
          ...(rule === 'baseline_new_host' ? { host: source } : { client: source, ...(destination === '' ? {} : { server: destination }) }), // prettier-ignore
          fromUs: flow?.startUs ?? timeUs,
          toUs: timeUs,
        },
      },
      flow,
    );
  }

  function newHost(flow: Flow, address: string, nowUs: number): boolean {
    if (hosts.has(address) || isGroupAddress(address) || !internal.has(address)) return false;
    found('baseline_new_host', 'A host that was never here', 'T0848', flow, { source: address, destination: '', group: address, timeUs: nowUs }, `${address} is not among the ${hosts.size} hosts of the baseline`); // prettier-ignore
    return true;
  }

  return {
    state: { heard, rhythms, clock },

    flowStarted(flow, view) {
      const nowUs = view.timeUs;
      // Of a conversation that begins with an answer only the server was heard: its client may be nobody.
      const isNew = newHost(flow, flow.wasReversed ? flow.server : flow.client, nowUs);
      if (isNew || isGroupAddress(flow.server)) return;
      if (pairs.has(`${flow.client} ${flow.server} ${flow.serverPort}`)) return;
      found('baseline_new_pair', 'Two hosts that never talked like this', 'T0846', flow, { source: flow.client, destination: flow.server, group: `${flow.client} ${flow.server} ${flow.serverPort}`, timeUs: nowUs }, `${flow.client} goes to ${flow.server} ${serviceName(flow)}, which is not in the baseline`); // prettier-ignore
    },

    flowAnswered(flow, nowUs) {
      if (!isGroupAddress(flow.server)) newHost(flow, flow.server, nowUs);
    },

    packet(view, flow, isFromClient) {
      endDeafness(view.timeUs);
      if (flow === null) return;
      const sender = isFromClient ? flow.client : flow.server;
      if (hosts.has(sender)) heard.set(sender, view.timeUs);
      else if (isFromClient && flow.wasReversed && flow.memory['client-told'] !== true) {
        flow.memory['client-told'] = true;
        newHost(flow, sender, view.timeUs);
      }
      const checkedUs = clock.get('checked') ?? view.timeUs;
      if (checkedUs === view.timeUs) clock.set('checked', checkedUs);
      if (view.timeUs - checkedUs < SILENCE_CHECK_US) return;
      clock.set('checked', view.timeUs);
      findSilent(view.timeUs);
    },

    operation(flow, operation, nowUs) {
      if (!OT_SERVICES.has(operation.protocol)) return;
      const ends = `${flow.client} ${flow.server}`;
      // All that was seen at this port comes first: a line's service is the one its last conversation had, so another line may bear the name.
      const pair = pairs.get(`${ends} ${flow.serverPort}`) ?? pairs.get(`${ends} ${operation.protocol}`); // prettier-ignore
      const what = `${operation.name}${operation.object === '' ? '' : ` of ${operation.object}`}`;
      const about = { source: flow.client, destination: flow.server, group: `${flow.client} ${flow.server} ${operation.name} ${operation.object}`, timeUs: nowUs }; // prettier-ignore
      const key = operationKey(operation);
      const known = pair?.operations.get(key);
      if (known === undefined) {
        if (operation.isResponse) return;
        if (operation.action === 'program')
          found('baseline_program', "A controller's program is touched, as it never was", 'T0843', flow, about, `${flow.client} asks ${flow.server} for ${what}, which the baseline does not know`); // prettier-ignore
        else if (CHANGES.has(operation.action) && pair?.hasWritten !== true)
          found('baseline_new_write', 'A host commands that never did', 'T0855', flow, { ...about, group: `${flow.client} ${flow.server}` }, `${flow.client} ${pair === undefined ? 'never talked with' : 'only ever read from'} ${flow.server}, and now sends ${what}`); // prettier-ignore
        else
          found('baseline_new_operation', 'An operation that was never used here', 'T0855', flow, about, `${flow.client} asks ${flow.server} for ${what}, which the baseline does not know`, CHANGES.has(operation.action) ? rules.baseline_new_operation.severity : 'low'); // prettier-ignore
        return;
      }
      compareValue(known, operation.value, flow, about, what);
      if (!operation.isResponse) compareRhythm(known, `${ends} ${flow.serverPort} ${key}`, nowUs, flow, about, what); // prettier-ignore
    },
  };

  function compareValue(
    known: BaselineOperation,
    value: number,
    flow: Flow,
    about: Parameters<typeof found>[4],
    what: string,
  ): void {
    if (Number.isNaN(value) || known.min === null || known.max === null) return;
    // A few samples are no range.
    if (known.count < VALUES_MIN) return;
    const margin = Math.max(1e-9, (known.max - known.min) * rules.baseline_value.margin);
    if (value >= known.min - margin && value <= known.max + margin) return;
    found('baseline_value', 'A value outside its range', 'T0836', flow, about, `${what} is ${value}; the baseline knows ${known.min} to ${known.max}`); // prettier-ignore
  }

  function compareRhythm(
    known: BaselineOperation,
    key: string,
    nowUs: number,
    flow: Flow,
    about: Parameters<typeof found>[4],
    what: string,
  ): void {
    if (known.count < RHYTHM_COUNT || known.cycle_us === 0 || known.cycle_deviation_us > RHYTHM_JITTER * known.cycle_us) return; // prettier-ignore
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
    found('baseline_cycle', 'A rhythm that changed', 'T0831', flow, about, `${what} comes each ${(mean / 1e6).toFixed(3)} s; the baseline knows ${(known.cycle_us / 1e6).toFixed(3)} s`); // prettier-ignore
  }

  /** While nobody at all was heard it was the sensor that was deaf, or the files of that time are missing: that is no device's silence. */
  function endDeafness(nowUs: number): void {
    const lastUs = clock.get('last') ?? nowUs;
    if (nowUs - lastUs >= DEAF_US) for (const [address, atUs] of heard) heard.set(address, atUs + nowUs - lastUs); // prettier-ignore
    if (nowUs >= lastUs) clock.set('last', nowUs);
  }

  function findSilent(nowUs: number): void {
    for (const [address, lastUs] of heard) {
      const host = hosts.get(address);
      if (host === undefined || host.packets < TALKATIVE_PACKETS) continue;
      const limit = Math.max(SILENCE_US_MIN, host.silence_us * rules.baseline_silent_device.factor);
      if (nowUs - lastUs <= limit) continue;
      // Told once; when it speaks again it may fall silent again.
      heard.delete(address);
      found('baseline_silent_device', 'A device fell silent', 'T0815', null, { source: address, destination: '', group: address, timeUs: nowUs }, `${address} (${host.role}) has said nothing for ${Math.round((nowUs - lastUs) / 1e6)} s; in the baseline it was never silent for more than ${(host.silence_us / 1e6).toFixed(1)} s`); // prettier-ignore
    }
  }
}

function merged(known: KnownPair | undefined, more: readonly BaselineOperation[]): KnownPair {
  const operations = new Map(known?.operations);
  for (const operation of more) {
    const key = operationKey(operation);
    const before = operations.get(key);
    operations.set(key, before === undefined ? operation : either(before, operation));
  }
  const hasWritten = more.some(({ action, count }) => count > 0 && CHANGES.has(action));
  return { operations, hasWritten: hasWritten || known?.hasWritten === true };
}

/** What is normal at one of two places; two rhythms are none. */
function either(one: BaselineOperation, other: BaselineOperation): BaselineOperation {
  const least = Math.min(one.min ?? Infinity, other.min ?? Infinity);
  const most = Math.max(one.max ?? -Infinity, other.max ?? -Infinity);
  return {
    ...one,
    count: one.count + other.count,
    min: least === Infinity ? null : least,
    max: most === -Infinity ? null : most,
    cycle_us: 0,
    cycle_deviation_us: 0,
  };
}

const CHANGES: ReadonlySet<string> = new Set(['write', 'control', 'program']);
