/**
 * A collector's receiving half in a process of its own, to be killed: `node collector-child.ts <directory> <port file>`.
 * Stores per sensor in <directory>/<sensor>, as the daemon does, and writes its port to the port file when it listens.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { PlainIntake } from '../../packages/collector/src/listen/plain-intake.ts';
import { TcpListener } from '../../packages/collector/src/listen/tcp-listener.ts';
import { ArchiveStore } from '../../packages/collector/src/session/sensor-store.ts';
import { SessionTable } from '../../packages/collector/src/session/session-table.ts';
import { singleArchive } from '../../packages/shared/src/archive/archive-set.ts';
import { systemFiles as files } from '../../packages/shared/src/system/files.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';

const [directory = '', portFile = ''] = process.argv.slice(2);

const sessions = new SessionTable(
  { intervalMs: 15 },
  {
    events: {},
    openStore: (sensor) => {
      const path = `${directory}/${sensor}`;
      return ArchiveStore.open(
        { directory: path },
        {
          files,
          events: {},
          createArchives: (events) =>
            singleArchive(
              {
                directory: path,
                linkType: 'ethernet',
                precision: 'ns',
                rules: [],
                flushIntervalMs: 5,
                openFilesMax: 4,
              },
              { files, events },
            ),
        },
      );
    },
  },
);
const plain = new PlainIntake('auto', { clock, deliver: () => undefined });
const listener = new TcpListener(
  { host: '127.0.0.1', port: 0, protocol: 'tunnel' },
  { clock, sessions, plain, events: {} },
);
const { port } = await listener.open();
writeFileSync(`${portFile}.new`, String(port));
renameSync(`${portFile}.new`, portFile);
