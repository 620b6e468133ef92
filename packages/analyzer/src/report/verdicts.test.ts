/** Which flows an alert is about, by its scope; and that only what is serious makes a flow malicious. */
import { describe, expect, it } from 'vitest';
import type { Scope } from '../alert/finding.ts';
import { alertOf, flowRecordOf, T0_SECONDS } from './report-testing.ts';
import { giveVerdicts, isInScope } from './verdicts.ts';

const FROM = T0_SECONDS * 1e6;

function scope(changes: Partial<Scope> = {}): Scope {
  return { fromUs: FROM, toUs: FROM + 2e6, ...changes };
}

describe('a scope', () => {
  it('is what it names, and anything where it names nothing', () => {
    const flow = flowRecordOf();
    expect(isInScope(flow, scope())).toBe(true);
    const rows: [Partial<Scope>, boolean][] = [
      [{ client: '10.0.0.1' }, true],
      [{ client: '10.0.0.2' }, false],
      [{ server: '10.0.0.2' }, true],
      [{ server: '10.0.0.1' }, false],
      [{ host: '10.0.0.1' }, true],
      [{ host: '10.0.0.2' }, true],
      [{ host: '10.0.0.3' }, false],
      [{ clientPort: flow.clientPort }, true],
      [{ clientPort: flow.clientPort + 1 }, false],
      [{ serverPort: 502 }, true],
      [{ serverPort: 503 }, false],
      [{ protocol: 6 }, true],
      [{ protocol: 17 }, false],
      [{ service: 'modbus' }, true],
      [{ service: 'http' }, false],
      [{ client: '10.0.0.1', server: '10.0.0.2', serverPort: 502, protocol: 6, service: 'modbus' }, true],
      [{ client: '10.0.0.1', server: '10.0.0.2', serverPort: 502, protocol: 17 }, false],
    ];
    for (const [changes, wanted] of rows)
      expect(isInScope(flow, scope(changes)), JSON.stringify(changes)).toBe(wanted);
  });

  it('takes flows that were alive in its time, also those that began before or ended after', () => {
    const at = (start: number, duration: number): boolean => isInScope(flowRecordOf({ ts: T0_SECONDS + start, duration }), scope()); // prettier-ignore
    expect([at(-5, 4.9), at(-5, 5), at(-5, 60), at(1, 0), at(2, 9), at(2.1, 9)]).toEqual([false, true, true, true, true, false]); // prettier-ignore
  });

  it('of the unanswered takes refusals and silence, and no conversation', () => {
    const unanswered = scope({ isUnanswered: true });
    expect(isInScope(flowRecordOf({ serverPackets: 0, serverBytes: 0 }), unanswered)).toBe(true);
    expect(isInScope(flowRecordOf({ serverPackets: 1, serverBytes: 0 }), unanswered)).toBe(true);
    expect(isInScope(flowRecordOf(), unanswered)).toBe(false);
  });
});

describe('a verdict', () => {
  it('is malicious for every flow of a serious alert, also for those that ended before it was told', () => {
    const early = flowRecordOf({ uid: 'early', ts: T0_SECONDS, duration: 0 });
    const other = flowRecordOf({ uid: 'other', client: '10.0.0.9' });
    giveVerdicts([early, other], [alertOf()]);
    expect([early.verdict, early.alerts]).toEqual(['malicious', ['0123456789abcdef']]);
    expect([other.verdict, other.alerts]).toEqual(['benign', []]);
  });

  it.each([
    ['info', 'benign'],
    ['low', 'benign'],
    ['medium', 'malicious'],
    ['high', 'malicious'],
    ['critical', 'malicious'],
  ] as const)('of a flow in an alert of severity %s is %s', (severity, verdict) => {
    const flow = flowRecordOf();
    giveVerdicts([flow], [alertOf({ severity })]);
    expect([flow.verdict, flow.alerts]).toEqual([verdict, ['0123456789abcdef']]);
  });

  it('finds alerts about a client, a server, either end, and nobody in particular', () => {
    for (const changes of [
      { client: '10.0.0.1' },
      { server: '10.0.0.2' },
      { host: '10.0.0.1' },
      { host: '10.0.0.2' },
      { serverPort: 502 },
    ]) {
      const flow = flowRecordOf();
      giveVerdicts([flow], [alertOf({ scope: scope(changes) })]);
      expect(flow.verdict, JSON.stringify(changes)).toBe('malicious');
    }
  });

  it('of a scope that names nothing at all is given to nobody', () => {
    const flow = flowRecordOf();
    giveVerdicts([flow], [alertOf({ scope: scope() })]);
    expect(flow.verdict).toBe('benign');
  });

  it('is of the same sensor', () => {
    const flow = flowRecordOf({ sensor: 'cell-2' });
    giveVerdicts([flow], [alertOf()]);
    expect(flow.verdict).toBe('benign');
  });

  it('keeps what the flow itself was in, and names each alert once', () => {
    const flow = flowRecordOf({ client: '10.0.0.7', alerts: ['0123456789abcdef', 'feedfeedfeedfeed'] });
    giveVerdicts(
      [flow],
      [alertOf(), alertOf({ id: 'aaaaaaaaaaaaaaaa', scope: scope({ host: '10.0.0.7' }) })],
    );
    expect(flow.alerts).toEqual(['0123456789abcdef', 'feedfeedfeedfeed', 'aaaaaaaaaaaaaaaa']);
    expect(flow.verdict).toBe('malicious');
  });
});
