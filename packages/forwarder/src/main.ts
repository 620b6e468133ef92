/** `tapline-forwarder`: captures on a SPAN port, stores hourly PCAPs per source, tunnels the frames to the collector. */
import { exportCommand } from '@tapline/shared/daemon/export-command.ts';
import { holdCommand } from '@tapline/shared/daemon/hold-command.ts';
import { indexCommand } from '@tapline/shared/daemon/index-command.ts';
import { verifyCommand } from '@tapline/shared/daemon/verify-command.ts';
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { forwarderSchema, verifyForwarder } from './config.ts';
import { enrollCommand } from './enroll-command.ts';
import { startForwarder } from './pipeline.ts';

import { simulateCommand } from './simulate/simulate-command.ts';
import { splitCommand } from './split-command.ts';

const program = {
  name: 'tapline-forwarder',
  schema: forwarderSchema,
  defaultConfig: '/etc/tapline/forwarder.yaml',
  isSinglePlace: true,
};

await runProgram({
  ...program,
  summary:
    'Captures on a SPAN port, stores hourly PCAPs per source, and tunnels the raw frames to the collector.',
  verify: verifyForwarder,
  examples: [
    'tapline-forwarder -c forwarder.yaml',
    'tapline-forwarder check forwarder.yaml',
    'tcpdump -i eth1 -w - | tapline-forwarder -c stdin.yaml',
    'tapline-forwarder split -o split/ day.pcap.gz',
    'tapline-forwarder simulate -o plant.pcap --attack all --labels labels.csv',
  ],
  commands: [
    exportCommand(program),
    indexCommand(program),
    verifyCommand(program),
    holdCommand(program),
    splitCommand(),
    simulateCommand(),
    enrollCommand(),
  ],
  start: startForwarder,
});
