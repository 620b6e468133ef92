/** The subcommands of `tapline-forwarder`, apart: the daemon starts without them. */
import type { Command } from 'commander';
import { exportCommand } from '@tapline/shared/daemon/export-command.ts';
import { holdCommand } from '@tapline/shared/daemon/hold-command.ts';
import { indexCommand } from '@tapline/shared/daemon/index-command.ts';
import { verifyCommand } from '@tapline/shared/daemon/verify-command.ts';
import { enrollCommand } from './enroll-command.ts';
import { simulateCommand } from './simulate/simulate-command.ts';
import { splitCommand } from './split-command.ts';
import { forwarderSchema } from './config.ts';

interface ProgramName {
  readonly name: string;
  readonly schema: typeof forwarderSchema;
  readonly defaultConfig: string;
  readonly isSinglePlace: boolean;
}

export function commands(program: ProgramName): readonly Command[] {
  return [
    exportCommand(program),
    indexCommand(program),
    verifyCommand(program),
    holdCommand(program),
    splitCommand(),
    simulateCommand(),
    enrollCommand(),
  ];
}
