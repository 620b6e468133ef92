/** The uplink's ledger: empty, and as the collector is told of it. What it counts is described in `uplink.ts`. */
import { encodeReport } from '@tapline/shared/tunnel/messages.ts';
import type { UplinkCounters, UplinkDependencies } from './uplink.ts';

export function newUplinkCounters(): UplinkCounters {
  return {
    offeredPackets: 0,
    offeredBytes: 0,
    acknowledgedPackets: 0,
    queuedPackets: 0,
    queuedBytes: 0,
    dropped: {
      'queue-full': 0,
      'spool-full': 0,
      'spool-damaged': 0,
      stopped: 0,
      'too-large': 0,
      'send-failed': 0,
    },
    sentPackets: 0,
    spooledBytes: 0,
    recoveredPackets: 0,
    resentPackets: 0,
    sentBytes: 0,
    connections: 0,
    gapsReported: 0,
    clockOffsetMs: 0,
  };
}

/** The ledger as flat numbers for a REPORT, e.g. `uplink_offered_packets`. */
function reportedCounters(counters: UplinkCounters): Record<string, number> {
  const reported: Record<string, number> = {
    uplink_offered_packets: counters.offeredPackets,
    uplink_offered_bytes: counters.offeredBytes,
    uplink_acknowledged_packets: counters.acknowledgedPackets,
    uplink_queued_packets: counters.queuedPackets,
    uplink_queued_bytes: counters.queuedBytes,
    uplink_spooled_bytes: counters.spooledBytes,
    uplink_recovered_packets: counters.recoveredPackets,
    uplink_sent_packets: counters.sentPackets,
    uplink_resent_packets: counters.resentPackets,
    uplink_sent_bytes: counters.sentBytes,
    uplink_connections: counters.connections,
    uplink_gaps_reported: counters.gapsReported,
  };
  for (const [reason, packets] of Object.entries(counters.dropped))
    reported[`uplink_dropped_${reason.replaceAll('-', '_')}_packets`] = packets;
  return reported;
}

/** A REPORT of this ledger and of what the rest of the forwarder counts. `final`: nothing follows but goodbyes. */
export function encodeUplinkReport(
  counters: UplinkCounters,
  { report, interfaces }: Pick<UplinkDependencies, 'report' | 'interfaces'>,
  sentAtMs: number,
  final: boolean,
): Uint8Array {
  return encodeReport({
    sentAtMs,
    final,
    counters: { ...reportedCounters(counters), ...report?.() },
    interfaces: [...(interfaces?.() ?? [])],
  });
}
