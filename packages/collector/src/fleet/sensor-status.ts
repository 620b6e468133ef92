/**
 * What the SOC knows of one sensor at one moment: what came here, and what its forwarder reports of itself. Loss on the probe
 * (kernel, disk, link) is as visible as loss on the way.
 */
import { z } from 'zod';
import type { SensorIntake } from '../session/sensor-intake.ts';

const number = z.number();
const unknownYet = z.number().nullable();

/** Times are wall time of the collector in milliseconds since 1970 UTC; counters run since the collector's start. */
export const sensorStatusSchema = z.object({
  sensor: z.string(),
  connected: z.boolean(),
  peer: z.string(),
  /** Program and version of the forwarder. */
  software: z.string(),
  lastHeardAtMs: number,
  connectedAtMs: number,
  /** By the sensor's clock. 0: none came. */
  newestPacketAtMs: number,
  /** How old the traffic is that arrives: 0 when nothing waits at the sensor. */
  lagMs: unknownYet,
  packets: number,
  bytes: number,
  packetsPerSecond: number,
  bitsPerSecond: number,
  /** Entries in gaps.jsonl, and the packets they are known to stand for. */
  gaps: number,
  gapPackets: number,
  /** Bytes of its archive here. */
  diskBytes: number,
  /** Frames that neither side has any more. */
  missingFrames: number,
  /** The sensor's clock is ahead by so much. */
  clockOffsetMs: unknownYet,
  // What the forwarder reported last, since its own start.
  uptimeSeconds: unknownYet,
  capturedPackets: unknownYet,
  kernelDroppedPackets: unknownYet,
  interfaceDroppedPackets: unknownYet,
  archiveDroppedPackets: unknownYet,
  uplinkDroppedPackets: unknownYet,
  /** Of the packets that it captured: second copies, which it does not send. */
  duplicateShare: unknownYet.default(null),
  queuedPackets: unknownYet,
  queuedBytes: unknownYet,
  spooledBytes: unknownYet,
  spoolBytesMax: unknownYet,
});

export type SensorStatus = z.infer<typeof sensorStatusSchema>;

/** `since` is the status some time before: the rates are reckoned between the two. */
export function statusOf(
  intake: SensorIntake,
  nowMs: number,
  since: { readonly status: SensorStatus; readonly elapsedMs: number } | null,
): SensorStatus {
  const { counters, report, clockOffsetMs } = intake;
  const reported = report?.counters ?? {};
  const of = (name: string): number | null => reported[name] ?? null;
  const perSecond = (value: number, before: number | undefined): number =>
    since === null || since.elapsedMs <= 0
      ? 0
      : Math.max(0, ((value - (before ?? 0)) / since.elapsedMs) * 1000);
  const queuedPackets = of('uplink_queued_packets');
  return {
    sensor: intake.sensor,
    connected: intake.isConnected,
    peer: intake.peer,
    software: intake.software,
    lastHeardAtMs: intake.lastHeardAtMs,
    connectedAtMs: intake.connectedAtMs,
    newestPacketAtMs: intake.newestPacketAtMs,
    lagMs: lagMs(queuedPackets, nowMs + (clockOffsetMs ?? 0), intake.newestPacketAtMs),
    packets: counters.packets,
    bytes: counters.bytes,
    packetsPerSecond: perSecond(counters.packets, since?.status.packets),
    bitsPerSecond: perSecond(counters.bytes * 8, (since?.status.bytes ?? 0) * 8),
    gaps: counters.gaps,
    gapPackets: counters.gapPackets,
    diskBytes: intake.diskBytes,
    missingFrames: counters.missingFrames,
    clockOffsetMs,
    uptimeSeconds: of('uptime_seconds'),
    capturedPackets: of('captured_packets'),
    kernelDroppedPackets: of('capture_kernel_dropped_packets'),
    interfaceDroppedPackets: of('capture_interface_dropped_packets'),
    archiveDroppedPackets: of('archive_dropped_packets'),
    uplinkDroppedPackets: uplinkDropped(reported),
    duplicateShare: shareOf(of('forward_duplicate_packets'), of('forward_seen_packets')),
    queuedPackets,
    queuedBytes: of('uplink_queued_bytes'),
    spooledBytes: of('uplink_spooled_bytes'),
    spoolBytesMax: of('spool_bytes_max'),
  };
}

/** Packets that were captured and are lost, wherever: what an operator must not overlook. */
export function lostPackets(status: SensorStatus): number {
  const { gapPackets, kernelDroppedPackets, interfaceDroppedPackets } = status;
  return gapPackets + (kernelDroppedPackets ?? 0) + (interfaceDroppedPackets ?? 0);
}

function lagMs(queuedPackets: number | null, sensorNowMs: number, newestPacketAtMs: number): number | null {
  if (queuedPackets === null) return null;
  if (queuedPackets === 0 || newestPacketAtMs === 0) return 0;
  return Math.max(0, Math.round(sensorNowMs - newestPacketAtMs));
}

function shareOf(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || whole === 0 ? null : part / whole;
}

function uplinkDropped(reported: Readonly<Record<string, number>>): number | null {
  const names = Object.keys(reported).filter((name) => name.startsWith('uplink_dropped_'));
  return names.length === 0 ? null : names.reduce((total, name) => total + (reported[name] ?? 0), 0);
}
