/** The confirmed services of MMS (ISO 9506-2) and the errors of its variables, by their numbers. */
import type { Action } from './dissector.ts';

/** By number: name and what it does. */
export const SERVICES: readonly (readonly [string, Action])[] = [
  ['status', 'read'], ['get-name-list', 'discover'], ['identify', 'discover'], ['rename', 'program'],
  ['read', 'read'], ['write', 'write'], ['get-variable-access-attributes', 'discover'],
  ['define-named-variable', 'session'], ['define-scattered-access', 'session'],
  ['get-scattered-access-attributes', 'discover'], ['delete-variable-access', 'session'],
  ['define-named-variable-list', 'session'], ['get-named-variable-list-attributes', 'discover'],
  ['delete-named-variable-list', 'session'], ['define-named-type', 'session'],
  ['get-named-type-attributes', 'discover'], ['delete-named-type', 'session'], ['input', 'read'],
  ['output', 'write'], ['take-control', 'control'], ['relinquish-control', 'control'],
  ['define-semaphore', 'control'], ['delete-semaphore', 'control'], ['report-semaphore-status', 'read'],
  ['report-pool-semaphore-status', 'read'], ['report-semaphore-entry-status', 'read'],
  ['initiate-download-sequence', 'program'], ['download-segment', 'program'],
  ['terminate-download-sequence', 'program'], ['initiate-upload-sequence', 'program'],
  ['upload-segment', 'program'], ['terminate-upload-sequence', 'program'],
  ['request-domain-download', 'program'], ['request-domain-upload', 'program'],
  ['load-domain-content', 'program'], ['store-domain-content', 'program'], ['delete-domain', 'program'],
  ['get-domain-attributes', 'discover'], ['create-program-invocation', 'program'],
  ['delete-program-invocation', 'program'], ['start', 'control'], ['stop', 'control'], ['resume', 'control'],
  ['reset', 'control'], ['kill', 'control'], ['get-program-invocation-attributes', 'discover'],
  ['obtain-file', 'file'], ['define-event-condition', 'write'], ['delete-event-condition', 'write'],
  ['get-event-condition-attributes', 'discover'], ['report-event-condition-status', 'read'],
  ['alter-event-condition-monitoring', 'write'], ['trigger-event', 'control'],
  ['define-event-action', 'write'], ['delete-event-action', 'write'],
  ['get-event-action-attributes', 'discover'], ['report-event-action-status', 'read'],
  ['define-event-enrollment', 'write'], ['delete-event-enrollment', 'write'],
  ['alter-event-enrollment', 'write'], ['report-event-enrollment-status', 'read'],
  ['get-event-enrollment-attributes', 'discover'], ['acknowledge-event-notification', 'write'],
  ['get-alarm-summary', 'read'], ['get-alarm-enrollment-summary', 'read'], ['read-journal', 'read'],
  ['write-journal', 'write'], ['initialize-journal', 'write'], ['report-journal-status', 'read'],
  ['create-journal', 'write'], ['delete-journal', 'write'], ['get-capability-list', 'discover'],
  ['file-open', 'file'], ['file-read', 'file'], ['file-close', 'file'], ['file-rename', 'file'],
  ['file-delete', 'file'], ['file-directory', 'file'],
]; // prettier-ignore

export const DATA_ACCESS_ERRORS: readonly string[] = [
  'object-invalidated', 'hardware-fault', 'temporarily-unavailable', 'object-access-denied',
  'object-undefined', 'invalid-address', 'type-unsupported', 'type-inconsistent',
  'object-attribute-inconsistent', 'object-access-unsupported', 'object-non-existent', 'object-value-invalid',
]; // prettier-ignore
