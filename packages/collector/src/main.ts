/** `tapline-collector`: takes the streams of many forwarders and stores them per sensor and source. */
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { collectorSchema } from './config.ts';
import { startCollector } from './pipeline.ts';
import { udpKeyCommand } from './udp-key-command.ts';
import { sensorsCommand } from './sensors-command.ts';

await runProgram({
  name: 'tapline-collector',
  summary: 'Takes the streams of many forwarders and stores them per sensor and source.',
  schema: collectorSchema,
  defaultConfig: '/etc/tapline/collector.yaml',
  examples: [
    'tapline-collector -c collector.yaml',
    'tapline-collector check collector.yaml',
    'tapline-collector sensors',
  ],
  commands: [sensorsCommand(), udpKeyCommand()],
  start: startCollector,
});
