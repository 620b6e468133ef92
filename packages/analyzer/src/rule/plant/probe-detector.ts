/**
 * Controllers that are felt for what they are and have, before anybody commands them: who they are (identification), which units are behind a gateway, which functions and which addresses there
 * are. Operators know their plant: they ask for what is there, and are answered. So what counts is what is not answered, or refused as unknown, in many different ways.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import { isGroupAddress } from '../../asset/networks.ts';
import { SENT_SYN_ACK, type Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, forgetMember, memberCount, type CountedWindow, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

/** What tools ask that want to know a device, and operation seldom does. */
const IDENTIFYING: ReadonlySet<string> = new Set([
  'read-device-identification',
  'report-server-id',
  'list-blocks',
  'list-blocks-of-type',
  'get-block-info',
]);
/** Protocols with several stations behind one address, and what a gateway says of a station that is not there. */
const UNITS: ReadonlySet<string> = new Set(['modbus', 'dnp3', 'iec104']);
const ABSENT = /^gateway-|^unknown-common-address$/;
const NO_SUCH_FUNCTION =
  /illegal-function|function-not-supported|service-not-supported|service-unsupported|unrecognized-service|unknown-type/;
/** Their refusals do not say what they refuse: it is what was asked last. */
const VAGUE: ReadonlySet<string> = new Set(['dnp3', 'bacnet', 'opcua']);
const QUESTIONS_MAX = 8192;
/** Of all that was asked, so much was refused. */
const REFUSED_SHARE = 0.5;

interface Probed extends Seen {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly what: string;
}

export function createProbeDetector(rules: Rules, tell: Tell): Detector {
  const probe = rules.ot_probe;
  const discovery = rules.ot_discovery;
  const units = new KeyedWindows(probe.within * 1000);
  const functions = new KeyedWindows(probe.within * 1000);
  /** `other` counts what was not refused. */
  const objects = new KeyedWindows(probe.within * 1000);
  /** Asker, device and protocol → code and object of the last question. */
  const questions = new Map<string, string>();
  const identified = new KeyedWindows(discovery.within * 1000);

  /** `what` is searched for, of the device; where there is none, of all that were asked. */
  function told(flow: Flow, window: CountedWindow, { what, ...seen }: Probed): void {
    const { client, server, service } = flow;
    const { source, destination } = seen;
    tell(flow, {
      ...seen,
      score: 0.8,
      group: `${source} ${destination} ${what}`,
      scope: destination === '' ? { client, service } : { client, server, service },
      fromUs: window.startUs,
    });
  }

  function asked(flow: Flow, operation: Operation, asker: string, device: string, nowUs: number): void {
    const { protocol, name, unit } = operation;
    const pair = pairOf(flow, asker);
    if (VAGUE.has(protocol)) {
      if (!questions.has(pair) && questions.size >= QUESTIONS_MAX) dropOldest(questions);
      questions.set(pair, `${operation.code}\n${operation.object}`);
    }
    if (IDENTIFYING.has(name) && discovery.enabled && !isGroupAddress(device)) {
      const window = identified.add(asker, nowUs, device);
      const hosts = memberCount(window);
      told(flow, window, {
        rule: 'ot-discovery',
        title: 'A controller is asked what it is',
        severity: 'low',
        technique: 'T0888',
        source: asker,
        destination: device,
        protocol,
        evidence: `${asker} asks ${device} for ${name}`,
        what: name,
        timeUs: nowUs,
      });
      if (hosts >= discovery.hosts)
        told(flow, window, {
          rule: 'ot-discovery',
          title: 'Many controllers are asked what they are',
          technique: 'T0888',
          source: asker,
          destination: '',
          protocol,
          evidence: `${asker} asked ${hosts} controllers what they are in ${seconds(window, nowUs)}`,
          what: 'hosts',
          timeUs: nowUs,
        });
    }
    // Of a mirror that sees one direction nobody is ever answered.
    const isHeard = flow.memory['answered'] === true || (flow.serverState & SENT_SYN_ACK) !== 0;
    if (!probe.enabled || unit < 0 || !UNITS.has(protocol) || !isHeard) return;
    const window = units.add(pair, nowUs, unit);
    if (memberCount(window) >= probe.units)
      told(flow, window, {
        rule: 'ot-probe',
        title: 'A controller is felt for the stations behind it',
        technique: 'T0846',
        source: asker,
        destination: device,
        protocol,
        evidence: `${asker} asked for ${memberCount(window)} stations of ${device} in ${seconds(window, nowUs)} that never answered`,
        what: 'units',
        timeUs: nowUs,
      });
  }

  function answered(flow: Flow, operation: Operation, asker: string, device: string, nowUs: number): void {
    const { protocol, exception, unit } = operation;
    const pair = pairOf(flow, asker);
    if (unit >= 0 && UNITS.has(protocol) && !ABSENT.test(exception))
      forgetMember(units.peek(pair, nowUs), unit);
    if (exception === '') {
      objects.at(pair, nowUs).other++;
      return;
    }
    if (!probe.enabled) return;
    const [code = '', object = ''] = VAGUE.has(protocol)
      ? (questions.get(pair) ?? '').split('\n')
      : [String(operation.code), operation.object];
    if (NO_SUCH_FUNCTION.test(exception)) {
      const window = functions.add(pair, nowUs, code);
      if (memberCount(window) >= probe.functions)
        told(flow, window, {
          rule: 'ot-probe',
          title: 'A controller is felt for its functions',
          technique: 'T0888',
          source: asker,
          destination: device,
          protocol,
          evidence: `${device} refused ${memberCount(window)} different functions to ${asker} in ${seconds(window, nowUs)}`,
          what: 'functions',
          timeUs: nowUs,
        });
    } else if (object !== '') {
      const window = objects.add(pair, nowUs, object);
      if (
        memberCount(window) >= probe.objects &&
        window.count >= REFUSED_SHARE * (window.count + window.other)
      )
        told(flow, window, {
          rule: 'ot-probe',
          title: 'A controller is felt for its addresses',
          technique: 'T0861',
          source: asker,
          destination: device,
          protocol,
          evidence: `${device} refused ${memberCount(window)} different objects to ${asker} in ${seconds(window, nowUs)}, the last with ${exception}`,
          what: 'objects',
          timeUs: nowUs,
        });
    }
  }

  return {
    state: { units, functions, objects, questions, identified },

    operation(flow, operation, nowUs) {
      if (flow.protocol === -1 || !OT_SERVICES.has(operation.protocol)) return;
      const [sender, receiver] = operation.isFromClient
        ? [flow.client, flow.server]
        : [flow.server, flow.client];
      if (operation.isResponse || operation.action === 'report')
        answered(flow, operation, receiver, sender, nowUs);
      else if (operation.action !== 'session') asked(flow, operation, sender, receiver, nowUs);
    },
  };
}

/** Who asks whom; the server asks where a station called its master. */
function pairOf({ client, line }: Flow, asker: string): string {
  return asker === client ? line : `${line} back`;
}
