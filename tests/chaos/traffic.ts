/**
 * What the mirror port shows during a chaos run: UDP datagrams from several sources, each with a number that no other has,
 * in bursts and pauses. Runs inside the namespace of the plant.
 *
 *   argument   seed, packets a second, then the addresses to send from
 *   payload    "chaos" · number, u64 little-endian · 0–1200 bytes of noise
 */
import { createSocket, type Socket } from 'node:dgram';
import { Prng } from '@tapline/shared/base/prng.ts';

export const PAYLOAD_MARK = Buffer.from('chaos');
export const PAYLOAD_NUMBER = PAYLOAD_MARK.byteLength;
const TICK_MS = 10;

if (import.meta.main) {
  const [seed = '1', rate = '500', target = '', ...sources] = process.argv.slice(2);
  const random = new Prng(Number(seed), 'traffic');
  const sockets: Socket[] = [];
  for (const source of sources) {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, source, resolve));
    sockets.push(socket);
  }
  let number = 0n;
  const timer = setInterval(() => {
    // A pause now and then, and bursts that make up for it.
    const isBurst = random.chance(0.1);
    const count = random.chance(0.1) ? 0 : Math.round((Number(rate) / 1000) * TICK_MS * (isBurst ? 3 : 0.9));
    for (let i = 0; i < count; i++) {
      const payload = Buffer.concat([PAYLOAD_MARK, Buffer.alloc(8), random.bytes(random.below(1200))]);
      payload.writeBigUInt64LE(number++, PAYLOAD_NUMBER);
      random.pick(sockets).send(payload, 40_000 + random.below(20), target);
    }
  }, TICK_MS);
  process.on('SIGTERM', () => {
    clearInterval(timer);
    process.stdout.write(`${String(number)}\n`, () => process.exit(0));
  });
}
