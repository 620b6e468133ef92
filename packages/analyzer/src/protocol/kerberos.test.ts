/** Kerberos messages by hand, hostile ones, and real ones beside tshark. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { loadRules } from '../rule/load-rules.ts';
import { analyzeFiles } from '../analysis.ts';
import type { Operation } from './dissector.ts';
import { kerberos, kerberosOverTcp } from './kerberos.ts';

/** An element: tag, length (short or two bytes), content. */
function element(tag: number, ...content: (number | readonly number[])[]): number[] {
  const bytes = content.flat();
  return bytes.length < 0x80 ? [tag, bytes.length, ...bytes] : [tag, 0x82, bytes.length >> 8, bytes.length & 0xff, ...bytes]; // prettier-ignore
}

const asRequest = (...types: number[]): number[] =>
  element(0x6a, element(0x30, element(0xa1, [2, 1, 5]), element(0xa2, [2, 1, 10]), element(0xa4, element(0x30, element(0xa7, [2, 1, 9]), element(0xa8, element(0x30, ...types.map((type) => [2, 1, type]))))))); // prettier-ignore
const refusal = (code: number): number[] =>
  element(0x7e, element(0x30, element(0xa0, [2, 1, 5]), element(0xa1, [2, 1, 30]), element(0xa6, [2, 1, code]))); // prettier-ignore

function dissect(bytes: readonly number[], isFromClient = true): Operation[] {
  const operations: Operation[] = [];
  const sink = {
    operation: (operation: Operation) => operations.push({ ...operation }),
    fact: () => undefined,
    violation: () => undefined,
  };
  kerberos.dissect({ bytes: Uint8Array.from(bytes), at: 0, end: bytes.length, isFromClient, timeUs: 0, memory: {} }, sink); // prettier-ignore
  return operations;
}

describe('a message', () => {
  it('that asks for a ticket names what it offers', () => {
    expect(dissect(asRequest(18, 17, 23))).toMatchObject([{ name: 'as-req', object: 'etype:18,17,23', isResponse: false }]); // prettier-ignore
    expect(dissect(asRequest(23))).toMatchObject([{ object: 'etype:23' }]);
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

  it('of anything else is nothing', () => {
    expect(dissect([])).toEqual([]);
    expect(dissect([0x30, 2, 1, 1])).toEqual([]);
  });
});

it('whatever the bytes are, nothing throws, and lengths over TCP are bounded', () => {
  const base = asRequest(18, 23);
  const mutated = fc
    .array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 })
    .map((changes) => {
      const bytes = [...base];
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.array(fc.nat(255), { maxLength: 80 }), mutated), fc.nat(80), (bytes, cut) => {
      for (const { object } of dissect(bytes.slice(0, cut))) expect(object.length).toBeLessThanOrEqual(96);
      const length = kerberosOverTcp.messageBytes?.(Uint8Array.from(bytes), 0, bytes.length) ?? 0;
      expect(length).toBeLessThanOrEqual(4 + 256 * 1024);
    }),
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
