/** The places of an archive: one directory per sensor, or the archive's own where there is one sensor only. */
import { existsSync, readdirSync } from 'node:fs';
import { MANIFESTS } from './manifest.ts';

export interface PlaceOnDisk {
  readonly directory: string;
  /** Name of the directory; empty for an archive of one sensor. */
  readonly sensor: string;
}

export function placesOf(root: string, isSinglePlace: boolean): PlaceOnDisk[] {
  if (!existsSync(root)) return [];
  if (isSinglePlace) return [{ directory: root, sensor: '' }];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== MANIFESTS)
    .map(({ name }) => ({ directory: `${root}/${name}`, sensor: name }));
}
