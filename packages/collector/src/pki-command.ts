/** `tapline-collector pki`: an authority of the plant's own, so that enrolling a probe is one command on each side. */
import { isIP } from 'node:net';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { SENSOR_NAME } from '@tapline/shared/tunnel/messages.ts';
import { Command, InvalidArgumentError } from 'commander';
import type { IssuedEntry, PkiDirectory } from './pki/pki-directory.ts';

const DIRECTORY = '/etc/tapline/pki';
/** Ten years and two: as long as plants run, and as long as people remember. */
const AUTHORITY_DAYS = '3650';
const CERTIFICATE_DAYS = '730';

interface CommonOptions {
  readonly dir: string;
  readonly json: boolean;
}

/** The `pki` subcommand and its own. */
export function pkiCommand(): Command {
  const command = new Command('pki')
    .summary('certificates for sensors and collectors')
    .description(
      'Keeps a certificate authority for the tunnel: makes it, issues bundles, takes certificates back.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  tapline-collector pki init --name "Plant SOC"\n  tapline-collector pki issue --collector soc --host soc.example --host 192.0.2.10\n  tapline-collector pki issue plant-a-cell-3\n  tapline-collector pki revoke plant-a-cell-3 && systemctl reload tapline-collector\n',
    );
  command.addCommand(initCommand());
  command.addCommand(issueCommand());
  command.addCommand(revokeCommand());
  command.addCommand(listCommand());
  return command;
}

function initCommand(): Command {
  return subcommand('init', 'make the authority')
    .option('--name <name>', 'the name in its certificate', 'Tapline')
    .option('--days <days>', 'how long it is valid', days, days(AUTHORITY_DAYS))
    .option('--force', 'replace the one there is, and void what it issued', false)
    .action(
      async ({
        dir,
        json,
        name,
        days: valid,
        force,
      }: CommonOptions & { name: string; days: number; force: boolean }) => {
        // prettier-ignore
        const pki = await open(dir);
        const { notAfterMs } = await pki.init(name, valid, force);
        say(json, { directory: dir, notAfterMs }, [
          `An authority is in ${dir}. Its key, ca.key, is what must be kept secret.`,
          'Next: tapline-collector pki issue --collector NAME --host HOST',
        ]);
      },
    );
}

function issueCommand(): Command {
  return subcommand('issue', 'make a bundle: key, certificate and authority in one file')
    .argument('[sensor]', 'the sensor it is for')
    .option('--collector <name>', 'for a collector instead')
    .option('--host <host...>', "the collector's host names and addresses, as forwarders call it")
    .option('--days <days>', 'how long it is valid', days, days(CERTIFICATE_DAYS))
    .option('--force', 'replace the one there is, and take it back', false)
    .action(async (sensor: string | undefined, options: IssueOptions) => {
      const { dir, json, collector, days: valid, force } = options;
      const { name, purpose } = wanted(sensor, options);
      const pki = await open(dir);
      const { path, identity } = await pki.issue(name, purpose, valid, force);
      const next =
        collector === undefined
          ? [
              'Carry it to the probe (it holds the private key), and there:',
              `  tapline-forwarder enroll ${name}.pem`,
            ]
          : ['In collector.yaml:', '  tls:', `    bundle: ${path}`, `    crl: ${dir}/ca.crl`];
      say(json, { path, serial: identity.serial, notAfterMs: identity.notAfterMs }, [
        `${path} is valid until ${new Date(identity.notAfterMs).toISOString().slice(0, 10)}.`,
        ...next,
      ]);
    });
}

interface IssueOptions extends CommonOptions {
  readonly collector?: string;
  readonly host?: readonly string[];
  readonly days: number;
  readonly force: boolean;
}

function wanted(sensor: string | undefined, { collector, host = [] }: IssueOptions) {
  if ((sensor === undefined) === (collector === undefined))
    throw usage('name a sensor, or a collector with --collector: one of the two');
  const name = sensor ?? collector ?? '';
  if (!SENSOR_NAME.test(name) || ['ca', 'issued'].includes(name))
    throw usage(`'${name}' cannot be a name: 1 to 64 letters, digits, dots, dashes and underscores, and not ca or issued`); // prettier-ignore
  if (collector === undefined) {
    if (host.length > 0) throw usage('--host goes with --collector: a sensor is known by its name alone');
    return { name, purpose: { kind: 'sensor' as const } };
  }
  if (host.length === 0)
    throw usage('name with --host every host name and address by which forwarders will call this collector');
  const wrong = host.find((value) => isIP(value) === 0 && !/^[A-Za-z0-9*]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(value)); // prettier-ignore
  if (wrong !== undefined) throw usage(`'${wrong}' is no host name or address`);
  return { name, purpose: { kind: 'collector' as const, hosts: host } };
}

function revokeCommand(): Command {
  return subcommand('revoke', 'take certificates back')
    .argument('<name>', 'a sensor or collector, or a serial number')
    .action(async (name: string, { dir, json }: CommonOptions) => {
      const pki = await open(dir);
      const revoked = await pki.revoke(name);
      say(json, { revoked }, [
        ...revoked.map(({ kind, serial }) => `Taken back: ${kind} ${name}, serial ${serial}.`),
        `Copy ${dir}/ca.crl to every collector that has another, and \`systemctl reload tapline-collector\`: that ends its session, too.`,
      ]);
    });
}

function listCommand(): Command {
  return subcommand('list', 'what was issued, and what was taken back').action(
    async ({ dir, json }: CommonOptions) => {
      const pki = await open(dir);
      const issued = pki.issued();
      say(json, { issued }, issued.length === 0 ? ['Nothing was issued yet.'] : table(issued));
    },
  );
}

function subcommand(name: string, summary: string): Command {
  return new Command(name)
    .summary(summary)
    .description(summary)
    .option('--dir <directory>', "the authority's directory", DIRECTORY)
    .option('--json', 'print the result as JSON', false)
    .exitOverride();
}

/** The certificate library is loaded by those who need it: the daemon does not. */
async function open(directory: string): Promise<PkiDirectory> {
  const { PkiDirectory: Directory } = await import('./pki/pki-directory.ts');
  return new Directory(directory);
}

function table(issued: readonly IssuedEntry[]): string[] {
  const width = Math.max(4, ...issued.map(({ name }) => name.length));
  const date = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  const now = Date.now();
  return [
    `${'name'.padEnd(width)}  kind       valid until  state     serial`,
    ...issued.map(({ name, kind, notAfterMs, revokedAtMs, serial }) => {
      const state = revokedAtMs !== null ? 'revoked' : notAfterMs < now ? 'expired' : 'valid';
      return `${name.padEnd(width)}  ${kind.padEnd(9)}  ${date(notAfterMs)}   ${state.padEnd(8)}  ${serial}`;
    }),
  ];
}

function say(json: boolean, result: unknown, lines: readonly string[]): void {
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : `${lines.join('\n')}\n`);
}

function days(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 36_500)
    throw new InvalidArgumentError('write a number of days from 1 to 36500');
  return value;
}

function usage(message: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', message);
}
