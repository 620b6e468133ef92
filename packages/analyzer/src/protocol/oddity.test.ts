/** Sleds and format strings, beside slow twins. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tellOddArguments } from './dcerpc-oddity.ts';
import { Recorder, utf16 } from './it-testing.ts';
import { SLED_BYTES_MIN, WORDS_BYTES_MIN, isFormatString, repeatedWordBytes, sledBytes } from './oddity.ts';

/** Some bytes, a run of one value, some bytes. */
const surrounded = (value: number) =>
  fc.tuple(fc.uint8Array({ maxLength: 120 }), fc.nat(200), fc.uint8Array({ maxLength: 120 })).map(([before, length, after]) => Uint8Array.from([...before, ...Array<number>(length).fill(value), ...after])); // prettier-ignore

function longestRun(bytes: Uint8Array): number {
  return Math.max(0, ...Buffer.from(bytes).toString('latin1').split(/[^\x90]+/).map((run) => run.length)); // prettier-ignore
}

test('a sled is found wherever it lies, with its length', () => {
  fc.assert(
    fc.property(surrounded(0x90), (bytes) => {
      const longest = longestRun(bytes);
      expect(sledBytes(bytes, 0, bytes.byteLength)).toBe(longest >= SLED_BYTES_MIN ? longest : 0);
    }),
    { numRuns: 500 },
  );
});

test('one word again and again is found wherever it begins, and zeros are filling', () => {
  for (const word of ['801c4011', 'a61cc013', '41414141', '00000001'])
    for (const lead of [0, 1, 2, 3]) {
      const bytes = Buffer.concat([Buffer.from('xyz').subarray(0, lead), Buffer.alloc(WORDS_BYTES_MIN, Buffer.from(word, 'hex'))]); // prettier-ignore
      expect(repeatedWordBytes(bytes, 0, bytes.byteLength), word).toBeGreaterThanOrEqual(WORDS_BYTES_MIN);
      expect(repeatedWordBytes(bytes, 0, bytes.byteLength - 9), word).toBe(0);
    }
  expect(repeatedWordBytes(new Uint8Array(500), 0, 500)).toBe(0);
});

test('a format string writes behind what it reads', () => {
  expect(isFormatString('%.f%.f%.f%.f%c%c%c%.f|%p%n')).toBe(true);
  expect(isFormatString('%08x.%08x.%08x.%hn')).toBe(true);
  expect(isFormatString('AAAA%7$x%8$x%9$x%10$n')).toBe(true);
  expect(isFormatString('100%new %20name%20of%20this %d')).toBe(false);
  expect(isFormatString('%Y-%m-%d_%H%M%S.csv')).toBe(false);
});

test('arguments of RPC calls are searched within their bounds, whatever they are', () => {
  const path = utf16('\\A\\..\\..\\B');
  const stub = fc.tuple(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(path, utf16('\\\\HOSTNAME\u9090'), new Uint8Array(0)), fc.uint8Array({ maxLength: 60 })); // prettier-ignore
  fc.assert(
    fc.property(
      stub,
      fc.constantFrom('srvsvc:31', 'ISystemActivator:4', 'samr:5'),
      ([before, odd, after], name) => {
        const bytes = Uint8Array.from([...before, ...odd, ...after]);
        const told = [0x00, 0xff].map((around) => {
          const surrounded = new Uint8Array(bytes.byteLength + 40).fill(around);
          surrounded.set(bytes, 20);
          const recorder = new Recorder();
          tellOddArguments(name, surrounded, 20, 20 + bytes.byteLength, recorder);
          return recorder.facts;
        });
        expect(told[1]).toEqual(told[0]);
        if (name === 'srvsvc:31' && odd === path) expect(told[0]).toEqual([['climbing-path', name]]);
        if (name === 'samr:5') expect(told[0]).toEqual([]);
      },
    ),
    { numRuns: 500 },
  );
});
