/** Alerts about Tapline itself, not about packets: a sensor or an agent that is not heard any more. Their time is wall time. */
import { AlertDesk, type Alert } from './alert/alert-desk.ts';

export class HouseDesk {
  #pending: Alert[] = [];
  readonly #desk = new AlertDesk(
    { sensor: '.', fileName: () => '' },
    {
      alert: (alert) => {
        this.#pending.push(structuredClone(alert));
      },
    },
  );

  /** Nothing came from it for three intervals. */
  missed(name: string, silentMs: number): void {
    const nowUs = Date.now() * 1000;
    this.#desk.add(
      {
        rule: 'sensor-silent',
        title: 'A sensor is not heard any more',
        severity: 'high',
        score: 1,
        technique: '',
        timeUs: nowUs,
        source: '',
        destination: name,
        port: -1,
        protocol: '',
        evidence: `nothing came from ${name} for ${Math.round(silentMs / 1000)} s`,
        group: `${name} ${nowUs}`,
        scope: { client: '', fromUs: nowUs - silentMs * 1000, toUs: nowUs },
      },
      null,
    );
  }

  /** What is to be told. */
  take(): readonly Alert[] {
    const pending = this.#pending;
    this.#pending = [];
    return pending;
  }
}
