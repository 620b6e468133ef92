/** The subcommands of `tapline-collector`, apart: the daemon starts without them. */
import type { Command } from 'commander';
import { exportCommand } from '@tapline/shared/daemon/export-command.ts';
import { holdCommand } from '@tapline/shared/daemon/hold-command.ts';
import { indexCommand } from '@tapline/shared/daemon/index-command.ts';
import { verifyCommand } from '@tapline/shared/daemon/verify-command.ts';
import { openElsewhere } from './object-archive.ts';
import { edgeOptions, exportFromEdge } from './edge-export.ts';
import { extcapCommand } from './extcap-command.ts';
import { pkiCommand } from './pki-command.ts';
import { udpKeyCommand } from './udp-key-command.ts';
import { sensorsCommand } from './sensors-command.ts';
import { collectorSchema } from './config.ts';

interface ProgramName {
  readonly name: string;
  readonly schema: typeof collectorSchema;
  readonly defaultConfig: string;
  readonly isSinglePlace: boolean;
}

export function commands(program: ProgramName): readonly Command[] {
  return [
    exportCommand({ ...program, extend: edgeOptions, instead: exportFromEdge, openElsewhere }),
    indexCommand(program),
    verifyCommand(program),
    holdCommand(program),
    extcapCommand(),
    sensorsCommand(),
    pkiCommand(),
    udpKeyCommand(),
  ];
}
