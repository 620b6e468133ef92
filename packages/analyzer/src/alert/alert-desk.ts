/**
 * Turns findings into alerts: findings of one rule about the same thing are one alert that grows, so that a flood is one line that counts, not a
 * million. What must stay true:
 * - an alert's id depends on packets alone (rule, group, sensor, time of its first finding): reading them again finds the same alert;
 * - it is told at once, and again as it grows: when its severity rises, and at 2, 4, 8 … findings or each minute of packet time, whichever is later;
 * - the desk is bounded: of ALERTS_OPEN_MAX open alerts the one that was silent longest is closed.
 */
import { createHash } from 'node:crypto';
import { communityId } from '../flow/community-id.ts';
import type { Flow, FlowSlice } from '../flow/flow.ts';
import { severityRank, type FeatureShare, type Finding, type Scope, type Severity } from './finding.ts';

/** A group that was silent for this long begins another alert. */
const QUIET_US = 900_000_000;
const GROWTH_US = 60_000_000;
const ALERTS_OPEN_MAX = 10_000;
/** New alerts of one rule in a minute of packet time; what comes beyond is one alert for all of them, whatever addresses were made up for it. */
const NEW_ALERTS_MAX = 40;
const NEW_ALERTS_US = 60_000_000;
const OTHERS = '(others)';
const SLICES_MAX = 16;
const FLOWS_MAX = 8;

/** Where an alert's packets lie. */
export interface AlertSlice {
  file: string;
  firstPacket: number;
  lastPacket: number;
  /** Byte offsets of the records; -1 where the container has no fixed records. */
  firstOffset: number;
  lastOffset: number;
}

export interface Alert {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly rule: string;
  title: string;
  severity: Severity;
  score: number;
  readonly technique: string;
  readonly sensor: string;
  /** Microseconds since 1970, packet time. */
  readonly firstUs: number;
  lastUs: number;
  /** Findings. */
  count: number;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: string;
  /** Of the first flow; '' where there is none. */
  communityId: string;
  evidence: string;
  readonly flows: string[];
  readonly slices: AlertSlice[];
  readonly scope: Scope;
  features?: readonly FeatureShare[];
}

interface OpenAlert {
  readonly alert: Alert;
  toldCount: number;
  toldUs: number;
}

export interface AlertEvents {
  /** New, or grown: lent, it goes on changing. */
  alert(alert: Alert, isNew: boolean): void;
}

export interface AlertDeskOptions {
  readonly sensor: string;
  /** Name of a file by its number in the flows' slices. */
  fileName(file: number): string;
}

export class AlertDesk {
  readonly counters = { findings: 0, alerts: 0, told: 0, closed: 0, merged: 0 };
  readonly #options: AlertDeskOptions;
  readonly #events: AlertEvents;
  #open = new Map<string, OpenAlert>();
  /** The last that grew. */
  #newest: OpenAlert | null = null;
  /** Rule → alerts begun in the current minute. */
  #begun = new Map<string, { sinceUs: number; count: number }>();

  constructor(options: AlertDeskOptions, events: AlertEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** The open alerts. */
  get alerts(): Alert[] {
    return [...this.#open.values()].map(({ alert }) => alert);
  }

  snapshot(): unknown {
    return { open: this.#open, begun: this.#begun, counters: { ...this.counters } };
  }

  restore(snapshot: unknown): void {
    const { open, begun, counters } = snapshot as { open: Map<string, OpenAlert>; begun: Map<string, { sinceUs: number; count: number }>; counters: object }; // prettier-ignore
    this.#open = open;
    this.#newest = null;
    this.#begun = begun;
    Object.assign(this.counters, counters);
  }

  /** Takes a finding; `flow` is the one it is about, when it is one. The alert it is part of. */
  add(told: Finding, flow: Flow | null): Alert {
    this.counters.findings++;
    const { finding, key } = this.#limited(told);
    let open = this.#open.get(key);
    if (open !== undefined && Math.abs(finding.timeUs - open.alert.lastUs) > QUIET_US) {
      this.#close(key, open);
      open = undefined;
    }
    const isNew = open === undefined;
    open ??= this.#create(key, finding);
    const { alert } = open;
    const before = alert.severity;
    if (!isNew) {
      grow(alert, finding);
      this.#moveLast(key, open);
    }
    this.#newest = open;
    if (flow !== null) this.#addFlow(alert, flow);
    const hasRisen = severityRank(alert.severity) > severityRank(before);
    // Told at a time that was wrong, it would not be told again before that.
    const isDue = alert.lastUs - open.toldUs >= GROWTH_US || open.toldUs - finding.timeUs > QUIET_US;
    const hasGrown = alert.count >= 2 * open.toldCount && isDue;
    if (isNew || hasRisen || hasGrown) this.#tell(open, isNew);
    return alert;
  }

  /** The silent longest come first. A flood grows one alert again and again: that one is there already. */
  #moveLast(key: string, open: OpenAlert): void {
    if (open === this.#newest) return;
    this.#open.delete(key);
    this.#open.set(key, open);
  }

  /** Tells every alert that has grown since it was told. */
  flush(): void {
    for (const open of this.#open.values()) if (open.alert.count > open.toldCount) this.#tell(open, false);
  }

  /** The finding as it is, or as one of many: when its rule has begun too many alerts lately. */
  #limited(finding: Finding): { finding: Finding; key: string } {
    const key = `${finding.rule}\n${finding.group}`;
    if (this.#open.has(key)) return { finding, key };
    let begun = this.#begun.get(finding.rule);
    // A minute that began long after this finding is one of a clock that was wrong: it would have no end.
    const ageUs = finding.timeUs - (begun?.sinceUs ?? -Infinity);
    if (begun === undefined || ageUs > NEW_ALERTS_US || ageUs < -QUIET_US) {
      begun = { sinceUs: finding.timeUs, count: 0 };
      this.#begun.set(finding.rule, begun);
    }
    if (++begun.count <= NEW_ALERTS_MAX) return { finding, key };
    this.counters.merged++;
    const { timeUs } = finding;
    const scope = { client: '', fromUs: timeUs, toUs: timeUs };
    const many = { ...finding, source: '', destination: '', port: -1, group: OTHERS, scope };
    return { finding: many, key: `${finding.rule}\n${OTHERS}` };
  }

  #create(key: string, finding: Finding): OpenAlert {
    if (this.#open.size >= ALERTS_OPEN_MAX) {
      for (const [oldest, open] of this.#open) {
        this.#close(oldest, open);
        break;
      }
    }
    const { sensor } = this.#options;
    const { timeUs } = finding;
    const identity = `${sensor}\n${key}\n${timeUs.toFixed(3)}`;
    const alert: Alert = {
      id: createHash('sha256').update(identity).digest('hex').slice(0, 16),
      rule: finding.rule,
      title: finding.title,
      severity: finding.severity,
      score: finding.score,
      technique: finding.technique,
      source: finding.source,
      destination: finding.destination,
      port: finding.port,
      protocol: finding.protocol,
      evidence: finding.evidence,
      scope: { ...finding.scope },
      sensor,
      firstUs: timeUs,
      lastUs: timeUs,
      count: 1,
      communityId: '',
      flows: [],
      ...(finding.features === undefined ? {} : { features: finding.features }),
      slices: [],
    };
    const open = { alert, toldCount: 0, toldUs: timeUs };
    this.#open.set(key, open);
    this.counters.alerts++;
    return open;
  }

  /** Nothing more will come: its last count is told. */
  #close(key: string, open: OpenAlert): void {
    if (open.alert.count > open.toldCount) this.#tell(open, false);
    this.#open.delete(key);
    this.counters.closed++;
  }

  #addFlow(alert: Alert, flow: Flow): void {
    if (!flow.alerts.includes(alert.id) && flow.alerts.length < FLOWS_MAX) flow.alerts.push(alert.id);
    if (alert.communityId === '' && flow.protocol !== -1)
      alert.communityId = communityId(flow.protocol, flow.client, flow.clientPort, flow.server, flow.serverPort); // prettier-ignore
    if (!alert.flows.includes(flow.uid) && alert.flows.length < FLOWS_MAX) alert.flows.push(flow.uid);
    for (const slice of flow.slices) this.#addSlice(alert, slice);
  }

  #addSlice(alert: Alert, slice: FlowSlice): void {
    const file = this.#options.fileName(slice.file);
    let known: Alert['slices'][number] | undefined;
    for (const one of alert.slices) if (one.file === file) known = one;
    if (known === undefined) {
      if (alert.slices.length >= SLICES_MAX) return;
      alert.slices.push({
        file,
        firstPacket: slice.firstNumber,
        lastPacket: slice.lastNumber,
        firstOffset: slice.firstOffset,
        lastOffset: slice.lastOffset,
      });
      return;
    }
    if (slice.firstNumber < known.firstPacket) {
      known.firstPacket = slice.firstNumber;
      known.firstOffset = slice.firstOffset;
    }
    if (slice.lastNumber > known.lastPacket) {
      known.lastPacket = slice.lastNumber;
      known.lastOffset = slice.lastOffset;
    }
  }

  #tell(open: OpenAlert, isNew: boolean): void {
    open.toldCount = open.alert.count;
    open.toldUs = open.alert.lastUs;
    this.counters.told++;
    this.#events.alert(open.alert, isNew);
  }
}

/** One more finding: the strongest severity and score stay, the latest words are told. */
function grow(alert: Alert, finding: Finding): void {
  alert.count++;
  alert.lastUs = Math.max(alert.lastUs, finding.timeUs);
  alert.scope.fromUs = Math.min(alert.scope.fromUs, finding.scope.fromUs);
  alert.scope.toUs = Math.max(alert.scope.toUs, finding.scope.toUs);
  if (severityRank(finding.severity) > severityRank(alert.severity)) alert.severity = finding.severity;
  alert.score = Math.max(alert.score, finding.score);
  // One flow of many is explained: its words say more than the next one's score.
  if (finding.features !== undefined) alert.features = finding.features;
  if (alert.features === undefined || finding.features !== undefined) alert.evidence = finding.evidence;
  alert.title = finding.title;
}
