/**
 * Who listens to everything: an MQTT subscription to `#`, to all topics of a level from the first one on, or to all that the broker says of itself. It is how one looks
 * around at a broker, and how a historian collects; what subscribes so again and again is a tool.
 */
import type { Severity } from '../../alert/finding.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

/** `$share/GROUP/` in front shares a subscription, and changes nothing of what is heard. */
const EVERYTHING = /^(\$share\/[^/]*\/)?(#|(\+\/)+(#|\+)|\+|\/#|\$SYS\/#)$/;

export function createSubscriptionDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.broad_subscription;
  const subscriptions = new KeyedWindows(rule.within * 1000);

  return {
    state: { subscriptions },

    operation(flow, operation, nowUs) {
      if (
        operation.protocol !== 'mqtt' ||
        operation.name !== 'subscribe' ||
        operation.isResponse ||
        !rule.enabled
      )
        return;
      if (!EVERYTHING.test(operation.object)) return;
      const { client, server } = flow;
      const window = subscriptions.add(`${client} ${server}`, nowUs);
      const isSeries = window.count >= rule.repeats;
      const severity: Severity = isSeries ? rule.series_severity : rule.severity;
      tell(flow, {
        rule: 'broad-subscription',
        title: isSeries
          ? 'A client subscribes to everything again and again'
          : 'A client listens to everything',
        severity,
        score: 0.6,
        technique: 'T0861',
        protocol: 'mqtt',
        evidence: `${client} subscribes to ${operation.object} at ${server}${isSeries ? `, ${window.count} times in ${seconds(window, nowUs)}` : ''}`,
        group: `${client} ${server} ${isSeries}`,
        scope: { client, server, service: flow.service },
        fromUs: window.startUs,
        timeUs: nowUs,
      });
    },
  };
}
