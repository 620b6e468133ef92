/** `tapline-analyzer`: follows stored PCAPs while they grow, and says what is wrong in them. */
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { analyzerSchema } from './config.ts';
import { startAnalyzer } from './pipeline.ts';

await runProgram({
  name: 'tapline-analyzer',
  summary:
    'Follows archives, captures and streams through flows, protocols, rules, a baseline and models, and says what is wrong, why, and where the packets are.',
  schema: analyzerSchema,
  defaultConfig: '/etc/tapline/analyzer.yaml',
  examples: [
    'tapline-analyzer -c analyzer.yaml',
    'tapline-analyzer analyze capture.pcap',
    'tapline-analyzer alerts --severity high',
  ],
  commands: async () => (await import('./commands.ts')).commands(),
  start: startAnalyzer,
});
