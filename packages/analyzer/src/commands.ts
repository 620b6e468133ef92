/** The subcommands of `tapline-analyzer`, loaded when one is asked for. */
import type { Command } from 'commander';
import { analyzeCommand } from './analyze-command.ts';
import { evaluateCommand } from './evaluate-command.ts';
import { learnCommand } from './learn-command.ts';
import { summaryCommand } from './summary-command.ts';
import { trainCommand } from './train-command.ts';

export function commands(): Command[] {
  return [analyzeCommand(), learnCommand(), trainCommand(), evaluateCommand(), summaryCommand()];
}
