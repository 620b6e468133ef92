/** `tapline-forwarder`: captures on a SPAN port, stores hourly PCAPs per source, tunnels the frames to the collector. */
import { runProgram } from '@tapline/shared/daemon/run.ts';
import { forwarderSchema, verifyForwarder } from './config.ts';
import { startForwarder } from './pipeline.ts';

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
  commands: async () => (await import('./commands.ts')).commands(program),
  start: startForwarder,
});
