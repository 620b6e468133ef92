/** One client that opens more connections to one service than it can use; below the rate of a flood, for a minute, it is a thing to know. */
import type { Flow } from '../../flow/flow.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { TellFlood } from './flood-tell.ts';

const SLOW_US = 60_000_000;
const SLOW_FACTOR = 2;

export interface ConnectionFloodWatch {
  /** The server accepted that connection. */
  accepted(flow: Flow, nowUs: number): void;
  readonly state: Record<string, unknown>;
}

export function createConnectionFloodWatch(rules: Rules, tell: TellFlood): ConnectionFloodWatch {
  const rule = rules.connection_flood;
  const connections = new KeyedWindows(rule.within * 1000);
  const slowConnections = new KeyedWindows(SLOW_US);

  return {
    state: { connections, slowConnections },

    accepted(flow, nowUs) {
      const { client, server, serverPort: port } = flow;
      const quick = connections.add(flow.line, nowUs);
      const slow = slowConnections.add(flow.line, nowUs);
      if (!rule.enabled) return;
      if (quick.count >= rule.connections)
        tell(flow, quick, {
          rule: 'connection-flood',
          title: 'Connection flood',
          technique: 'T0814',
          source: client,
          destination: server,
          port,
          evidence: `${client} opened ${quick.count} connections to ${server} port ${port} in ${seconds(quick, nowUs)}`,
          timeUs: nowUs,
        });
      else if (slow.count >= SLOW_FACTOR * rule.connections)
        tell(flow, slow, {
          rule: 'connection-flood',
          title: 'Many connections of one client',
          severity: 'low',
          technique: 'T0814',
          source: client,
          destination: server,
          port,
          evidence: `${client} opened ${slow.count} connections to ${server} port ${port} in ${seconds(slow, nowUs)}`,
          timeUs: nowUs,
        });
    },
  };
}
