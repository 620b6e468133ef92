/** For tests: flow records and alerts with plain values, to be changed where a test is about something. */
import type { Alert } from '../alert/alert-desk.ts';
import type { FlowRecord } from '../flow/flow-record.ts';

/** 2026-01-05T06:00:00Z. */
export const T0_SECONDS = 1_767_592_800;

export function flowRecordOf(changes: Partial<FlowRecord> = {}): FlowRecord {
  return {
    uid: 'CabcdefghijklmnoP1',
    sensor: 'cell-1',
    ts: T0_SECONDS + 0.25,
    duration: 1.5,
    client: '10.0.0.1',
    clientPort: 40_000,
    server: '10.0.0.2',
    serverPort: 502,
    protocol: 6,
    etherType: -1,
    vlan: -1,
    tunnelDepth: 0,
    service: 'modbus',
    connState: 'SF',
    history: 'ShADadFf',
    clientBytes: 120,
    serverBytes: 240,
    clientPackets: 6,
    serverPackets: 5,
    clientIpBytes: 372,
    serverIpBytes: 452,
    missedBytes: 0,
    communityId: '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    ending: 'closed',
    facts: {},
    exceptions: 0,
    violations: 0,
    scores: {},
    alerts: [],
    verdict: 'benign',
    ...changes,
  };
}

export function alertOf(changes: Partial<Alert> = {}): Alert {
  const fromUs = T0_SECONDS * 1e6;
  return {
    id: '0123456789abcdef',
    rule: 'scan-vertical',
    title: 'Port scan of one host',
    severity: 'high',
    score: 0.9,
    technique: 'T0846',
    sensor: 'cell-1',
    firstUs: fromUs,
    lastUs: fromUs + 2e6,
    count: 3,
    source: '10.0.0.1',
    destination: '10.0.0.2',
    port: -1,
    protocol: 'tcp',
    communityId: '',
    evidence: 'twelve ports',
    flows: [],
    slices: [],
    scope: { client: '10.0.0.1', fromUs, toUs: fromUs + 2e6 },
    ...changes,
  };
}
