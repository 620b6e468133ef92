/**
 * What time it is by a sensor's packets, as far as they agree: what silence is measured by. Each packet says when it was, and one may be wrong, by a
 * clock that was set, by a card, by a forged file. What must stay true:
 * - one packet far ahead moves nothing. When the next one is far ahead too, time has gone on: the capture paused, or it is the next file. Then it is as
 *   late as both of them say, so after a long silence the clock is one packet behind;
 * - a late packet does not turn time back, however late. But when all that came for STALE_US of their own time were far behind, the clock was wrong;
 * - it is made of packets' times alone: the same packets, the same time.
 *
 * Who can set the times of many packets can still hold it back or ahead: two clocks by turns never agree. What that costs is bounded by the number of flows.
 *
 * Plain data; two comparisons a packet.
 */

/** Further than this is far. Silence ends a flow after four times as long: what is believed at once ends none that spoke lately. */
const FAR_US = 30_000_000;
/** As long as `live-merge` waits in wall time for the same. */
const STALE_US = 60_000_000;

export interface PacketClock {
  /** Microseconds since 1970; 0 before the first packet. */
  nowUs: number;
  /** What the last packet said, if that was far ahead; else 0. */
  aheadUs: number;
  /** The oldest of the packets since the first that was far behind, if all were; else -1. */
  behindUs: number;
}

export function createPacketClock(): PacketClock {
  return { nowUs: 0, aheadUs: 0, behindUs: -1 };
}

/** Takes the next packet's time. Whether that turned the clock back: what was noted by it before may lie in the future now. */
export function tellTime(clock: PacketClock, timeUs: number): boolean {
  const ahead = timeUs - clock.nowUs;
  if (ahead < -FAR_US) return takeFarBehind(clock, timeUs);
  clock.behindUs = -1;
  if (ahead <= FAR_US || clock.nowUs === 0) {
    clock.aheadUs = 0;
    if (ahead > 0) clock.nowUs = timeUs;
    return false;
  }
  if (clock.aheadUs !== 0) clock.nowUs = Math.min(clock.aheadUs, timeUs);
  clock.aheadUs = timeUs;
  return false;
}

function takeFarBehind(clock: PacketClock, timeUs: number): boolean {
  clock.aheadUs = 0;
  if (clock.behindUs === -1 || timeUs < clock.behindUs) clock.behindUs = timeUs;
  if (timeUs - clock.behindUs <= STALE_US) return false;
  clock.nowUs = timeUs;
  clock.behindUs = -1;
  return true;
}
