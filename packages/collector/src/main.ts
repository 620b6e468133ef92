/** `tapline-collector`: takes the streams of many forwarders and stores them per sensor and source. */
import { exportCommand } from '@tapline/shared/daemon/export-command.ts';
import { holdCommand } from '@tapline/shared/daemon/hold-command.ts';
import { indexCommand } from '@tapline/shared/daemon/index-command.ts';
import { verifyCommand } from '@tapline/shared/daemon/verify-command.ts';
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { collectorSchema, verifyCollector } from './config.ts';
import { openElsewhere } from './object-archive.ts';
import { edgeOptions, exportFromEdge } from './edge-export.ts';
import { extcapCommand } from './extcap-command.ts';
import { startCollector } from './pipeline.ts';
import { pkiCommand } from './pki-command.ts';
import { udpKeyCommand } from './udp-key-command.ts';
import { sensorsCommand } from './sensors-command.ts';

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
  commands: [
    exportCommand({ ...program, extend: edgeOptions, instead: exportFromEdge, openElsewhere }),
    indexCommand(program),
    verifyCommand(program),
    holdCommand(program),
    extcapCommand(),
    sensorsCommand(),
    pkiCommand(),
    udpKeyCommand(),
  ],
  start: startCollector,
});
