/**
 * What a plant fears most, without any training: programs loaded into controllers, controllers stopped and restarted, and commands from hosts that never
 * took part in the conversation before. What is normal in *this* plant is the business of the baseline; these are the few things that are worth a look in any.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows } from '../keyed-window.ts';
import { deviceCommand, isHousekeeping, type DeviceCommand } from './ot-commands.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

const OPERATORS_MAX = 8192;
/** A host that commands after this long of a capture, and never before, is new to it; before that everybody is. */
const SETTLED_US = 60_000_000;
/** So long a new client is watched. */
const PROBATION_US = 60_000_000;

export function createOtDetector(rules: Rules, tell: Tell): Detector {
  /** Server and service → when its first operation was seen. */
  const since = new Map<string, number>();
  /** Client, server and service → when the client was seen first. */
  const operators = new Map<string, number>();
  /** The same, of its first command. */
  const writers = new Map<string, number>();
  /** Commands of one name to one device. */
  const repeats = new KeyedWindows(rules.ot_control.within * 1000);

  function told(flow: Flow, operation: Operation, seen: Seen): void {
    const { client, server, service } = flow;
    const [source, destination] = operation.isFromClient ? [client, server] : [server, client];
    tell(flow, {
      ...seen,
      score: 0.8,
      source,
      destination,
      protocol: operation.protocol,
      group: `${source} ${destination} ${operation.name}`,
      scope: { client, server, service },
    });
  }

  function programmed(flow: Flow, operation: Operation, asks: string, nowUs: number): void {
    const isUpload = /upload|read/.test(operation.name);
    told(flow, operation, {
      rule: 'ot-program',
      title: "A controller's program is changed or read out",
      // Reading a program out is how engineers look; adding nodes is how OPC UA servers describe themselves.
      severity: isUpload || operation.protocol === 'opcua' ? 'low' : rules.ot_program.severity,
      technique: isUpload ? 'T0845' : 'T0843',
      evidence: asks,
      timeUs: nowUs,
    });
  }

  function commanded(
    command: DeviceCommand,
    flow: Flow,
    operation: Operation,
    asks: string,
    nowUs: number,
  ): void {
    const rule = rules.ot_control;
    const { count } = repeats.add(
      `${flow.client} ${flow.server} ${operation.name} ${operation.isFromClient}`,
      nowUs,
    );
    const isFlood = count >= rule.repeats;
    told(flow, operation, {
      rule: 'ot-control',
      title: isFlood
        ? 'A controller is given the same command again and again'
        : command.isOutage
          ? 'A controller is stopped, restarted or silenced'
          : command.technique === 'T0859'
            ? 'A controller is given a password'
            : 'A controller is started or set',
      severity: command.isOutage || isFlood ? rule.outage_severity : rule.severity,
      technique: command.technique,
      evidence: isFlood ? `${asks}, ${count} times` : asks,
      timeUs: nowUs,
    });
  }

  return {
    state: { since, operators, writers, repeats },

    operation(flow, operation, nowUs) {
      if (operation.isResponse || !OT_SERVICES.has(operation.protocol)) return;
      const { action } = operation;
      const command = deviceCommand(operation);
      // Frames straight on Ethernet go to groups and come from devices themselves: who is new to whom says nothing there.
      if (flow.protocol === -1 && command === null) return;
      // Who asks is not always who opened the connection: a DNP3 outstation may call its master.
      const [client, server] = operation.isFromClient
        ? [flow.client, flow.server]
        : [flow.server, flow.client];
      const changes = action === 'write' || action === 'control';
      const isTold = changes || command !== null || action === 'program';
      const what = !isTold
        ? ''
        : `${operation.name}${operation.object === '' ? '' : ` of ${operation.object}`}`;
      const asks = !isTold ? '' : `${client} asks ${server} for ${what}`;
      if (action === 'program' && rules.ot_program.enabled) programmed(flow, operation, asks, nowUs);
      else if (command !== null && rules.ot_control.enabled) commanded(command, flow, operation, asks, nowUs);
      if (flow.protocol === -1) return;
      // What a conversation only asks for is news once.
      const mark = operation.isFromClient ? 'client-operates' : 'server-operates';
      if (!changes && flow.memory[mark] === true) return;
      flow.memory[mark] = true;
      const service = `${server} ${operation.protocol}`;
      const pair = `${client} ${service}`;
      const firstUs = remember(since, service, nowUs);
      const sinceUs = remember(operators, pair, nowUs);
      const isNew = sinceUs - firstUs > SETTLED_US && nowUs - sinceUs < PROBATION_US;
      if (changes && !writers.has(pair) && rules.ot_first_write.enabled) {
        remember(writers, pair, nowUs);
        told(flow, operation, {
          rule: 'ot-first-write',
          title: 'First command of this client to this controller',
          technique: 'T0855',
          evidence: `${client} begins to command ${server}: ${what}${Number.isNaN(operation.value) ? '' : ` to ${operation.value}`}`,
          timeUs: nowUs,
        });
      }
      // A client that commands as soon as it appears, at a controller that others have been talking to for a while.
      if (
        isNew &&
        changes &&
        rules.ot_new_writer.enabled &&
        operation.protocol !== 'profinet' &&
        !isHousekeeping(operation)
      )
        told(flow, operation, {
          rule: 'ot-new-writer',
          title: 'A command from a host that is new to the controller',
          technique: 'T0855',
          evidence: `${client} sends ${what} ${((nowUs - sinceUs) / 1e6).toFixed(1)} s after its first word to ${server}, which others have used for ${Math.round((nowUs - firstUs) / 1e6)} s`,
          timeUs: nowUs,
        });
    },
  };
}

function remember(times: Map<string, number>, key: string, nowUs: number): number {
  const known = times.get(key);
  if (known !== undefined) return known;
  if (times.size >= OPERATORS_MAX) dropOldest(times);
  times.set(key, nowUs);
  return nowUs;
}
