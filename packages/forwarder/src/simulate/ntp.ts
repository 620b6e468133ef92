/**
 * NTP version 4 (RFC 5905, section 7.3) over UDP 123: 48 bytes, a client's question and a server's answer.
 *
 *   leap (2 bits), version (3), mode (3) · stratum · poll · precision · root delay (4) · root dispersion (4) · reference (4)
 *   · four timestamps: reference, origin, receive, transmit (8 each: seconds since 1900, fraction in 2^-32 s)
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { resolve } from './arp.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { sendUdp } from './ip-builder.ts';
import { MICROSECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const NTP_PORT = 123;
const MODE_CLIENT = 0x23;
const MODE_SERVER = 0x24;
const POLL_EXPONENT = 6;
const PRECISION = 0xe9; // -23
/** Seconds from 1900 to 1970. */
const EPOCH_SECONDS = 2_208_988_800;

/** A host that asks a server every 64 s, for ever. */
export function* ntpPolling(world: World, client: Host, server: Host, random: Prng): Process {
  const wire = world.wire('ntp');
  const message = new ByteWriter();
  for (;;) {
    yield* resolve(world, client, server);
    const sentMs = world.epochMs;
    message.start().u8(MODE_CLIENT).u8(0).u8(POLL_EXPONENT).u8(PRECISION).zeros(36);
    timestamp(message, sentMs);
    sendUdp(wire, client, NTP_PORT, server, NTP_PORT, message.done());
    yield random.between(250 * MICROSECOND, 900 * MICROSECOND);
    message.start().u8(MODE_SERVER).u8(2).u8(POLL_EXPONENT).u8(PRECISION);
    message.u32(0x0000_0120).u32(0x0000_0340).raw([192, 0, 2, 123]);
    timestamp(message, sentMs - 17_000);
    timestamp(message, sentMs);
    timestamp(message, world.epochMs - 0.2);
    timestamp(message, world.epochMs - 0.1);
    sendUdp(wire, server, NTP_PORT, client, NTP_PORT, message.done());
    yield random.jitter(2 ** POLL_EXPONENT * SECOND, 0.02);
  }
}

function timestamp(message: ByteWriter, epochMs: number): void {
  const seconds = Math.floor(epochMs / 1000);
  message.u32(EPOCH_SECONDS + seconds).u32(Math.floor((epochMs / 1000 - seconds) * 2 ** 32));
}
