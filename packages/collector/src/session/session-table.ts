/**
 * All sensors of a collector: opens each one's store when it first comes, keeps it, and closes them all in the end.
 * The limits that protect the others from one are here: how many sensors, and who may come at all.
 */
import type { Duplex } from 'node:stream';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import type { Hello } from '@tapline/shared/tunnel/messages.ts';
import { systemTunnelClock, type TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { GroupCommitOptions } from './group-commit.ts';
import { SensorIntake, type IntakeEvents } from './sensor-intake.ts';
import type { SensorStore } from './sensor-store.ts';
import type { SessionEvents } from './session-events.ts';
import { Session, type SessionCertificate, type SessionOptions } from './session.ts';

export const COMMIT_INTERVAL_MS = 200;
/** At 100 MB/s this is twelve commits a second. */
export const COMMIT_BYTES_MAX = 8 * 1024 * 1024;
/** Half of what an archive buffers (64 MiB): reading stops before anything must be dropped on a full disk. */
export const UNCOMMITTED_BYTES_MAX = 32 * 1024 * 1024;
/** Of all sensors: what a collector with a disk that stands still may take in memory. */
export const UNCOMMITTED_TOTAL_MAX = 512 * 1024 * 1024;
/** 4,096 directories. A stranger on an open port must not make more. */
export const SENSORS_MAX = 4096;

export interface SessionTableOptions extends Partial<GroupCommitOptions>, Partial<SessionOptions> {
  readonly sensorsMax?: number;
  /** Bytes of all sensors together that may wait for a commit. */
  readonly uncommittedTotalMax?: number;
}

export interface SessionTableDependencies {
  /** Opens the store of a sensor whose name was checked: 1–64 of A–Z a–z 0–9 . _ -, no leading dot. */
  readonly openStore: (sensor: string) => Promise<SensorStore>;
  readonly events: SessionEvents & IntakeEvents;
  readonly clock?: TunnelClock;
}

export class SessionTable {
  readonly #commit: GroupCommitOptions;
  readonly #options: SessionOptions;
  readonly #sensorsMax: number;
  readonly #dependencies: SessionTableDependencies;
  readonly #clock: TunnelClock;
  readonly #intakes = new Map<string, Promise<SensorIntake>>();
  readonly #opened = new Map<string, SensorIntake>();
  readonly #sessions = new Set<Session>();
  #isClosing = false;

  constructor(options: SessionTableOptions, dependencies: SessionTableDependencies) {
    this.#commit = {
      intervalMs: options.intervalMs ?? COMMIT_INTERVAL_MS,
      bytesMax: options.bytesMax ?? COMMIT_BYTES_MAX,
      uncommittedBytesMax: options.uncommittedBytesMax ?? UNCOMMITTED_BYTES_MAX,
      budget: { bytes: 0, bytesMax: options.uncommittedTotalMax ?? UNCOMMITTED_TOTAL_MAX },
    };
    this.#options = {
      collector: options.collector ?? '',
      software: options.software ?? 'tapline-collector',
      helloTimeoutMs: options.helloTimeoutMs ?? 10_000,
      heartbeatIntervalMs: options.heartbeatIntervalMs ?? 5_000,
      idleTimeoutMs: options.idleTimeoutMs ?? 20_000,
      bytesPerSecondMax: options.bytesPerSecondMax,
    };
    this.#sensorsMax = options.sensorsMax ?? SENSORS_MAX;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemTunnelClock;
  }

  /** Sensors that came since the start, connected or not. */
  get sensors(): readonly SensorIntake[] {
    return [...this.#opened.values()];
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Takes over a connection that speaks the tunnel; `firstBytes` were already read from it. */
  accept(
    socket: Duplex,
    peer: string,
    firstBytes: Uint8Array,
    certificate: SessionCertificate | null = null,
  ): Session {
    const session = new Session(socket, peer, certificate, this.#options, {
      clock: this.#clock,
      events: this.#dependencies.events,
      openIntake: (hello, from) => this.#openIntake(hello, from, certificate),
    });
    this.#sessions.add(session);
    void session.closed.then(() => this.#sessions.delete(session));
    if (this.#isClosing) session.stop();
    else session.receive(firstBytes);
    return session;
  }

  /** Ends the sessions of certificates that were taken back. */
  endRevoked(isRevoked: (certificate: SessionCertificate) => boolean): void {
    for (const session of this.#sessions)
      if (session.certificate !== null && isRevoked(session.certificate)) session.revoked();
  }

  /**
   * The intake of a sensor that came by another way than a connection and whose identity its door has checked. Rejects as
   * `Session` is refused.
   */
  intakeOf(hello: Hello): Promise<SensorIntake> {
    return this.#findIntake(hello.sensor);
  }

  /**
   * The clean end: makes durable and acknowledges what was accepted, ends the sessions, closes the stores. A disk that
   * does not answer is given `deadlineMs`; what is not durable then was not acknowledged, and will be sent again.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    for (const session of this.#sessions) session.hold();
    const intakes = await Promise.all([...this.#intakes.values()].map((intake) => intake.catch(() => null)));
    const opened = intakes.filter((intake) => intake !== null);
    await this.#within(deadlineMs, Promise.all(opened.map((intake) => intake.commit())));
    for (const session of this.#sessions) session.stop();
    for (const intake of opened) await intake.close();
  }

  async #openIntake(
    hello: Hello,
    peer: string,
    certificate: SessionCertificate | null,
  ): Promise<SensorIntake> {
    const { sensor } = hello;
    // The name in the certificate is the identity: nobody writes into another's archive.
    if (certificate !== null && certificate.name !== sensor)
      throw refusal('sensor', `the certificate is that of ${certificate.name}, not of ${sensor}`, {
        sensor,
        peer,
      });
    return this.#findIntake(sensor);
  }

  async #findIntake(sensor: string): Promise<SensorIntake> {
    if (this.#isClosing) throw refusal('stopping', 'the collector is stopping; try again', { sensor });
    const known = this.#intakes.get(sensor);
    if (known !== undefined) return known;
    if (this.#intakes.size >= this.#sensorsMax)
      throw refusal('sensor', `there are ${String(this.#sensorsMax)} sensors already`, { sensor });
    const opening = this.#createIntake(sensor);
    this.#intakes.set(sensor, opening);
    try {
      return await opening;
    } catch (error) {
      // Asked again at the next attempt: the disk may be back by then.
      this.#intakes.delete(sensor);
      if (error instanceof OperatingError) throw error;
      throw refusal(
        'storage',
        `the store of ${sensor} cannot be opened: ${messageOf(error)}`,
        { sensor },
        error,
      );
    }
  }

  async #createIntake(sensor: string): Promise<SensorIntake> {
    const store = await this.#dependencies.openStore(sensor);
    const { events } = this.#dependencies;
    const intake = new SensorIntake(sensor, store, this.#commit, { clock: this.#clock, events });
    this.#opened.set(sensor, intake);
    return intake;
  }

  #within(deadlineMs: number, work: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(deadlineMs, resolve);
      void work.then(() => {
        cancel();
        resolve();
      });
    });
  }
}

function refusal(
  code: string,
  sentence: string,
  facts: Record<string, unknown>,
  cause?: unknown,
): OperatingError {
  return new OperatingError('TUNNEL_REFUSED', sentence, { code, ...facts }, cause);
}
