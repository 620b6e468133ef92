/** What becomes of a model's scores: floods are told, and what only looks like one to a model is not. The shipped models, in their worker. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Alert } from '../alert/alert-desk.ts';
import { analyzeFiles } from '../analysis.ts';
import { Rig, rulesOf } from '../engine-testing.ts';
import { udp, type Packet } from '../packet/frame-testing.ts';
import { knock, refused } from '../rule/traffic-testing.ts';
import { FlowScoring } from './flow-scoring.ts';
import { readModels } from './model-file.ts';
import { Scorer } from './scorer.ts';

const MODELS = join(import.meta.dirname, '../../models');
const RULE = 'model-level2-ddos';
let scorer: Scorer;
let scoring: FlowScoring;

beforeAll(async () => {
  scorer = new Scorer();
  scoring = new FlowScoring(scorer, true);
  const models = readModels(MODELS);
  await scoring.use(models.filter(({ manifest }) => manifest.name === 'level2-ddos'));
});

afterAll(() => scorer.close());

function each(count: number, make: (i: number) => Packet | Packet[]): Packet[] {
  return Array.from({ length: count }, (_, i) => make(i)).flat();
}

/** The alert, and how many flows the model took for a part of a flood. */
async function heard(packets: readonly Packet[]): Promise<{ alert: Alert | undefined; told: number }> {
  const told = (): number => scoring.books['level2-ddos']?.['told'] ?? 0;
  const before = told();
  const rig = new Rig({ flowEnded: (flow, values, engine) => { scoring.add(flow, values, engine); } }).add(packets).finish(); // prettier-ignore
  scoring.flush();
  await scoring.settled();
  return { alert: rig.engine.desk.alerts.find(({ rule }) => rule === RULE), told: told() - before };
}

async function alertOf(packets: readonly Packet[]): Promise<Alert | undefined> {
  return (await heard(packets)).alert;
}

const flood = (count: number): Packet[] => each(count, (i) => knock(`8.8.${i >> 8}.${i & 255}:4000`, '10.0.0.2:80', i * 1000)); // prettier-ignore

it('a flood is told by its victim once it is one, and fewer flows than that only inform', async () => {
  expect(await alertOf(flood(200))).toMatchObject({
    severity: 'medium',
    source: '',
    destination: '10.0.0.2',
  });
  expect((await alertOf(flood(19)))?.severity ?? 'info').toBe('info');
});

it('an alert is explained, and its words are about the features that stand with it', async () => {
  const alert = await alertOf(flood(600));
  const [first] = alert?.features ?? [];
  expect(first).toBeDefined();
  expect(alert?.evidence).toContain(`${first?.name} = `);
});

it('who is refused now and then waits for a service that is down, and at ten a second it is a flood', async () => {
  const asks = (count: number, gapUs: number): Packet[] => each(count, (i) => refused(`10.0.0.7:${2000 + i}`, '10.0.0.2:9010', i * gapUs)); // prettier-ignore
  const seldom = await heard(asks(250, 500_000));
  expect(seldom.told).toBeGreaterThan(20);
  expect(seldom.alert).toBeUndefined();
  expect((await alertOf(asks(600, 1000)))?.severity).toBe('medium');
});

it('what a whole network says to a group is said to nobody', async () => {
  const { alert, told } = await heard(each(200, (i) => ({ timeUs: i * 1000, frame: udp(`10.0.1.${i}:5353`, '224.0.0.251:5353', { payload: 60 }) }))); // prettier-ignore
  expect(told).toBeGreaterThan(20);
  expect(alert).toBeUndefined();
});

describeWithCorpus('over a real flood of requests', () => {
  it('connections that go well make none in the numbers in which others do', async () => {
    const file = { path: corpusPath('attacks/ddos/CIC-DDoS-2019-WebDDoS.pcap'), sensor: '.', bytes: 0 };
    const models = readModels(MODELS);
    const { alerts } = await analyzeFiles({ files: [file], rules: rulesOf({}), models });
    const whole = alerts.filter(({ rule, count }) => rule === RULE && count > 100);
    // A hundred of them within ten minutes would; here they take twenty.
    expect(whole.map(({ severity }) => severity)).toEqual(['info']);
  });
});
