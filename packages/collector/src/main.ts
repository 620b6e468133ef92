/** `tapline-collector`: takes the streams of many forwarders and stores them per sensor and source. */
import { exportCommand } from '@tapline/shared/daemon/export-command.ts';
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { collectorSchema, verifyCollector } from './config.ts';
import { startCollector } from './pipeline.ts';
import { pkiCommand } from './pki-command.ts';
import { udpKeyCommand } from './udp-key-command.ts';
import { sensorsCommand } from './sensors-command.ts';

await runProgram({
  name: 'tapline-collector',
  summary: 'Takes the streams of many forwarders and stores them per sensor and source.',
  schema: collectorSchema,
  verify: verifyCollector,
  defaultConfig: '/etc/tapline/collector.yaml',
  examples: [
    'tapline-collector -c collector.yaml',
    'tapline-collector check collector.yaml',
    'tapline-collector sensors',
    'tapline-collector pki issue plant-a-cell-3',
  ],
  commands: [
    exportCommand({
      name: 'tapline-collector',
      schema: collectorSchema,
      defaultConfig: '/etc/tapline/collector.yaml',
      isSinglePlace: false,
    }),
    sensorsCommand(),
    pkiCommand(),
    udpKeyCommand(),
  ],
  start: startCollector,
});
