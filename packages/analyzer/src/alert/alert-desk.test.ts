/** Findings become alerts: what is one alert, when it is told, what its name depends on, and how many are kept. */
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { addToSlices, type Flow } from '../flow/flow.ts';
import { AlertDesk, type Alert } from './alert-desk.ts';
import { severityRank, type Finding } from './finding.ts';

const SECOND = 1_000_000;
const T0 = 1_767_592_800 * SECOND;

class Ear {
  readonly told: { id: string; count: number; isNew: boolean; severity: string }[] = [];
  readonly desk: AlertDesk;

  constructor(sensor = 'cell-1') {
    this.desk = new AlertDesk(
      { sensor, fileName: (file) => `/archive/file-${file}.pcap` },
      {
        alert: ({ id, count, severity }: Alert, isNew) => this.told.push({ id, count, isNew, severity }),
      },
    );
  }
}

function finding(changes: Partial<Finding> = {}): Finding {
  const timeUs = changes.timeUs ?? T0;
  return {
    rule: 'scan-vertical',
    title: 'Port scan',
    severity: 'medium',
    score: 0.5,
    technique: 'T0846',
    source: '10.0.0.1',
    destination: '10.0.0.2',
    port: -1,
    protocol: 'tcp',
    evidence: 'twelve ports',
    group: '10.0.0.1 10.0.0.2',
    scope: { client: '10.0.0.1', fromUs: timeUs, toUs: timeUs },
    ...changes,
    timeUs,
  };
}

function flow(uid: string): Flow {
  return {
    key: uid,
    uid,
    row: 0,
    startUs: T0,
    lastUs: T0,
    placedUs: T0,
    protocol: 6,
    etherType: -1,
    vlan: -1,
    tunnelDepth: 0,
    client: '10.0.0.1',
    server: '10.0.0.2',
    clientPort: 40_000,
    line: 'client server 6 502',
    doorway: 'server 6 502',
    serverPort: 80,
    clientState: 0,
    serverState: 0,
    history: '',
    isClientFirst: true,
    wasReversed: false,
    service: '',
    memory: {},
    facts: {},
    actions: {},
    exceptions: 0,
    violations: 0,
    slices: [],
    fragments: 0,
    ending: '',
    alerts: [],
    scores: {},
  };
}

describe('an alert', () => {
  it('is one for all findings of a rule about the same thing, and grows', () => {
    const { desk } = new Ear();
    const first = desk.add(finding(), null);
    const second = desk.add(
      finding({ timeUs: T0 + SECOND, evidence: 'thirteen ports', title: 'Larger', score: 0.9 }),
      null,
    );
    expect(second).toBe(first);
    expect(first).toMatchObject({
      count: 2,
      firstUs: T0,
      lastUs: T0 + SECOND,
      evidence: 'thirteen ports',
      title: 'Larger',
      score: 0.9,
    });
    expect(first.scope).toEqual({ client: '10.0.0.1', fromUs: T0, toUs: T0 + SECOND });
    expect(desk.add(finding({ group: 'another' }), null)).not.toBe(first);
    expect(desk.add(finding({ rule: 'scan-slow' }), null)).not.toBe(first);
    expect(desk.counters).toMatchObject({ findings: 4, alerts: 3 });
  });

  it('keeps the strongest severity and score it ever had', () => {
    const { desk } = new Ear();
    const alert = desk.add(finding({ severity: 'high', score: 0.9 }), null);
    desk.add(finding({ severity: 'low', score: 0.1 }), null);
    expect(alert).toMatchObject({ severity: 'high', score: 0.9 });
    expect(severityRank('critical')).toBeGreaterThan(severityRank('high'));
  });

  it('does not change the finding it is made of', () => {
    const { desk } = new Ear();
    const given = finding();
    desk.add(given, null);
    desk.add(finding({ timeUs: T0 + SECOND }), null);
    expect(given.scope.toUs).toBe(T0);
  });

  it('is told at once, and then at twice the count, at least a minute later', () => {
    const ear = new Ear();
    for (let i = 0; i < 200; i++) ear.desk.add(finding({ timeUs: T0 + i * SECOND }), null);
    // After 60 s there are 61 findings; 122 are reached after the next minute.
    expect(ear.told.map(({ count, isNew }) => [count, isNew])).toEqual([
      [1, true],
      [61, false],
      [122, false],
    ]);
    ear.desk.flush();
    ear.desk.flush();
    expect(ear.told.map(({ count }) => count)).toEqual([1, 61, 122, 200]);
    expect(ear.desk.counters).toMatchObject({ findings: 200, alerts: 1, told: 4 });
  });

  it('is told at once when its severity rises', () => {
    const ear = new Ear();
    ear.desk.add(finding({ severity: 'low' }), null);
    ear.desk.add(finding({ severity: 'low', timeUs: T0 + 1 }), null);
    ear.desk.add(finding({ severity: 'critical', timeUs: T0 + 2 }), null);
    expect(ear.told.map(({ severity, isNew }) => [severity, isNew])).toEqual([
      ['low', true],
      ['critical', false],
    ]);
  });

  it('has an id that depends on sensor, rule, group and time, and on nothing else', () => {
    const id = (changes: Partial<Finding> = {}, sensor?: string): string => new Ear(sensor).desk.add(finding(changes), null).id; // prettier-ignore
    expect(id()).toMatch(/^[0-9a-f]{16}$/);
    expect(id({ evidence: 'other words', severity: 'high', title: 'Else' })).toBe(id());
    expect(new Set([id(), id({ rule: 'x' }), id({ group: 'x' }), id({ timeUs: T0 + 1 }), id({}, 'cell-2')]).size).toBe(5); // prettier-ignore
  });

  it('is closed by a quarter of an hour of silence, its last count told, and the next finding begins another', () => {
    const ear = new Ear();
    const first = ear.desk.add(finding(), null);
    ear.desk.add(finding({ timeUs: T0 + 900 * SECOND }), null);
    expect(first.count).toBe(2);
    const second = ear.desk.add(finding({ timeUs: T0 + 1801 * SECOND }), null);
    expect(second.id).not.toBe(first.id);
    expect(ear.told.map(({ id, count }) => [id, count])).toEqual([
      [first.id, 1],
      [first.id, 2],
      [second.id, 1],
    ]);
    expect(ear.desk.alerts).toEqual([second]);
    expect(ear.desk.counters.closed).toBe(1);
  });

  it('names its flows and where their packets lie, each once and not without end', () => {
    const { desk } = new Ear();
    const flows = Array.from({ length: 40 }, (_, i) => flow(`C${i}`));
    flows.forEach((one, i) => {
      addToSlices(one, i, 100 + i, 5000);
      addToSlices(one, i, 200 + i, 9000);
    });
    const alerts = flows.map((one) => desk.add(finding(), one));
    desk.add(finding(), flows[0] as Flow);
    const [alert] = alerts as [Alert];
    expect(alert.flows).toEqual(['C0', 'C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7']);
    expect(alert.slices).toHaveLength(16);
    expect(alert.slices[1]).toEqual({ file: '/archive/file-1.pcap', firstPacket: 101, lastPacket: 201, firstOffset: 5000, lastOffset: 9000 }); // prettier-ignore
    expect(alert.communityId).toMatch(/^1:/);
    expect(flows[0]?.alerts).toEqual([alert.id]);
    for (let i = 0; i < 20; i++) desk.add(finding({ group: `g${i}` }), flows[0] as Flow);
    expect(flows[0]?.alerts).toHaveLength(8);
  });

  it('widens its slices of a file to both sides', () => {
    const { desk } = new Ear();
    const [early, late] = [flow('C1'), flow('C2')];
    addToSlices(late, 3, 50, 500);
    addToSlices(early, 3, 10, 100);
    addToSlices(early, 3, 90, 900);
    desk.add(finding(), late);
    expect(desk.add(finding(), early).slices).toEqual([
      { file: '/archive/file-3.pcap', firstPacket: 10, lastPacket: 90, firstOffset: 100, lastOffset: 900 },
    ]);
  });
});

describe('the desk', () => {
  /** One of very many: few enough of each rule to be told apart. */
  const one = (i: number, timeUs: number): Finding =>
    finding({ rule: `rule ${i >> 4}`, group: `g${i}`, timeUs });

  it('keeps ten thousand alerts and closes the one that was silent longest, not the oldest', () => {
    const ear = new Ear();
    for (let i = 0; i < 10_000; i++) ear.desk.add(one(i, T0 + i), null);
    ear.desk.add(one(0, T0 + 20_000), null);
    ear.desk.add(one(10_000, T0 + 20_001), null);
    expect(ear.desk.alerts).toHaveLength(10_000);
    expect(ear.desk.counters.closed).toBe(1);
    expect(ear.desk.add(one(0, T0 + 20_002), null).count).toBe(3);
    expect(ear.desk.add(one(1, T0 + 20_003), null).count).toBe(1);
  });

  it('makes one alert of what a rule begins beyond forty a minute, whatever addresses were made up', () => {
    const ear = new Ear();
    const begin = (i: number, timeUs: number): Alert => ear.desk.add(finding({ group: `g${i}`, source: `8.8.8.${i}`, timeUs }), null); // prettier-ignore
    const alerts = Array.from({ length: 100 }, (_, i) => begin(i, T0 + i));
    expect(new Set(alerts).size).toBe(41);
    expect(alerts.at(-1)).toMatchObject({ source: '', destination: '', count: 60 });
    // Known groups go on, other rules and the next minute begin their own.
    expect(begin(3, T0 + 200)).toBe(alerts[3]);
    expect(ear.desk.add(finding({ rule: 'another', timeUs: T0 + 300 }), null)).toMatchObject({ source: '10.0.0.1', count: 1 }); // prettier-ignore
    expect(begin(500, T0 + 61 * SECOND)).toMatchObject({ source: '8.8.8.500', count: 1 });
  });

  it('counts no minute from the future: a finding ahead of its time neither merges nor hushes what comes after it', () => {
    const { desk, told } = new Ear();
    const ahead = T0 + 365 * 86_400 * SECOND;
    desk.add(finding({ timeUs: ahead }), null);
    for (let i = 0; i < 100; i++)
      desk.add(finding({ group: `scanner ${i}`, timeUs: T0 + i * 10 * SECOND }), null);
    expect(desk.counters.merged).toBe(0);
    told.length = 0;
    // What happens now is an alert of now.
    for (let i = 1; i <= 4; i++) desk.add(finding({ timeUs: T0 + i * 60 * SECOND }), null);
    expect(told.map(({ isNew, count }) => [isNew, count])).toEqual([
      [true, 1],
      [false, 2],
      [false, 4],
    ]);
  });

  it('tells the last count of an alert that it must close', () => {
    const ear = new Ear();
    const { id } = ear.desk.add(finding({ group: 'g' }), null);
    ear.desk.add(finding({ group: 'g', timeUs: T0 + 1 }), null);
    for (let i = 0; i < 10_000; i++) ear.desk.add(one(i, T0 + 2 + i), null);
    expect(ear.told.filter((one) => one.id === id).map(({ count }) => count)).toEqual([1, 2]);
  });

  it('goes on behind a snapshot where it was', () => {
    const [whole, before, after] = [new Ear(), new Ear(), new Ear()];
    for (let i = 0; i < 300; i++) {
      const one = finding({ group: `g${i % 3}`, timeUs: T0 + i * SECOND });
      whole.desk.add(one, null);
      if (i === 150) after.desk.restore(deserialize(serialize(before.desk.snapshot())));
      (i < 150 ? before : after).desk.add(one, null);
    }
    for (const ear of [whole, after]) ear.desk.flush();
    expect([...before.told, ...after.told]).toEqual(whole.told);
    expect(after.desk.counters).toEqual(whole.desk.counters);
    expect(after.desk.alerts).toEqual(whole.desk.alerts);
  });
});
