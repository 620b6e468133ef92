/** The services of BACnet and where in each its object, property and value stand; names of objects, properties and errors. */
import type { Action } from './dissector.ts';

/** Numbers are context tags; `object` -1 means an application tag. Properties stand `depth` enclosing tags deep. */
export interface Service {
  readonly name: string;
  readonly action: Action;
  readonly object?: number;
  readonly property?: number;
  readonly depth?: number;
  /** The tag that encloses the value. */
  readonly value?: number;
  /** The same in an acknowledgement, where they differ. */
  readonly answerProperty?: number;
  readonly answerValue?: number;
  /** The priority of what is written, as deep as the property. */
  readonly priority?: number;
  /** A number of its own, such as a state. */
  readonly scalar?: number;
  /** Sent as an answer, although nobody confirms it. */
  readonly isAnswer?: boolean;
}

export const CONFIRMED: readonly (Service | undefined)[] = [
  { name: 'acknowledge-alarm', action: 'control', object: 1 },
  { name: 'confirmed-cov-notification', action: 'report', object: 2, property: 0, depth: 1, value: 2 },
  { name: 'confirmed-event-notification', action: 'report', object: 2 },
  { name: 'get-alarm-summary', action: 'read' },
  { name: 'get-enrollment-summary', action: 'read' },
  { name: 'subscribe-cov', action: 'session', object: 1 },
  { name: 'atomic-read-file', action: 'file', object: -1 },
  { name: 'atomic-write-file', action: 'program', object: -1 },
  { name: 'add-list-element', action: 'write', object: 0, property: 1, depth: 0, value: 3 },
  { name: 'remove-list-element', action: 'write', object: 0, property: 1, depth: 0, value: 3 },
  { name: 'create-object', action: 'program', object: 1 },
  { name: 'delete-object', action: 'program', object: -1 },
  { name: 'read-property', action: 'read', object: 0, property: 1, depth: 0, value: 3 },
  { name: 'read-property-conditional', action: 'read' },
  { name: 'read-property-multiple', action: 'read', object: 0, property: 0, depth: 1, answerProperty: 2, answerValue: 4 },
  { name: 'write-property', action: 'write', object: 0, property: 1, depth: 0, value: 3, priority: 4 },
  { name: 'write-property-multiple', action: 'write', object: 0, property: 0, depth: 1, value: 2, priority: 3 },
  { name: 'device-communication-control', action: 'control', scalar: 1 },
  { name: 'confirmed-private-transfer', action: 'other' },
  { name: 'confirmed-text-message', action: 'other' },
  { name: 'reinitialize-device', action: 'control', scalar: 0 },
  { name: 'vt-open', action: 'session' },
  { name: 'vt-close', action: 'session' },
  { name: 'vt-data', action: 'other' },
  { name: 'authenticate', action: 'session' },
  { name: 'request-key', action: 'session' },
  { name: 'read-range', action: 'read', object: 0, property: 1, depth: 0 },
  { name: 'life-safety-operation', action: 'control', object: 3, scalar: 2 },
  { name: 'subscribe-cov-property', action: 'session', object: 1 },
  { name: 'get-event-information', action: 'read' },
  { name: 'subscribe-cov-property-multiple', action: 'session' },
  { name: 'confirmed-cov-notification-multiple', action: 'report' },
  { name: 'confirmed-audit-notification', action: 'report' },
  { name: 'audit-log-query', action: 'read' },
]; // prettier-ignore

export const UNCONFIRMED: readonly (Service | undefined)[] = [
  { name: 'i-am', action: 'discover', object: -1, isAnswer: true },
  { name: 'i-have', action: 'discover', object: -1, isAnswer: true },
  { name: 'unconfirmed-cov-notification', action: 'report', object: 2, property: 0, depth: 1, value: 2 },
  { name: 'unconfirmed-event-notification', action: 'report', object: 2 },
  { name: 'unconfirmed-private-transfer', action: 'other' },
  { name: 'unconfirmed-text-message', action: 'other' },
  { name: 'time-synchronization', action: 'control' },
  { name: 'who-has', action: 'discover', object: 2 },
  { name: 'who-is', action: 'discover', scalar: 0 },
  { name: 'utc-time-synchronization', action: 'control' },
  { name: 'write-group', action: 'write' },
  { name: 'unconfirmed-cov-notification-multiple', action: 'report' },
  { name: 'unconfirmed-audit-notification', action: 'report' },
  { name: 'who-am-i', action: 'discover' },
  { name: 'you-are', action: 'control' },
];

export const OBJECT_TYPES: readonly string[] = ['analog-input', 'analog-output', 'analog-value', 'binary-input', 'binary-output', 'binary-value', 'calendar', 'command', 'device', 'event-enrollment', 'file', 'group', 'loop', 'multi-state-input', 'multi-state-output', 'notification-class', 'program', 'schedule', 'averaging', 'multi-state-value', 'trend-log', 'life-safety-point', 'life-safety-zone', 'accumulator', 'pulse-converter', 'event-log', 'global-group', 'trend-log-multiple', 'load-control', 'structured-view', 'access-door', 'timer', 'access-credential', 'access-point', 'access-rights', 'access-user', 'access-zone', 'credential-data-input', 'network-security', 'bitstring-value', 'characterstring-value', 'datepattern-value', 'date-value', 'datetimepattern-value', 'datetime-value', 'integer-value', 'large-analog-value', 'octetstring-value', 'positive-integer-value', 'timepattern-value', 'time-value', 'notification-forwarder', 'alert-enrollment', 'channel', 'lighting-output', 'binary-lighting-output', 'network-port']; // prettier-ignore

export const PROPERTIES: ReadonlyMap<number, string> = new Map([
  [4, 'active-text'], [8, 'all'], [12, 'application-software-version'], [17, 'notification-class'], [22, 'cov-increment'], [28, 'description'], [36, 'event-state'], [38, 'exception-schedule'], [44, 'firmware-revision'], [45, 'high-limit'], [46, 'inactive-text'], [56, 'local-date'], [57, 'local-time'], [58, 'location'], [59, 'low-limit'], [62, 'max-apdu-length-accepted'], [65, 'max-pres-value'], [69, 'min-pres-value'], [70, 'model-name'], [72, 'notify-type'], [74, 'number-of-states'], [75, 'object-identifier'], [76, 'object-list'], [77, 'object-name'], [79, 'object-type'], [80, 'optional'], [81, 'out-of-service'], [84, 'polarity'], [85, 'present-value'], [87, 'priority-array'], [88, 'priority-for-writing'], [90, 'program-change'], [92, 'program-state'], [96, 'protocol-object-types-supported'], [97, 'protocol-services-supported'], [98, 'protocol-version'], [102, 'recipient-list'], [103, 'reliability'], [104, 'relinquish-default'], [105, 'required'], [107, 'segmentation-supported'], [108, 'setpoint'], [110, 'state-text'], [111, 'status-flags'], [112, 'system-status'], [117, 'units'], [119, 'utc-offset'], [120, 'vendor-identifier'], [121, 'vendor-name'], [123, 'weekly-schedule'], [131, 'log-buffer'], [139, 'protocol-revision'], [152, 'active-cov-subscriptions'], [155, 'database-revision'], [168, 'profile-name'],
]); // prettier-ignore

/** Errors by code; the class says no more. */
export const ERRORS: ReadonlyMap<number, string> = new Map([
  [0, 'other'], [2, 'configuration-in-progress'], [3, 'device-busy'], [4, 'dynamic-creation-not-supported'], [5, 'file-access-denied'], [9, 'invalid-data-type'], [16, 'missing-required-parameter'], [23, 'object-deletion-not-permitted'], [25, 'operational-problem'], [26, 'password-failure'], [27, 'read-access-denied'], [29, 'service-request-denied'], [30, 'timeout'], [31, 'unknown-object'], [32, 'unknown-property'], [36, 'unsupported-object-type'], [37, 'value-out-of-range'], [40, 'write-access-denied'], [42, 'invalid-array-index'], [43, 'cov-subscription-failed'], [44, 'not-cov-property'], [45, 'optional-functionality-not-supported'], [47, 'datatype-not-supported'], [50, 'property-is-not-an-array'], [83, 'communication-disabled'], [84, 'success'], [85, 'access-denied'],
]); // prettier-ignore
