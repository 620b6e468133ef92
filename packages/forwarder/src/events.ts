/** Everything the forwarder says, one function per event. warn = unexpected, nothing lost; error = lost, or a person must act. */
import type { ArchiveEvents } from '@tapline/shared/archive/archive-options.ts';
import type { TlsIdentityEvents } from '@tapline/shared/system/tls-identity.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import type { CaptureEvents } from './capture/capture-source.ts';
import type { SpoolEvents } from './spool/spool.ts';
import type { UplinkEvents } from './tunnel/uplink.ts';
import type { EdgeEvents } from './edge/edge-responder.ts';

export function captureEvents(log: Log): CaptureEvents {
  return {
    interfaceLost: (name, reason) => {
      log.warn({ interface: name, reason }, 'An interface is gone; trying to get it back.');
    },
    interfaceRecovered: (name, lostMs) => {
      log.warn({ interface: name, lostMs }, 'An interface is back.');
    },
    packetsDropped: (name, packets) => {
      log.error({ interface: name, packets }, 'The kernel dropped packets: the ring was full.');
    },
    fileDamaged: (name, error) => {
      log.error(
        { file: name, problem: error.message },
        'A capture file is damaged; what stands before the damage was taken.',
      );
    },
  };
}

export function archiveEvents(log: Log): ArchiveEvents {
  return {
    segmentRepaired: (segment) => {
      log.warn(segment, 'A torn segment was repaired.');
    },
    segmentSetAside: (segment) => {
      log.error(segment, 'A damaged segment was set aside.');
    },
    writeFailed: (failure) => {
      log.error(failure, 'The disk refuses packets.');
    },
    recovered: (recovery) => {
      log.warn(recovery, 'The disk takes packets again.');
    },
    sourcesExhausted: (limit) => {
      log.warn(limit, 'Too many sources; new ones share the overflow segments.');
    },
  };
}

export function uplinkEvents(log: Log): UplinkEvents {
  return {
    connected: ({ host, port, welcome }) => {
      log.info(
        { host, port, collector: welcome.collector, codec: welcome.codec },
        'Connected to the collector.',
      );
    },
    sending: (link) => {
      log.info(link, 'Sending one way; nothing is acknowledged.');
    },
    disconnected: (loss) => {
      log.warn(loss, 'The connection to the collector was lost.');
    },
    connectFailed: (failure) => {
      log.warn(failure, 'The collector cannot be reached.');
    },
    refused: (refusal) => {
      log.error(refusal, 'The collector refused this sensor.');
    },
    gapBegan: (gap) => {
      log.error(gap, 'The queue to the collector is full: packets are being dropped from the tunnel.');
    },
    gapEnded: (gap) => {
      log.error(gap, 'The gap in the tunnel has ended.');
    },
    returning: (collector) => {
      log.info(collector, 'A collector that is wanted more is back; returning to it.');
    },
    wasDown: (gap) => {
      log.warn(gap, 'Nothing was captured since the last run; the collector is told.');
    },
    kept: (kept) => {
      log.warn(kept, 'Stopped before the collector had everything; the rest waits in the spool.');
    },
    abandoned: (loss) => {
      log.error(loss, 'Stopped before the collector had everything.');
    },
    sendFailed: (failure) => {
      log.error(failure, 'Frames cannot be sent.');
    },
  };
}

export function spoolEvents(log: Log): SpoolEvents {
  return {
    spoolFound: (found) => {
      log.info(found, 'The spool holds packets of an earlier run; they are sent.');
    },
    spoolWriteFailed: (failure) => {
      log.error(failure, 'The spool refuses frames.');
    },
    spoolRecovered: () => {
      log.warn('The spool takes frames again.');
    },
    spoolLost: (loss) => {
      log.error(loss, 'Packets in the spool had to be given up; they are reported as a gap.');
    },
  };
}

export function tlsEvents(log: Log): TlsIdentityEvents {
  return {
    renewed: (identity) => {
      log.info(identity, 'The certificate was read.');
    },
    renewFailed: (failure) => {
      log.error(failure, 'The new certificate is not usable; the old one stays in force.');
    },
    expiresSoon: (identity) => {
      log.warn(identity, 'The certificate expires soon.');
    },
    keyExposed: (identity) => {
      log.warn(identity, 'Others than the owner may read the private key.');
    },
  };
}

export function edgeEvents(log: Log): EdgeEvents {
  return {
    asked: (query) => {
      log.info(query, 'The collector asks for packets of the archive here.');
    },
    answered: (answer) => {
      log[answer.error === undefined ? 'info' : 'warn'](answer, 'The collector’s query was answered.');
    },
  };
}
