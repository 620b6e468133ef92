/**
 * What a host is for, by what it was seen doing, and its level in the Purdue model (ISA-95): 0 and 1 field devices and controllers, 2 operation, 3 the
 * plant's servers, 4 offices, 5 outside. A guess, and shown as one.
 */
import { OT_SERVICES, type Host } from './inventory.ts';
import type { NetworkList } from './networks.ts';

export type Role = 'plc' | 'hmi' | 'engineering' | 'historian' | 'server' | 'client' | 'external';

export interface RoleGuess {
  readonly role: Role;
  /** Purdue level; 5 is outside. */
  readonly level: number;
}

/** What a host sends from that has no address yet. */
const NOBODY: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Databases and OPC servers that collect what controllers say. */
const HISTORIAN_SERVICE = /^(opcua|mysql|postgresql|tds|tcp\/(1433|1521|3306|5432|5450|8086))$/;

export function guessRole(host: Host, internal: NetworkList): RoleGuess {
  if (!internal.has(host.address) && !NOBODY.has(host.address)) return { role: 'external', level: 5 };
  const servesOt =
    Object.keys(host.offers).some((service) => OT_SERVICES.has(service)) || sum(host.answered) > 0;
  const reports = host.asked['report'] ?? 0;
  const asks = sum(host.asked) - reports;
  const programs = (host.asked['program'] ?? 0) > 0;
  if (programs) return { role: 'engineering', level: 2 };
  if (servesOt && sum(host.answered) >= asks) return { role: 'plc', level: 1 };
  // Who sends values that nobody asked for, and uses no controller for it, measures them itself: a protection relay, an I/O device.
  const usesOt = Object.keys(host.uses).some((service) => OT_SERVICES.has(service));
  if (reports > 0 && asks === 0 && !usesOt) return { role: 'plc', level: 1 };
  const collects = Object.keys(host.offers).some((service) => HISTORIAN_SERVICE.test(service));
  if (asks > 0 && collects) return { role: 'historian', level: 3 };
  if (asks > 0 || reports > 0) {
    const writes = (host.asked['write'] ?? 0) + (host.asked['control'] ?? 0);
    // Who only ever reads, and reads a lot, collects.
    return writes === 0 && asks > 1000 && Object.keys(host.uses).length > 3
      ? { role: 'historian', level: 3 }
      : { role: 'hmi', level: 2 };
  }
  return Object.keys(host.offers).length > 0 ? { role: 'server', level: 3 } : { role: 'client', level: 4 };
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
