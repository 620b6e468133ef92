/** Two voices in one connection, and one that repeats itself. */
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { modbus } from '../traffic-testing.ts';

const CLIENT = '10.0.0.1:5000';
const SERVER = '10.0.0.2';

function told(...packets: readonly Packet[]): boolean {
  return new Rig().add(packets).finish().rules.includes('tcp-injection');
}

function opened(port: number): Packet[] {
  return [
    { timeUs: 0, frame: tcp(CLIENT, `${SERVER}:${port}`, 'S', { sequence: 100 }) },
    { timeUs: 100, frame: tcp(`${SERVER}:${port}`, CLIENT, 'SA', { sequence: 500 }) },
    { timeUs: 200, frame: tcp(CLIENT, `${SERVER}:${port}`, 'A', { sequence: 101 }) },
  ];
}

function answer(port: number, timeUs: number, payload: string | Uint8Array, sequence = 501): Packet {
  return { timeUs, frame: tcp(`${SERVER}:${port}`, CLIENT, 'PA', { sequence, payload: Buffer.from(payload) }) }; // prettier-ignore
}

const ask: Packet = { timeUs: 300, frame: tcp(CLIENT, `${SERVER}:80`, 'PA', { sequence: 101, payload: Buffer.from('GET / HTTP/1.1\r\nHost: hmi\r\n\r\n') }) }; // prettier-ignore
const page = answer(80, 2000, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi');
const redirect = answer(80, 1000, 'HTTP/1.1 302 Found\r\nLocation: http://203.0.113.9/\r\n\r\n');

describe('two answers at one place of the stream', () => {
  it('that differ are of two speakers', () => {
    expect(told(...opened(80), ask, redirect, page)).toBe(true);
  });

  it('that are the same, or of which one goes on further, are of one', () => {
    expect(told(...opened(80), ask, page, { ...page, timeUs: 3000 })).toBe(false);
    expect(told(...opened(80), ask, page, answer(80, 3000, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there'))).toBe(false); // prettier-ignore
  });

  it('may be a controller’s, where a value differs', () => {
    const question: Packet = { timeUs: 300, frame: tcp(CLIENT, `${SERVER}:502`, 'PA', { sequence: 101, payload: modbus(1, 3, 0, 0, 0, 1) }) }; // prettier-ignore
    const value = (timeUs: number, low: number): Packet => answer(502, timeUs, modbus(1, 3, 2, 0, low));
    expect(told(...opened(502), question, value(1000, 7), value(1500, 99))).toBe(true);
    expect(told(...opened(502), question, value(1000, 7), value(1500, 7))).toBe(false);
  });
});

describe('two acceptances', () => {
  const accepted = (timeUs: number, sequence: number, acknowledged?: number): Packet => {
    const frame = tcp(`${SERVER}:80`, CLIENT, 'SA', { sequence });
    // Behind Ethernet and IP: the acknowledged number stands at 8 of the TCP header.
    if (acknowledged !== undefined) frame.writeUInt32BE(acknowledged, 14 + 20 + 8);
    return { timeUs, frame };
  };

  it('of one opening with different numbers are of two', () => {
    expect(told(...opened(80), accepted(5000, 777))).toBe(true);
  });

  it('on both sides of what rewrites sequence numbers are of one', () => {
    expect(told(...opened(80), accepted(5000, 777, 9999))).toBe(false);
  });

  it('that are repeated, or belong to a second opening, are of one', () => {
    expect(told(...opened(80), accepted(5000, 500))).toBe(false);
    expect(told(...opened(80), accepted(1_200_000, 777))).toBe(false);
  });
});
