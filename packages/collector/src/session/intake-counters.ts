/** The ledger of one sensor: what came, what is known to be missing, and how often it was made durable. */

export interface IntakeCounters {
  batches: number;
  packets: number;
  /** Captured bytes of the packets. */
  bytes: number;
  /** Bytes of BATCH frames' payloads as they came. */
  wireBytes: number;
  /** Frames that had been received before. */
  duplicateFrames: number;
  gaps: number;
  /** Packets the sensor reported as lost. */
  gapPackets: number;
  gapBytes: number;
  /** Frames that the sensor no longer had when this collector asked: an unknown number of packets. */
  missingFrames: number;
  /** Ranges that a one-way link lost, and the packets in them. */
  losses: number;
  lostPackets: number;
  lostBytes: number;
  /** Frames that another collector acknowledged before the sensor came here. */
  elsewhereFrames: number;
  /** Of types that this version does not know: skipped. */
  unknownFrames: number;
  sessions: number;
  commits: number;
  commitsFailed: number;
}

export function newIntakeCounters(): IntakeCounters {
  return {
    batches: 0,
    packets: 0,
    bytes: 0,
    wireBytes: 0,
    duplicateFrames: 0,
    gaps: 0,
    gapPackets: 0,
    gapBytes: 0,
    missingFrames: 0,
    losses: 0,
    lostPackets: 0,
    lostBytes: 0,
    elsewhereFrames: 0,
    unknownFrames: 0,
    sessions: 0,
    commits: 0,
    commitsFailed: 0,
  };
}
