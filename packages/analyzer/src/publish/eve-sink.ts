/**
 * Alerts as EVE JSON lines, as Suricata writes them: what Logstash, Wazuh, Splunk, Malcolm, Arkime and EveBox read without being told how. What Suricata
 * has no word for stands under `tapline`.
 */
import { createHash } from 'node:crypto';
import type { Severity } from '../alert/finding.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Health } from './health.ts';
import { LineFile } from './line-file.ts';
import { QueuedSink } from './queued-sink.ts';
import { signatureId } from './signatures.ts';
import type { Sink, SinkEvents } from './sink.ts';

/** Suricata's severities count down: 1 is the worst. */
const SEVERITY_NUMBERS: Readonly<Record<Severity, number>> = { critical: 1, high: 1, medium: 2, low: 3, info: 3 }; // prettier-ignore
/** As Suricata writes them; anything else in upper case. */
const PROTOCOL_NAMES: Readonly<Record<string, string>> = { icmp6: 'IPv6-ICMP', dcerpc: 'TCP' };
const BATCH_MAX = 1000;

export interface EveSinkOptions {
  readonly path: string;
  /** Also the `stats` event of each heartbeat. */
  readonly stats: boolean;
}

export function eveSink(options: EveSinkOptions, events: SinkEvents): Sink {
  const file = new LineFile(options.path);
  return new QueuedSink(
    { name: 'eve' },
    {
      batchMax: BATCH_MAX,
      deliver: async (records) => {
        file.append(records.map(eveAlert).join(''));
      },
      ...(options.stats ? { health: (health: Health) => { file.append(eveStats(health)); } } : {}),
      reopen: () => { file.close(); },
      close: async () => { file.close(); },
    },
    events,
  ); // prettier-ignore
}

/** One line, with its end. */
export function eveAlert(record: AlertRecord): string {
  const [slice] = record.slices;
  const event = {
    ...(record.sensor === '.' ? {} : { host: record.sensor }),
    event_type: 'alert',
    ...present('src_ip', ipOf(record.source)),
    ...present('dest_ip', ipOf(record.destination)),
    ...(record.port >= 0 ? { dest_port: record.port } : {}),
    proto: PROTOCOL_NAMES[record.transport] ?? (record.transport || record.protocol).toUpperCase(),
    ...present('app_proto', record.protocol === record.transport ? '' : record.protocol),
    ...present('community_id', record.community_id),
    ...macs(record),
    alert: {
      action: 'allowed',
      gid: 1,
      signature_id: signatureId(record.rule),
      rev: 1,
      signature: `TAPLINE ${record.title}`,
      category: record.technique?.name || record.rule,
      severity: SEVERITY_NUMBERS[record.severity],
      metadata: {
        tapline_rule: [record.rule],
        tapline_severity: [record.severity],
        ...(record.technique === null
          ? {}
          : {
              mitre_technique_id: [record.technique.id],
              mitre_technique_name: [record.technique.name],
              mitre_matrix: ['ics'],
            }),
      },
    },
    ...(slice === undefined
      ? {}
      : { pcap_filename: slice.file, capture_file: slice.file, pcap_cnt: slice.firstPacket }),
    tapline: {
      id: record.id,
      sequence: record.sequence,
      sensor: record.sensor,
      first: record.first,
      last: record.last,
      count: record.count,
      score: record.score,
      evidence: record.evidence,
      features: record.features,
      flows: record.flows,
      slices: record.slices,
      export: record.export,
    },
  };
  // `flow_id` goes beyond what a number of JavaScript holds, so it is put in as text.
  return `{"timestamp":"${eveTime(record.last)}","flow_id":${flowId(record)},${JSON.stringify(event).slice(1)}\n`;
}

/** The `stats` event, as far as Suricata's names go. */
export function eveStats(health: Health): string {
  const event = {
    timestamp: new Date(health.sentAtUs / 1000).toISOString().replace('Z', '000+0000'),
    event_type: 'stats',
    host: health.hostname,
    stats: {
      uptime: Math.floor(health.uptimeMs / 1000),
      decoder: { pkts: health.packets },
      detect: { alert: health.alerts },
      tapline: {
        agent: health.agent,
        version: health.version,
        last_sequence: health.lastSequence,
        cpu_percent: health.cpuPercent,
        rss_bytes: health.rssBytes,
        queues: Object.fromEntries(
          health.queues.map(({ name, queued, dropped }) => [name, { queued, dropped }]),
        ),
      },
    },
  };
  return `${JSON.stringify(event)}\n`;
}

/** 63 bits that the same flow always gets: of its Community ID, else its uid, else the alert's id. */
export function flowId(record: AlertRecord): string {
  const name = record.community_id || record.flows[0] || record.id;
  const bits = createHash('sha1').update(name).digest().readBigUInt64BE() & 0x7fff_ffff_ffff_ffffn;
  return bits.toString();
}

/** `2026-01-02T03:04:05.678901Z` as EVE writes it. */
function eveTime(iso: string): string {
  return iso.replace('Z', '+0000');
}

function macs({ source, destination }: AlertRecord): object {
  const ether = { ...present('src_mac', macOf(source)), ...present('dest_mac', macOf(destination)) };
  return Object.keys(ether).length === 0 ? {} : { ether };
}

function present(key: string, value: string): Record<string, string> {
  return value === '' ? {} : { [key]: value };
}

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

export function macOf(address: string): string {
  return MAC.test(address) ? address : '';
}

/** '' for a MAC, a name, or nothing. */
export function ipOf(address: string): string {
  return !MAC.test(address) && /^(\d{1,3}(\.\d{1,3}){3}|[0-9a-f.]*:[0-9a-f:.]+)$/i.test(address)
    ? address
    : '';
}
