/** What is read from requests of any content: never beyond their ends, and never more than is there. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { commandOf, newPlaces, spelling } from './ping-text.ts';

it('letters are counted in whatever comes, and no further than there are requests', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 60 }), (payloads) => {
      const places = newPlaces();
      for (const payload of payloads) {
        const found = spelling(places, payload, 0, payload.byteLength, false);
        if (found === null) continue;
        expect(found.letters).toBeLessThanOrEqual(payloads.length);
        expect(found.place).toBeLessThan(payload.byteLength);
      }
      expect(places.length).toBe(newPlaces().length);
      expect(places.every((number) => Number.isInteger(number))).toBe(true);
    }),
  );
});

it('a text of letters is found at its place, between bytes of any kind', () => {
  const text = Buffer.from('qwertyuiop asdfghjkl zxcvbnm');
  fc.assert(
    fc.property(fc.nat({ max: 31 }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (place, around) => {
      const places = newPlaces();
      const found = [...text].map((letter) => {
        const payload = Uint8Array.from(around);
        payload[place] = letter;
        return spelling(places, payload, 0, payload.byteLength, false);
      });
      expect(found.at(-1)).toEqual({ place, letters: text.byteLength, different: 27 });
    }),
  );
});

it('commands are letters, and never from beyond the payload', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 40 }), (payload, zeros) => {
      const bytes = Buffer.concat([payload, Buffer.alloc(zeros)]);
      expect(commandOf(bytes, 0, bytes.byteLength)).toMatch(/^[A-Za-z]{0,64}$/);
      expect(commandOf(bytes, bytes.byteLength, bytes.byteLength)).toBe('');
    }),
  );
  const command = Buffer.concat([Buffer.from('upload 2'), Buffer.alloc(8)]);
  expect(commandOf(command, 0, command.byteLength)).toBe('upload');
  expect(commandOf(command, 0, command.byteLength - 1)).toBe('');
});
