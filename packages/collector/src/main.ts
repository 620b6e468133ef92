/** `tapline-collector`: takes the streams of many forwarders and stores them per sensor and source. */
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { collectorSchema, verifyCollector } from './config.ts';
import { startCollector } from './pipeline.ts';

const program = {
  name: 'tapline-collector',
  schema: collectorSchema,
  defaultConfig: '/etc/tapline/collector.yaml',
  isSinglePlace: false,
};

await runProgram({
  ...program,
  summary: 'Takes the streams of many forwarders and stores them per sensor and source.',
  verify: verifyCollector,
  examples: [
    'tapline-collector -c collector.yaml',
    'tapline-collector check collector.yaml',
    'tapline-collector sensors',
    'tapline-collector export --host 10.0.1.7 --from -15m | wireshark -k -i -',
    'tapline-collector pki issue plant-a-cell-3',
  ],
  commands: async () => (await import('./commands.ts')).commands(program),
  start: startCollector,
});
