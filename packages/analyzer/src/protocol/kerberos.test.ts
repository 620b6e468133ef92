/** Kerberos messages by hand, hostile ones, and real ones beside tshark. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { loadRules } from '../rule/load-rules.ts';
import { analyzeFiles } from '../analysis.ts';
import type { Memory, Operation } from './dissector.ts';
import { element, refusal, ticketRequest } from './kerberos-testing.ts';
import { kerberos, kerberosOverTcp } from './kerberos.ts';

function dissect(
  bytes: readonly number[],
  isFromClient = true,
  memory: Memory = {},
  facts: string[] = [],
): Operation[] {
  const operations: Operation[] = [];
  const sink = {
    operation: (operation: Operation) => operations.push({ ...operation }),
    fact: (key: string, value: string) => facts.push(`${key}=${value}`),
    violation: () => undefined,
  };
  kerberos.dissect({ bytes: Uint8Array.from(bytes), at: 0, end: bytes.length, isFromClient, timeUs: 0, memory }, sink); // prettier-ignore
  return operations;
}

describe('a message', () => {
  it('that asks for a ticket names what it offers', () => {
    expect(dissect(ticketRequest(null, 18, 17, 23))).toMatchObject([{ name: 'as-req', object: 'etype:18,17,23', isResponse: false }]); // prettier-ignore
    expect(dissect(ticketRequest(null, 23))).toMatchObject([{ object: 'etype:23' }]);
    // Microsoft's own are negative, and some take two bytes.
    const old = element(
      0x6a,
      element(
        0x30,
        element(0xa4, element(0x30, element(0xa8, element(0x30, [2, 1, 0x80], [2, 2, 0xff, 0x7b])))),
      ),
    );
    expect(dissect(old)).toMatchObject([{ object: 'etype:-128,-133' }]);
  });

  it('that refuses says why', () => {
    expect(dissect(refusal(24), false)).toMatchObject([{ name: 'error', exception: 'preauth-failed', isResponse: true }]); // prettier-ignore
    expect(dissect(refusal(99), false)).toMatchObject([{ exception: 'error-99' }]);
  });

  it('that knows nobody of a name says of which, by its own word or by the request’s', () => {
    const memory: Memory = {};
    const unknown = (bytes: number[]): string[] => {
      const facts: string[] = [];
      // Who logs in is no new thing that a machine does.
      for (const { object } of dissect(bytes, false, memory, facts)) expect(object).toBe('');
      return facts;
    };
    expect(unknown(refusal(6, 'HTTP/historian'))).toEqual(['unknown-principal=HTTP/historian']);
    expect(unknown(refusal(6))).toEqual(['unknown-principal=']);
    dissect(ticketRequest('operator', 18), true, memory);
    expect(unknown(refusal(6))).toEqual(['unknown-principal=operator']);
    expect(unknown(refusal(24, 'operator'))).toEqual([]);
    // Of the next request, not of the last that had one.
    dissect(ticketRequest(null, 18), true, memory);
    expect(unknown(refusal(6))).toEqual(['unknown-principal=']);
    dissect(ticketRequest('x'.repeat(4000), 18), true, memory);
    expect(memory['client']).toHaveLength(96);
  });

  it('of anything else is nothing', () => {
    expect(dissect([])).toEqual([]);
    expect(dissect([0x30, 2, 1, 1])).toEqual([]);
  });
});

it('whatever the bytes are, nothing throws, and lengths over TCP are bounded', () => {
  const mutatedOf = (base: readonly number[]): fc.Arbitrary<number[]> =>
    fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
      const bytes = [...base];
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(fc.nat(255), { maxLength: 80 }),
        mutatedOf(ticketRequest('HTTP/historian', 18, 23)),
        mutatedOf(refusal(6, 'operator')),
      ),
      fc.nat(100),
      (bytes, cut) => {
        for (const { object } of dissect(bytes.slice(0, cut))) expect(object.length).toBeLessThanOrEqual(96);
        const length = kerberosOverTcp.messageBytes?.(Uint8Array.from(bytes), 0, bytes.length) ?? 0;
        expect(length).toBeLessThanOrEqual(4 + 256 * 1024);
      },
    ),
  );
});

describeWithCorpus('of a real capture', () => {
  it('the messages are those of tshark', async () => {
    const path = corpusPath('attacks/lateral/lm_mimikazt_skeleton_kerberos_rc4_etype.pcapng');
    const { stdout } = spawnSync('tshark', ['-r', path, '-Y', 'kerberos', '-T', 'fields', '-e', 'kerberos.msg_type'], { encoding: 'utf8' }); // prettier-ignore
    const requests = stdout.split(/[\n,]/).filter((type) => type === '10').length;
    const { engines } = await analyzeFiles({
      files: [{ path, sensor: '.', bytes: 0 }],
      rules: loadRules(undefined),
    });
    const counted = engines
      .flatMap(({ inventory }) => [...inventory.state.pairs.values()])
      .flatMap(({ operations }) => [...operations.values()])
      .filter(({ name }) => name === 'as-req')
      .reduce((sum, { count }) => sum + count, 0);
    expect(counted).toBe(requests);
  });
});
