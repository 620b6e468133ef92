/**
 * Controllers that are felt for what they are and have, before anybody commands them: who they are (identification), which units are behind a gateway, which functions and which addresses there
 * are. Operators know their plant: they ask for what is there, and are answered. So what counts is what is not answered, or refused as unknown, in many different ways.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import { isGroupAddress } from '../../asset/networks.ts';
import type { Severity } from '../../alert/finding.ts';
import { SENT_SYN_ACK, type Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector, Report } from '../detector.ts';
import { KeyedWindows, forgetMember, memberCount, type CountedWindow, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

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
const NO_SUCH_FUNCTION = /illegal-function|function-not-supported|service-not-supported|service-unsupported|unrecognized-service|unknown-type/; // prettier-ignore
/** Their refusals do not say what they refuse: it is what was asked last. */
const VAGUE: ReadonlySet<string> = new Set(['dnp3', 'bacnet', 'opcua']);
const QUESTIONS_MAX = 8192;
/** Of all that was asked, so much was refused. */
const REFUSED_SHARE = 0.5;

export function createProbeDetector(rules: Rules, report: Report): Detector {
  const probe = rules.ot_probe;
  const discovery = rules.ot_discovery;
  const units = new KeyedWindows(probe.within * 1000);
  const functions = new KeyedWindows(probe.within * 1000);
  /** `other` counts what was not refused. */
  const objects = new KeyedWindows(probe.within * 1000);
  /** Asker, device and protocol → code and object of the last question. */
  const questions = new Map<string, string>();
  const identified = new KeyedWindows(discovery.within * 1000);

  function found(
    rule: 'ot_probe' | 'ot_discovery',
    title: string,
    severity: Severity,
    [source, destination]: readonly [string, string],
    flow: Flow,
    protocol: string,
    window: CountedWindow,
    evidence: string,
    what: string,
    nowUs: number,
  ): void {
    report(
      {
        rule: rule.replaceAll('_', '-'),
        title,
        severity,
        score: 0.8,
        technique: rule === 'ot_probe' && what === 'objects' ? 'T0861' : what === 'units' ? 'T0846' : 'T0888',
        timeUs: nowUs,
        source,
        destination,
        port: flow.serverPort,
        protocol,
        evidence,
        group: `${source} ${destination} ${what}`,
        scope: {
          client: flow.client,
          ...(destination === '' ? {} : { server: flow.server }),
          service: flow.service,
          fromUs: window.startUs,
          toUs: nowUs,
        },
      },
      flow,
    );
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
      found('ot_discovery', 'A controller is asked what it is', 'low', [asker, device], flow, protocol, window, `${asker} asks ${device} for ${name}`, name, nowUs); // prettier-ignore
      if (hosts >= discovery.hosts)
        found('ot_discovery', 'Many controllers are asked what they are', discovery.severity, [asker, ''], flow, protocol, window, `${asker} asked ${hosts} controllers what they are in ${seconds(window, nowUs)}`, 'hosts', nowUs); // prettier-ignore
    }
    // Of a mirror that sees one direction nobody is ever answered.
    const isHeard = flow.memory['answered'] === true || (flow.serverState & SENT_SYN_ACK) !== 0;
    if (!probe.enabled || unit < 0 || !UNITS.has(protocol) || !isHeard) return;
    const window = units.add(pair, nowUs, unit);
    if (memberCount(window) >= probe.units)
      found('ot_probe', 'A controller is felt for the stations behind it', probe.severity, [asker, device], flow, protocol, window, `${asker} asked for ${memberCount(window)} stations of ${device} in ${seconds(window, nowUs)} that never answered`, 'units', nowUs); // prettier-ignore
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
        found('ot_probe', 'A controller is felt for its functions', probe.severity, [asker, device], flow, protocol, window, `${device} refused ${memberCount(window)} different functions to ${asker} in ${seconds(window, nowUs)}`, 'functions', nowUs); // prettier-ignore
    } else if (object !== '') {
      const window = objects.add(pair, nowUs, object);
      if (memberCount(window) >= probe.objects && window.count >= REFUSED_SHARE * (window.count + window.other))
        found('ot_probe', 'A controller is felt for its addresses', probe.severity, [asker, device], flow, protocol, window, `${device} refused ${memberCount(window)} different objects to ${asker} in ${seconds(window, nowUs)}, the last with ${exception}`, 'objects', nowUs); // prettier-ignore
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
