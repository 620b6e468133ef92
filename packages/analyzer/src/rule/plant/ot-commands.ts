/**
 * Which operations command a device rather than a point of it, what that does, and which technique of ATT&CK for ICS it is. An outage takes the device away from those
 * who use it: it stops, restarts, or no longer answers. Everything else changes how it works: mode, clock, counters, reports, names, files.
 */
import type { Operation } from '../../protocol/dissector.ts';

export interface DeviceCommand {
  readonly isOutage: boolean;
  /** MITRE ATT&CK for ICS. */
  readonly technique: string;
}

/** Names in the words of the dissectors; the first line that fits counts. The names of points' commands are in none. */
const COMMANDS: readonly (readonly [RegExp, boolean, string])[] = [
  // It hears and says nothing until it is restarted: nobody sees or commands it.
  [/^force-listen-only$/, true, 'T0814'],
  [/^(plc-stop|plc-pause|plc-reset|stop|kill|reset|cold-restart|warm-restart|restart-communications|stop-application|memory-reset|c-rp-na-1)$/, true, 'T0816'],
  [/^clear-(counters|overrun-counter)$/, false, 'T0872'],
  [/^(disable-unsolicited|alarm-lock)$/, false, 'T0878'],
  [/^clear-error$/, false, 'T0878'],
  [/^(latch-clear|set-ip-address)$/, false, 'T0836'],
  [/^c-cs-na-1$|time-sync|set-clock|clock-set|record-current-time/, false, 'T0836'],
  [/^c-ci-na-1-|freeze/, false, 'T0855'],
  [/stop|restart|reset/, false, 'T0816'],
  [/start|mode|initialize|resume|exit-hold|firmware|activate-config|change-ascii-delimiter|^force$/, false, 'T0858'],
]; // prettier-ignore
const FOUND: readonly DeviceCommand[] = COMMANDS.map(([, isOutage, technique]) => ({ isOutage, technique }));

const TIME: DeviceCommand = { isOutage: false, technique: 'T0836' };
const RESTART: DeviceCommand = { isOutage: true, technique: 'T0816' };
const SILENCE: DeviceCommand = { isOutage: true, technique: 'T0814' };
const MODE: DeviceCommand = { isOutage: false, technique: 'T0858' };
const NAMING: DeviceCommand = { isOutage: false, technique: 'T0836' };
const PASSWORD: DeviceCommand = { isOutage: false, technique: 'T0859' };
const DESTRUCTION: DeviceCommand = { isOutage: false, technique: 'T0809' };

/** Null for what commands no device: reads, reports, writes and commands to points. */
export function deviceCommand(operation: Operation): DeviceCommand | null {
  const { action, name, object, protocol } = operation;
  if (action === 'file')
    return /^(file-delete|file-rename|delete-file|clear-file)$/.test(name) ? DESTRUCTION : null;
  if (protocol === 'profinet' && name === 'dcp-set') return ofDiscovery(object);
  if (name === 'plc-password') return PASSWORD;
  if (action !== 'control') return null;
  if (protocol === 'bacnet') {
    // 0 is enable.
    if (name === 'device-communication-control') return operation.value === 0 ? MODE : SILENCE;
    // 0 and 1 are restarts; from 2 on it is about backups.
    if (name === 'reinitialize-device') return operation.value > 1 ? MODE : RESTART;
  }
  if (name === 'write' && object.startsWith('g50v')) return TIME;
  if (protocol === 'enip') {
    if (object.startsWith('class:0x8b') && name.startsWith('set-')) return TIME;
    // Of the identity it restarts the device, of any other object that object.
    if (name === 'reset') return { isOutage: object.startsWith('class:0x01'), technique: 'T0816' };
  }
  const index = COMMANDS.findIndex(([pattern]) => pattern.test(name));
  return FOUND[index] ?? null;
}

/** PROFINET's discovery gives devices their names and addresses, and takes them away. */
function ofDiscovery(object: string): DeviceCommand | null {
  if (/factory/.test(object)) return RESTART;
  return /^(station-name|ip-parameter|full-ip-suite)$/.test(object) ? NAMING : null;
}

/**
 * What a master says to a station whenever it begins to talk to it, by the book: its clock, its restart indication, its reports. Of a master that takes over from another it
 * is no news.
 */
export function isHousekeeping(operation: Operation): boolean {
  const { protocol, name, object } = operation;
  if (protocol === 'iec104') return name === 'c-cs-na-1' || name === 'c-ts-na-1';
  if (protocol !== 'dnp3') return false;
  return (
    /^(enable-unsolicited|disable-unsolicited|record-current-time|assign-class)$/.test(name) ||
    (name === 'write' && /^g(50|80)v/.test(object))
  );
}
