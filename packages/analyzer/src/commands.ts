/** The subcommands of `tapline-analyzer`, loaded when one is asked for. */
import type { Command } from 'commander';
import { alertsCommand } from './alerts-command.ts';
import { analyzeCommand } from './analyze-command.ts';
import { busKeyCommand } from './bus-key-command.ts';
import { evaluateCommand } from './evaluate-command.ts';
import { labelCommand } from './label-command.ts';
import { learnCommand } from './learn-command.ts';
import { summaryCommand } from './summary-command.ts';
import { trainCommand } from './train-command.ts';
import { tuneCommand } from './tune-command.ts';

export function commands(): Command[] {
  return [
    analyzeCommand(),
    learnCommand(),
    alertsCommand(),
    labelCommand(),
    tuneCommand(),
    trainCommand(),
    evaluateCommand(),
    busKeyCommand(),
    summaryCommand(),
  ];
}
