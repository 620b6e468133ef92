/**
 * `tapline-collector udp-key FILE`: makes a pre-shared key for one sensor of the one-way tunnel. The same file goes to the
 * probe, by hand: over a diode nothing can be agreed on.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { KEY_BYTES } from '@tapline/shared/tunnel/datagram-seal.ts';
import { Command } from 'commander';

export function udpKeyCommand(): Command {
  return new Command('udp-key')
    .description('Makes a key for the one-way UDP tunnel: 64 hexadecimal digits in a new file of mode 0600.')
    .argument('<file>', 'where to write it; never over a file that is there')
    .action((file: string) => {
      try {
        writeFileSync(file, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
      } catch (error) {
        throw new OperatingError('CONFIG_INVALID', `no key was made: ${messageOf(error)}`, { file }, error);
      }
      console.log(
        `${file}: a new key. Copy it to the probe, and name it in both configurations (docs/deploy.md).`,
      );
    });
}
