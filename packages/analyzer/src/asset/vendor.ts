/** Who made the network card: the first three bytes of a MAC address, by the IEEE's public list. Read when it is needed first. */
import { createRequire } from 'node:module';

let vendors: Readonly<Record<string, string>> | null = null;

/** The vendor's name, '' when it is not known; `(local)` for addresses that nobody registered. */
export function vendorOf(mac: string): string {
  if (mac.length !== 17 || mac === '00:00:00:00:00:00') return '';
  if ((Number.parseInt(mac.slice(0, 2), 16) & 2) !== 0) return '(local)';
  vendors ??= createRequire(import.meta.url)('oui-data') as Record<string, string>;
  const entry = vendors[mac.replaceAll(':', '').slice(0, 6).toUpperCase()];
  return entry?.split('\n')[0] ?? '';
}
