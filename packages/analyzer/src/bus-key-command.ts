/** `tapline-analyzer bus-key DIR`: keys for the bus, for the daemon and for each subscriber. */
import { join } from 'node:path';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { Command } from 'commander';
import { makeKeyDirectory, writeKeyPair } from './publish/curve-keys.ts';

interface BusKeyOptions {
  readonly client?: string;
}

/** The `bus-key` subcommand. */
export function busKeyCommand(): Command {
  return new Command('bus-key')
    .summary('keys for the bus of alerts')
    .description(
      'Makes the daemon’s key pair: DIR/server.key (mode 0600) and DIR/server.pub. With --client a subscriber’s: DIR/NAME.key (mode 0600), to be carried ' +
        'to it together with server.pub, and DIR/clients/NAME.pub, which admits it. Never writes over a file that is there.',
    )
    .argument('<dir>', 'where the keys are kept')
    .option('--client <name>', 'a subscriber, such as siem')
    .addHelpText(
      'after',
      '\nExamples:\n  tapline-analyzer bus-key /etc/tapline/bus\n  tapline-analyzer bus-key /etc/tapline/bus --client siem\n',
    )
    .action(async (directory: string, options: BusKeyOptions) => {
      await makeKeys(directory, options.client);
    });
}

async function makeKeys(directory: string, client: string | undefined): Promise<void> {
  if (client !== undefined && (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(client) || client === 'server'))
    throw new OperatingError('CONFIG_INVALID', `--client needs a name of letters, digits, dashes and underscores, and not server: ${client}`, {}); // prettier-ignore
  // Loaded here: it is a native library, and no other command needs it.
  const { curveKeyPair } = await import('zeromq');
  makeKeyDirectory(directory);
  const name = client ?? 'server';
  const secret = join(directory, `${name}.key`);
  const publicFile = join(directory, client === undefined ? '' : 'clients', `${name}.pub`);
  writeKeyPair({ secret, public: publicFile }, `bus key of ${name}`, curveKeyPair());
  console.log(`${secret}: a new key pair (keep it secret)\n${publicFile}: its public key`);
  if (client !== undefined) console.log(`Carry ${secret} and ${join(directory, 'server.pub')} to ${client}; the running daemon admits it after SIGHUP.`); // prettier-ignore
}
