/** `tapline-analyzer`: follows stored PCAPs while they grow. */
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { analyzerSchema } from './config.ts';
import { startAnalyzer } from './pipeline.ts';

await runProgram({
  name: 'tapline-analyzer',
  summary: 'Follows an archive while it grows and counts what it holds per sensor, source and protocol.',
  schema: analyzerSchema,
  defaultConfig: '/etc/tapline/analyzer.yaml',
  examples: ['tapline-analyzer -c analyzer.yaml', 'tapline-analyzer summary /var/lib/tapline-collector/pcap'],
  commands: async () => (await import('./commands.ts')).commands(),
  start: startAnalyzer,
});
