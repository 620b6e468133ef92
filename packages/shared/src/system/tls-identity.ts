/**
 * A program's own certificate over time: read at the start, read again when asked, with a warning before it expires. Files that
 * are found wrong later leave the old ones in force.
 */
import { messageOf } from '../base/errors.ts';
import { readTlsFiles, type TlsFiles, type TlsPaths } from './tls-files.ts';

const DAY_MS = 86_400_000;
const WARN_DAYS = 30;
const LOOK_INTERVAL_MS = DAY_MS / 2;

interface IdentityFacts {
  readonly name: string;
  readonly validUntil: string;
}

export interface TlsIdentityEvents {
  renewed?(identity: IdentityFacts): void;
  renewFailed?(failure: { readonly message: string }): void;
  /** Twice a day, from 30 days before. */
  expiresSoon?(identity: IdentityFacts): void;
  keyExposed?(identity: { readonly name: string }): void;
}

export class TlsIdentity {
  #files: TlsFiles;
  readonly #paths: TlsPaths;
  readonly #events: TlsIdentityEvents;

  /** Throws CONFIG_INVALID when the files cannot be used. */
  constructor(paths: TlsPaths, events: TlsIdentityEvents) {
    this.#paths = paths;
    this.#events = events;
    this.#files = readTlsFiles(paths);
    this.#tell();
    setInterval(() => {
      this.#look();
    }, LOOK_INTERVAL_MS).unref();
  }

  get files(): TlsFiles {
    return this.#files;
  }

  /** Negative after the end. */
  get daysLeft(): number {
    return Math.floor((this.#files.notAfterMs - Date.now()) / DAY_MS);
  }

  /** Reads the files again. False: the old ones stay in force. */
  renew(): boolean {
    try {
      this.#files = readTlsFiles(this.#paths);
    } catch (error) {
      this.#events.renewFailed?.({ message: messageOf(error) });
      return false;
    }
    this.#tell();
    return true;
  }

  #tell(): void {
    const { name, isKeyExposed } = this.#files;
    this.#events.renewed?.(this.#facts());
    if (isKeyExposed) this.#events.keyExposed?.({ name });
    this.#look();
  }

  #look(): void {
    if (this.daysLeft < WARN_DAYS) this.#events.expiresSoon?.(this.#facts());
  }

  #facts(): IdentityFacts {
    const { name, notAfterMs } = this.#files;
    return { name, validUntil: new Date(notAfterMs).toISOString() };
  }
}
