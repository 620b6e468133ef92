/**
 * The authority's files. It may live on the collector or, better, on a machine that is switched off most of the time.
 *
 *   ca.key         the authority's key: mode 0600, belongs nowhere else
 *   ca.crt         its certificate: forwarders and collectors trust nothing else
 *   ca.crl         the certificates taken back: `tls.crl` of every collector
 *   issued.jsonl   what was issued and taken back, a line each
 *   <name>.pem     a bundle, key and certificate and authority: mode 0600, one for each sensor and collector
 *
 * What must stay true: a key is never overwritten by mistake, and a file is replaced as a whole or not at all.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import {
  createAuthority,
  createRevocationList,
  issueCertificate,
  normalSerial,
  type Identity,
  type Purpose,
} from './certificates.ts';

export interface IssuedEntry {
  readonly serial: string;
  readonly name: string;
  readonly kind: 'sensor' | 'collector';
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
  /** When it was taken back. */
  readonly revokedAtMs: number | null;
}

export class PkiDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Makes the authority. Throws when there is one, unless `force`. */
  async init(name: string, days: number, force: boolean): Promise<Identity> {
    if (existsSync(this.#file('ca.key')) && !force)
      throw failed(`there is an authority in ${this.path} already; --force replaces it, and voids every certificate it issued`); // prettier-ignore
    // The directory above is everybody's: the services read their configurations there.
    mkdirSync(dirname(this.path), { recursive: true });
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    const authority = await createAuthority(name, days);
    this.#replace('ca.key', authority.key, 0o600);
    this.#replace('ca.crt', authority.certificate, 0o644);
    this.#replace('issued.jsonl', '', 0o644);
    await this.#writeRevocationList(authority, []);
    return authority;
  }

  /** Makes a bundle and returns its path. Throws when there is one of that name, unless `force`, which takes the old one back. */
  async issue(
    name: string,
    purpose: Purpose,
    days: number,
    force: boolean,
  ): Promise<{ path: string; identity: Identity }> {
    const authority = this.#authority();
    const file = `${name}.pem`;
    if (existsSync(this.#file(file))) {
      if (!force) throw failed(`${this.#file(file)} is there already; --force issues a new one and takes the old one back`); // prettier-ignore
      await this.revoke(name);
    }
    const identity = await issueCertificate(authority, name, purpose, days);
    const entry: IssuedEntry = {
      serial: identity.serial,
      name,
      kind: purpose.kind,
      issuedAtMs: Date.now(),
      notAfterMs: identity.notAfterMs,
      revokedAtMs: null,
    };
    // Listed before it exists: a certificate that nobody can take back must not exist.
    this.#writeIssued([...this.issued(), entry]);
    this.#replace(file, identity.key + identity.certificate + authority.certificate, 0o600);
    return { path: this.#file(file), identity };
  }

  /** Takes back every valid certificate of that name or serial; returns them. Throws when there is none. */
  async revoke(nameOrSerial: string): Promise<IssuedEntry[]> {
    const authority = this.#authority();
    const issued = this.issued();
    const isMeant = ({ name, serial, revokedAtMs }: IssuedEntry): boolean =>
      revokedAtMs === null && (name === nameOrSerial || serial === normalSerial(nameOrSerial));
    const meant = issued.filter(isMeant);
    if (meant.length === 0) throw failed(`no valid certificate of ${nameOrSerial} was issued here`);
    const now = Date.now();
    const entries = issued.map((entry) => (isMeant(entry) ? { ...entry, revokedAtMs: now } : entry));
    await this.#writeRevocationList(authority, entries);
    this.#writeIssued(entries);
    return meant;
  }

  /** Everything that was issued, the oldest first. */
  issued(): IssuedEntry[] {
    const text = this.#read('issued.jsonl');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as IssuedEntry);
  }

  #authority(): { key: string; certificate: string } {
    return { key: this.#read('ca.key'), certificate: this.#read('ca.crt') };
  }

  async #writeRevocationList(
    authority: { key: string; certificate: string },
    entries: readonly IssuedEntry[],
  ): Promise<void> {
    const revoked = entries.flatMap(({ serial, revokedAtMs }) =>
      revokedAtMs === null ? [] : [{ serial, atMs: revokedAtMs }],
    );
    this.#replace('ca.crl', await createRevocationList(authority, revoked), 0o644);
  }

  #writeIssued(entries: readonly IssuedEntry[]): void {
    this.#replace('issued.jsonl', entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''), 0o644);
  }

  #read(name: string): string {
    try {
      return readFileSync(this.#file(name), 'utf8');
    } catch (error) {
      throw failed(`${messageOf(error)}: make an authority with \`tapline-collector pki init\`, or name its directory with --dir`); // prettier-ignore
    }
  }

  /** Never readable by others for a moment, never half written. */
  #replace(name: string, text: string, mode: number): void {
    const hidden = this.#file(`.${name}.new`);
    try {
      writeFileSync(hidden, text, { mode: 0o600 });
      chmodSync(hidden, mode);
      renameSync(hidden, this.#file(name));
    } catch (error) {
      throw failed(messageOf(error));
    }
  }

  #file(name: string): string {
    return join(this.path, name);
  }
}

function failed(message: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', message);
}
