/**
 * Switching in bulk: one client operates breakers, valves, steps at several controllers within a minute, or one point of a controller after the other. A person switches what they look at, one
 * after the other; malware that carries a list of stations and points goes through it. Only commands that switch count: set points, registers and outputs that a control loop writes cycle for
 * cycle, and selections that are not carried out, do not; nor does the same point again and again, as a supervised heartbeat does.
 */
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** Single, double and step commands of IEC 60870-5-104, with time and without. */
const IEC104_COMMAND = /^c-(sc|dc|rc)-[nt]a-1$/;
const DNP3_OPERATE = /^(operate|direct-operate|direct-operate-no-ack)$/;
/** Group 12 is the control relay output block; analog outputs (41) are set points. */
const DNP3_RELAY = 'g12v';
/** Of MMS: the object that is operated, not what selects or cancels. */
const MMS_OPERATE = /\$Oper(\$|$)/;

export function isSwitching({ protocol, action, name, object }: Operation): boolean {
  if (action !== 'control') return false;
  if (protocol === 'iec104') return IEC104_COMMAND.test(name);
  if (protocol === 'dnp3') return DNP3_OPERATE.test(name) && object.startsWith(DNP3_RELAY);
  return protocol === 'mms' && name === 'write' && MMS_OPERATE.test(object);
}

export function createSwitchingDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.ot_switching;
  const controllers = new KeyedWindows(rule.within * 1000);
  const objects = new KeyedWindows(rule.within * 1000);

  return {
    state: { controllers, objects },

    operation(flow, operation, nowUs) {
      if (operation.isResponse || !rule.enabled || flow.protocol === -1 || !isSwitching(operation)) return;
      const { protocol, unit, object, name } = operation;
      const { client, server, service } = flow;
      const [source, device] = operation.isFromClient ? [client, server] : [server, client];
      // Outstations of DNP3 share the address of what connects their line; a common address of IEC 104 may be a part of one station.
      const controller = protocol === 'dnp3' ? `${device} ${unit}` : device;
      const many = controllers.add(`${source} ${protocol}`, nowUs, controller);
      if (memberCount(many) >= rule.controllers)
        tell(flow, {
          rule: 'ot-switching',
          title: 'One host switches at many controllers',
          score: 0.9,
          technique: 'T0855',
          source,
          destination: '',
          protocol,
          evidence: `${source} commanded ${memberCount(many)} controllers, the last ${device} with ${name} of ${object}, in ${seconds(many, nowUs)}`,
          group: `${source}  ${protocol}`,
          // All of who commands; that is the server where a station called its master.
          scope: source === client ? { client, service } : { server, service },
          fromUs: many.startUs,
          timeUs: nowUs,
        });
      const one = objects.add(`${source} ${controller} ${protocol}`, nowUs, `${unit} ${object}`);
      if (memberCount(one) >= rule.objects)
        tell(flow, {
          rule: 'ot-switching',
          title: 'A controller is switched point after point',
          score: 0.9,
          technique: 'T0806',
          source,
          destination: device,
          protocol,
          evidence: `${source} commanded ${memberCount(one)} different points of ${device}, the last ${object} with ${name}, in ${seconds(one, nowUs)}`,
          group: `${source} ${device} ${protocol}`,
          scope: { client, server, service },
          fromUs: one.startUs,
          timeUs: nowUs,
        });
    },
  };
}
