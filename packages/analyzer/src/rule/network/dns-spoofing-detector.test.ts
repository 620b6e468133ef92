/** Two answers to one question: when they contradict each other, and when they do not. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { udp, type Packet } from '../../packet/frame-testing.ts';
import { answerAddresses } from '../../protocol/dns.ts';
import { dns, dnsAnswer } from '../traffic-testing.ts';

const CLIENT = '10.0.0.1:5000';
const SERVER = '10.0.0.53:53';
const NAME = 'hmi.plant.example';

const ask = (timeUs: number, id = 7): Packet => ({
  timeUs,
  frame: udp(CLIENT, SERVER, { payload: dns(id, NAME) }),
});
const answer = (timeUs: number, addresses: number[][], id = 7): Packet => ({ timeUs, frame: udp(SERVER, CLIENT, { payload: dnsAnswer(id, NAME, ...addresses) }) }); // prettier-ignore

function told(...packets: Packet[]): boolean {
  return new Rig().add(packets).finish().rules.includes('dns-spoofing');
}

const FORGED = [[10, 0, 0, 66]];
const TRUE = [[192, 0, 2, 7], [192, 0, 2, 8]]; // prettier-ignore

describe('two answers', () => {
  it('to one question, with no address in common, are told', () => {
    expect(told(ask(0), answer(1000, FORGED), answer(30_000, TRUE))).toBe(true);
  });

  it('that are the same, or overlap, are not', () => {
    expect(told(ask(0), answer(1000, TRUE), answer(2000, TRUE))).toBe(false);
    expect(told(ask(0), answer(1000, TRUE), answer(2000, TRUE.slice(1)))).toBe(false);
  });

  it('to a question that was asked twice, to two questions, or to none seen, are not', () => {
    expect(told(ask(0), ask(5000), answer(9000, FORGED), answer(9500, TRUE))).toBe(false);
    expect(told(ask(0), ask(10, 8), answer(1000, FORGED), answer(2000, TRUE, 8))).toBe(false);
    expect(told(answer(1000, FORGED), answer(2000, TRUE))).toBe(false);
  });

  it('far apart are not: identifiers come again', () => {
    expect(told(ask(0), answer(1000, FORGED), answer(20_000_000, TRUE))).toBe(false);
  });
});

it('addresses are read from answers, whatever the bytes are', () => {
  const whole = dnsAnswer(1, NAME, ...TRUE);
  expect(answerAddresses(whole, 0, whole.byteLength)).toEqual(['192.0.2.7', '192.0.2.8']);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 12, maxLength: 120 }), fc.nat(120), (bytes, cut) => {
      const end = Math.max(12, Math.min(cut, bytes.byteLength));
      expect(answerAddresses(bytes, 0, end).length).toBeLessThanOrEqual(16);
    }),
  );
});
