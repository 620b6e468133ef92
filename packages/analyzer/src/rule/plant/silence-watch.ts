/**
 * Devices that fall silent: heard all the time while the baseline was learned, and for longer than ever no more. While nobody at all was heard it was the
 * sensor that was deaf, or the files of that time are missing: that is no device's silence. Time is what packets agree on: one from the future silences nobody.
 */
import type { SensorBaseline } from '../../asset/baseline.ts';
import { createPacketClock, tellTime, type PacketClock } from '../../flow/packet-clock.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

type KnownHost = SensorBaseline['hosts'][number];

/** A host that was heard less often has no habit of talking. */
const TALKATIVE_PACKETS = 50;
const SILENCE_US_MIN = 60_000_000;
const CHECK_US = 10_000_000;
const DEAF_US = 30_000_000;

export interface SilenceWatch {
  /** Any packet, before anything else is told of it: the sensor hears. */
  listens(timeUs: number): void;
  /** A packet of a host of the baseline. */
  hears(address: string): void;
  /** Looks now and then who has not been heard. */
  check(): void;
  readonly state: Record<string, unknown>;
}

export function createSilenceWatch(
  rules: Rules,
  hosts: ReadonlyMap<string, KnownHost>,
  tell: Tell,
): SilenceWatch {
  const rule = rules.baseline_silent_device;
  /** When a host was heard last. */
  const heard = new Map<string, number>();
  /** One, of the sensor; in a map, as what is kept is. */
  const clocks = new Map<'sensor', PacketClock & { checkedUs: number }>([
    ['sensor', { ...createPacketClock(), checkedUs: 0 }],
  ]);
  const clock = (): PacketClock & { checkedUs: number } =>
    clocks.get('sensor') as PacketClock & { checkedUs: number };

  return {
    state: { heard, clocks },

    listens(timeUs) {
      const now = clock();
      const beforeUs = now.nowUs;
      const wasTurnedBack = tellTime(now, timeUs);
      const gapUs = now.nowUs - beforeUs;
      if (beforeUs === 0) now.checkedUs = now.nowUs;
      else if (gapUs >= DEAF_US) for (const [address, atUs] of heard) heard.set(address, atUs + gapUs);
      if (!wasTurnedBack) return;
      now.checkedUs = now.nowUs;
      for (const address of heard.keys()) heard.set(address, now.nowUs);
    },

    hears(address) {
      heard.set(address, clock().nowUs);
    },

    check() {
      const now = clock();
      if (now.nowUs - now.checkedUs < CHECK_US) return;
      now.checkedUs = now.nowUs;
      findSilent(now.nowUs);
    },
  };

  function findSilent(nowUs: number): void {
    for (const [address, lastUs] of heard) {
      const host = hosts.get(address);
      if (host === undefined || host.packets < TALKATIVE_PACKETS) continue;
      if (nowUs - lastUs <= Math.max(SILENCE_US_MIN, host.silence_us * rule.factor)) continue;
      // Told once; when it speaks again it may fall silent again.
      heard.delete(address);
      if (!rule.enabled) continue;
      tell(null, {
        rule: 'baseline-silent-device',
        title: 'A device fell silent',
        score: 0.9,
        technique: 'T0815',
        source: address,
        evidence: `${address} (${host.role}) has said nothing for ${Math.round((nowUs - lastUs) / 1e6)} s; in the baseline it was never silent for more than ${(host.silence_us / 1e6).toFixed(1)} s`,
        group: address,
        scope: { client: address },
        timeUs: nowUs,
      });
    }
  }
}
