/**
 * A stream gives the same messages however it is cut, repeated and mixed up; what is lost costs the message it belonged to. The protocol of this test:
 * a magic byte, two bytes of length, and so many bytes of content, none of them magic.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import { addSegment, createStream, endStream, type Stream, type StreamHandlers } from './stream.ts';

const MAGIC = 0xf5;
const SEQUENCES = 0x1_0000_0000;

interface Piece {
  readonly from: number;
  readonly to: number;
}

class Ear implements StreamHandlers {
  readonly messages: string[] = [];
  gaps = 0;
  unframedCount = 0;

  messageBytes(bytes: Uint8Array, at: number, end: number): number {
    if (bytes[at] !== MAGIC) return NOT_OURS;
    return end - at < 3 ? NEED_MORE : 3 + (bytes[at + 1] as number) * 256 + (bytes[at + 2] as number);
  }

  message(bytes: Uint8Array, at: number, end: number): void {
    this.messages.push(Buffer.from(bytes.subarray(at, end)).toString('hex'));
  }

  unframed(): void {
    this.unframedCount++;
  }

  gap(bytes: number): void {
    this.gaps += bytes;
  }
}

function message(content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([MAGIC, content.byteLength >> 8, content.byteLength & 0xff]), content]);
}

function plain(byteLength: number, seed = 1): Buffer {
  return Buffer.from(Array.from({ length: byteLength }, (_, i) => (i * 7 + seed) % 0xf5));
}

/** Hands over one piece of the whole, in a buffer that is overwritten afterwards, as the capture's are. */
function hand(
  stream: Stream,
  ear: Ear,
  whole: Buffer,
  { from, to }: Piece,
  initial: number,
  captured = to - from,
): void {
  const lent = Buffer.concat([
    Buffer.alloc(5, MAGIC),
    whole.subarray(from, from + captured),
    Buffer.alloc(5, MAGIC),
  ]);
  addSegment(stream, (initial + from) % SEQUENCES, lent, 5, 5 + captured, to - from, ear);
  lent.fill(0xee);
}

/** Pieces between the cuts. */
function piecesOf(cuts: readonly number[], byteLength: number): Piece[] {
  const at = [...new Set([0, ...cuts.map((cut) => cut % byteLength), byteLength])].sort((a, b) => a - b);
  return at.slice(1).map((to, i) => ({ from: at[i] as number, to }));
}

const contents = fc.array(
  fc.oneof(
    fc.nat(40).map((n) => plain(n)),
    fc.nat(900).map((n) => plain(n, 3)),
  ),
  { minLength: 1, maxLength: 8 },
);
const cutsOf = fc.array(fc.nat(9000), { maxLength: 30 });
const initials = fc.oneof(fc.nat(SEQUENCES - 1), fc.integer({ min: SEQUENCES - 200, max: SEQUENCES - 1 }));

describe('the messages of a stream', () => {
  it('are the same however it is cut', () => {
    fc.assert(
      fc.property(contents, cutsOf, initials, (list, cuts, initial) => {
        const messages = list.map(message);
        const whole = Buffer.concat(messages);
        const [stream, ear] = [createStream(), new Ear()];
        for (const piece of piecesOf(cuts, whole.byteLength)) hand(stream, ear, whole, piece, initial);
        expect(ear.messages).toEqual(messages.map((one) => one.toString('hex')));
        expect([ear.gaps, ear.unframedCount, stream.held.length]).toEqual([0, 0, 0]);
      }),
    );
  });

  it('are the same byte by byte', () => {
    const messages = [message(plain(0)), message(plain(300)), message(plain(1))];
    const whole = Buffer.concat(messages);
    const [stream, ear] = [createStream(), new Ear()];
    for (let at = 0; at < whole.byteLength; at++) hand(stream, ear, whole, { from: at, to: at + 1 }, 77);
    expect(ear.messages).toEqual(messages.map((one) => one.toString('hex')));
  });

  it('are the same in any order within eight segments, with repetitions and overlaps', () => {
    const noise = fc.array(fc.tuple(fc.nat(30), fc.nat(60), fc.nat(60)), { maxLength: 12 });
    fc.assert(
      fc.property(contents, cutsOf, initials, fc.array(fc.nat(7), { minLength: 40, maxLength: 40 }), noise, (list, cuts, initial, late, again) => {
        const messages = list.map(message);
        const whole = Buffer.concat(messages);
        const [stream, ear] = [createStream(), new Ear()];
        // The first segment opens the stream; of the rest each may be delayed by up to seven places.
        const [first, ...rest] = piecesOf(cuts, whole.byteLength) as [Piece, ...Piece[]];
        hand(stream, ear, whole, first, initial);
        let done = first.to;
        const order = rest.map((piece, i) => ({ piece, place: i + (late[i] as number) }));
        order.sort((a, b) => a.place - b.place);
        order.forEach(({ piece }, i) => {
          hand(stream, ear, whole, piece, initial);
          // The same again, and something that lies across what was already there.
          const [which, before, behind] = again[i] ?? [1, 0, 0];
          if (which % 3 === 0) hand(stream, ear, whole, piece, initial);
          if (which % 3 === 2 && piece.from <= done) {
            const from = Math.max(0, piece.from - before);
            hand(stream, ear, whole, { from, to: Math.max(from + 1, Math.min(piece.to, from + behind)) }, initial);
          }
          if (piece.from <= done) done = Math.max(done, piece.to);
        });
        expect(ear.messages).toEqual(messages.map((one) => one.toString('hex')));
        expect([ear.gaps, ear.unframedCount, stream.held.length]).toEqual([0, 0, 0]);
      }),
    );
  }); // prettier-ignore
});

describe('a gap', () => {
  /** Messages of three segments each; the segments in `lost` never come. */
  function lose(lost: readonly number[], count = 20): Ear {
    const messages = Array.from({ length: count }, (_, i) => message(plain(90, i)));
    const whole = Buffer.concat(messages);
    const [stream, ear] = [createStream(), new Ear()];
    for (let i = 0; i < count * 3; i++) if (!lost.includes(i)) hand(stream, ear, whole, { from: i * 31, to: i * 31 + 31 }, 9); // prettier-ignore
    endStream(stream, ear);
    return ear;
  }

  it('costs the message it falls into and no other', () => {
    const whole = lose([]);
    expect(whole.messages).toHaveLength(20);
    for (const segment of [12, 13, 14]) {
      const ear = lose([segment]);
      expect(ear.messages, `segment ${segment}`).toEqual(whole.messages.filter((_, i) => i !== 4));
      expect(ear.gaps).toBe(31);
    }
  });

  it('in the middle of a message is not taken for the beginning of another', () => {
    expect(lose([13]).unframedCount).toBe(0);
    // Without the beginning nobody knows where the next message is: its segments are strange until one begins a message.
    expect(lose([12]).unframedCount).toBe(2);
  });

  it('over several messages costs those', () => {
    const ear = lose([13, 14, 15, 16, 17, 18]);
    expect(ear.messages).toEqual(lose([]).messages.filter((_, i) => i < 4 || i > 6));
    expect(ear.gaps).toBe(6 * 31);
  });

  it('by a short capture length costs what was cut', () => {
    const messages = Array.from({ length: 4 }, (_, i) => message(plain(90, i)));
    const whole = Buffer.concat(messages);
    const [stream, ear] = [createStream(), new Ear()];
    for (let i = 0; i < 4; i++)
      hand(stream, ear, whole, { from: i * 93, to: i * 93 + 93 }, 0, i === 1 ? 40 : 93);
    expect(ear.messages).toEqual([0, 2, 3].map((i) => (messages[i] as Buffer).toString('hex')));
    expect(ear.gaps).toBe(53);
  });

  it('by a short capture length costs one message when that goes on in the next segment', () => {
    const messages = Array.from({ length: 3 }, (_, i) => message(plain(197, i)));
    const whole = Buffer.concat(messages);
    const [stream, ear] = [createStream(), new Ear()];
    for (let i = 0; i < 6; i++) hand(stream, ear, whole, { from: i * 100, to: i * 100 + 100 }, 0, i === 2 ? 40 : 100); // prettier-ignore
    expect(ear.messages).toEqual([0, 2].map((i) => (messages[i] as Buffer).toString('hex')));
    expect(ear.unframedCount).toBe(0);
  });
});

describe('what a stream keeps', () => {
  it('is the beginning of a long message: the rest is skipped, lost or not', () => {
    const long = message(plain(60_000));
    const whole = Buffer.concat([long, message(plain(5))]);
    for (const lost of [-1, 30]) {
      const [stream, ear] = [createStream(), new Ear()];
      for (let i = 0; i * 1000 < whole.byteLength; i++) {
        if (i === lost) continue;
        hand(stream, ear, whole, { from: i * 1000, to: Math.min(whole.byteLength, i * 1000 + 1000) }, 0);
        expect(stream.pending?.byteLength ?? 0).toBeLessThanOrEqual(16 * 1024);
      }
      endStream(stream, ear);
      expect(ear.messages.at(-1), `without ${lost}`).toBe(message(plain(5)).toString('hex'));
      expect(ear.messages).toHaveLength(2);
      expect(ear.messages[0]).toBe(long.subarray(0, 1000).toString('hex'));
    }
  });

  it('is at most eight segments that came early', () => {
    const whole = Buffer.concat(Array.from({ length: 40 }, () => message(plain(7))));
    const [stream, ear] = [createStream(), new Ear()];
    hand(stream, ear, whole, { from: 0, to: 10 }, 0);
    for (let i = 2; i < 40; i++) {
      hand(stream, ear, whole, { from: i * 10, to: i * 10 + 10 }, 0);
      expect(stream.held.length).toBeLessThanOrEqual(8);
    }
    expect(ear.messages).toHaveLength(39);
  });

  it('is bounded, and nothing throws, whatever bytes come in whatever order', () => {
    const segment = fc.record({
      sequence: fc.oneof(fc.nat(3000), fc.nat(SEQUENCES - 1)),
      bytes: fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 60 }).map((rest) => Uint8Array.of(MAGIC, 255, ...rest))), // prettier-ignore
      extra: fc.oneof(fc.constant(0), fc.nat(2000)),
    });
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 60 }), (segments) => {
        const [stream, ear] = [createStream(), new Ear()];
        for (const { sequence, bytes, extra } of segments) {
          addSegment(stream, sequence, bytes, 0, bytes.byteLength, bytes.byteLength + extra, ear);
          expect(stream.held.length).toBeLessThanOrEqual(8);
          expect(stream.pending?.byteLength ?? 0).toBeLessThanOrEqual(16 * 1024);
          expect(stream.skip).toBeGreaterThanOrEqual(0);
          expect(stream.next).toBeLessThan(SEQUENCES);
        }
        endStream(stream, ear);
        expect(stream.held).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});
