/** `tapline-forwarder enroll BUNDLE`: puts the bundle that `tapline-collector pki issue` made where the forwarder reads it. */
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { readTlsFiles } from '@tapline/shared/system/tls-files.ts';
import { Command } from 'commander';

const TARGET = '/etc/tapline/forwarder.pem';
const USER = 'tapline-forwarder';

/** The `enroll` subcommand. */
export function enrollCommand(): Command {
  return new Command('enroll')
    .summary('install the certificate this probe was given')
    .description(
      'Checks a bundle made by `tapline-collector pki issue`, installs it for the service to read and nobody else, and prints the lines for forwarder.yaml.',
    )
    .argument('<bundle>', 'the file that was carried here')
    .option('--to <file>', 'where it should lie', TARGET)
    .option('--force', 'replace another sensor’s bundle that lies there', false)
    .addHelpText('after', '\nExample:\n  tapline-forwarder enroll plant-a-cell-3.pem\n')
    .action((bundle: string, { to, force }: { to: string; force: boolean }) => {
      const { name, notAfterMs } = readTlsFiles({ bundle });
      if (existsSync(to) && !force) refuseToReplace(to, name);
      const owner = serviceUser();
      try {
        mkdirSync(dirname(to), { recursive: true });
        const hidden = `${to}.new`;
        copyFileSync(bundle, hidden);
        chmodSync(hidden, 0o400);
        if (owner !== null) chownSync(hidden, owner.uid, owner.gid);
        renameSync(hidden, to);
      } catch (error) {
        throw new OperatingError(
          'CONFIG_INVALID',
          `the bundle cannot be installed: ${messageOf(error)}`,
          { to },
          error,
        );
      }
      process.stdout.write(
        `${to} belongs to sensor ${name} and is valid until ${new Date(notAfterMs).toISOString().slice(0, 10)}.\n` +
          (owner === null ? `There is no user ${USER} here: the file is readable by you alone.\n` : '') +
          `In forwarder.yaml:\n  sensor: ${name}\n  forward:\n    tls:\n      bundle: ${to}\n` +
          `The file that was carried here holds the same key: delete it.\n`,
      );
    });
}

/** A renewed bundle of the same sensor is welcome; another sensor's is a mistake. */
function refuseToReplace(to: string, name: string): void {
  const known = readTlsFiles({ bundle: to }).name;
  if (known === name) return;
  throw new OperatingError(
    'CONFIG_INVALID',
    `${to} belongs to sensor ${known}, and this bundle to ${name}; --force replaces it`,
    { to },
  );
}

/** The user the service runs as; null where it was not made yet, or we may not give files away. */
function serviceUser(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${USER}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}
