import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ABSENT, AddressTable } from './address-table.ts';

describe('address table', () => {
  it.each([4, 6, 16] as const)('answers like a Map for keys of %i bytes', (keyBytes) => {
    // Few distinct bytes: keys collide in all but one place, and come again.
    const key = fc.uint8Array({ minLength: keyBytes, maxLength: keyBytes, max: 3 });
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.nat(1000)), { maxLength: 300 }), fc.nat(999), (entries, kept) => {
        const table = new AddressTable(keyBytes);
        const model = new Map<string, number>();
        const check = (): void => {
          for (const [bytes] of entries)
            expect(table.find(bytes, 0)).toBe(model.get(Buffer.from(bytes).toString('hex')) ?? ABSENT);
          expect(table.size).toBe(model.size);
        };
        for (const [bytes, value] of entries) {
          table.set(bytes, 0, value);
          model.set(Buffer.from(bytes).toString('hex'), value);
        }
        check();
        table.retain((value) => value > kept);
        for (const [name, value] of model) if (value <= kept) model.delete(name);
        check();
      }),
      { numRuns: 100 },
    );
  });

  it('finds keys where they lie in a packet, at any offset', () => {
    const table = new AddressTable(6);
    const bytes = Uint8Array.from({ length: 64 }, (_, index) => index);
    for (let offset = 0; offset < 58; offset++) table.set(bytes, offset, offset);
    for (let offset = 0; offset < 58; offset++) expect(table.find(bytes, offset)).toBe(offset);
  });

  it('keeps a hundred thousand addresses of one network apart', () => {
    const table = new AddressTable(4);
    const address = Buffer.alloc(4);
    for (let i = 0; i < 100_000; i++) {
      address.writeUInt32BE(0x0a000000 + i);
      table.set(address, 0, i);
    }
    for (let i = 0; i < 100_000; i += 997) {
      address.writeUInt32BE(0x0a000000 + i);
      expect(table.find(address, 0)).toBe(i);
    }
    address.writeUInt32BE(0x0b000000);
    expect(table.find(address, 0)).toBe(ABSENT);
  });
});
