/** Everything the collector says, one function per event. warn = unexpected, nothing lost; error = lost, or a person must act. */
import type { ArchiveEvents } from '@tapline/shared/archive/archive-options.ts';
import type { TlsIdentityEvents } from '@tapline/shared/system/tls-identity.ts';
import type { Log } from '@tapline/shared/observe/log.ts';
import { Sparingly } from '@tapline/shared/observe/sparingly.ts';
import type { DatagramEvents } from './listen/datagram-intake.ts';
import type { FleetStatusDependencies } from './fleet/fleet-status.ts';
import type { MirrorEvents } from './listen/mirror/mirror-intake.ts';
import type { TcpListenerEvents } from './listen/tcp-listener.ts';
import type { UdpListenerEvents } from './listen/udp-listener.ts';
import type { IntakeEvents } from './session/sensor-intake.ts';
import type { ArchiveStoreEvents } from './session/sensor-store.ts';
import type { SessionEvents } from './session/session-events.ts';

export function archiveEvents(log: Log, sensor: string): ArchiveEvents {
  return {
    segmentRepaired: (segment) => log.warn({ sensor, ...segment }, 'A torn segment was repaired.'),
    segmentSetAside: (segment) => log.error({ sensor, ...segment }, 'A damaged segment was set aside.'),
    writeFailed: (failure) => log.error({ sensor, ...failure }, 'The disk refuses packets.'),
    recovered: (recovery) => log.warn({ sensor, ...recovery }, 'The disk takes packets again.'),
    sourcesExhausted: (limit) =>
      log.warn({ sensor, ...limit }, 'Too many sources; new ones share the overflow segments.'),
  };
}

export function storeEvents(log: Log, sensor: string): ArchiveStoreEvents {
  return {
    cutBack: (report) =>
      log.warn({ sensor, ...report }, 'A crash was undone: the archive was cut back to its resume point.'),
    journalFailed: (failure) => log.error({ sensor, ...failure }, 'An opened segment could not be noted.'),
  };
}

export function sessionEvents(log: Log): SessionEvents & IntakeEvents {
  const sparingly = new Sparingly();
  return {
    sessionOpened: ({ sensor, peer, hello, nextSequence }) =>
      log.info(
        { sensor, peer, software: hello.software, epoch: hello.epoch, nextSequence },
        'A sensor connected.',
      ),
    sessionClosed: ({ clean, ...session }) => log[clean ? 'info' : 'warn'](session, 'A sensor disconnected.'),
    sessionRefused: (refusal) => {
      sparingly.tell('refused', (leftOut) => {
        log.warn({ ...refusal, leftOut }, 'A connection was refused.');
      });
    },
    gapReceived: (gap) => log.error(gap, 'A sensor reports a gap.'),
    packetsLost: (loss) => log.error(loss, 'Packets of a sensor were lost on a one-way link.'),
    diskLimitReached: (limit) =>
      log.error(limit, 'A sensor has used up its disk: nothing more is taken from it until there is room.'),
    diskLimitLeft: (limit) => log.warn(limit, 'There is room for a sensor again.'),
    framesElsewhere: (frames) =>
      log.info(frames, 'A sensor returned; what came before went to another collector.'),
    framesMissing: (loss) => log.error(loss, 'Frames of a sensor are missing for good.'),
    commitFailed: (failure) =>
      log.error(failure, 'Packets could not be made durable; they are not acknowledged.'),
  };
}

export function datagramEvents(log: Log): DatagramEvents {
  return {
    ...sessionEvents(log),
    epochRefused: (refusal) => log.error(refusal, 'A one-way sensor was refused; nothing of it is taken.'),
    datagramRejected: (rejection) => log.warn(rejection, 'Tunnel datagrams are refused.'),
  };
}

export function listenerEvents(log: Log): TcpListenerEvents & UdpListenerEvents {
  const sparingly = new Sparingly();
  return {
    connectionsExhausted: (limit) => {
      sparingly.tell('exhausted', (leftOut) => {
        log.warn({ ...limit, leftOut }, 'Too many connections; new ones are turned away.');
      });
    },
    handshakeFailed: (failure) => {
      sparingly.tell('handshake', (leftOut) => {
        log.warn({ ...failure, leftOut }, 'A TLS handshake failed.');
      });
    },
    strangerDropped: (stranger) => {
      sparingly.tell('stranger', (leftOut) => {
        log.warn({ ...stranger, leftOut }, 'A stranger was dropped.');
      });
    },
    receiveBufferSmall: (buffer) =>
      log.warn(buffer, 'The UDP receive buffer is small; raise net.core.rmem_max.'),
    socketFailed: (failure) => log.error(failure, 'The UDP socket failed.'),
  };
}

export function fleetEvents(log: Log): FleetStatusDependencies['events'] {
  return {
    fleetWriteFailed: (failure) => log.warn(failure, 'The list of sensors cannot be written.'),
  };
}

export function tlsEvents(log: Log): TlsIdentityEvents {
  return {
    renewed: (identity) => log.info(identity, 'The certificate was read.'),
    renewFailed: (failure) =>
      log.error(failure, 'The new certificate is not usable; the old one stays in force.'),
    expiresSoon: (identity) => log.warn(identity, 'The certificate expires soon.'),
    keyExposed: (identity) => log.warn(identity, 'Others than the owner may read the private key.'),
  };
}

export function mirrorEvents(log: Log): MirrorEvents {
  return {
    mirrorLost: (loss) => log.error(loss, 'A mirror’s counter shows that packets were lost on the way here.'),
  };
}
