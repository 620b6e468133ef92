/** `export` from segments that lie in the object store. */
import type { ArchivesConfig } from '@tapline/shared/config/archive-set-of.ts';
import { objectStoreOptions, type KeepConfig } from '@tapline/shared/config/keep-fields.ts';
import type { OpenElsewhere } from '@tapline/shared/export/export-plan.ts';
import { objectSource } from '@tapline/shared/objects/object-source.ts';
import { ObjectStore } from '@tapline/shared/objects/object-store.ts';

/** How an export reads what is not here any more. Throws CONFIG_INVALID when the key cannot be read, and then only when it is needed. */
export function openElsewhere(config: ArchivesConfig): OpenElsewhere {
  const { object_store: keys } = config as ArchivesConfig & Pick<KeepConfig, 'object_store'>;
  if (keys === undefined) return () => null;
  let store: ObjectStore | null = null;
  return (segment, index) => {
    store ??= new ObjectStore(objectStoreOptions(keys));
    return objectSource(store, segment, index);
  };
}
