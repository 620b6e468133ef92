/** The schema that stands behind a path of a configuration, and what it tells a person to write there. */
import { z } from 'zod';
import type { Path } from './places.ts';

/** The schema at `path` without what wraps it; undefined where the path leads out of the schema. */
export function schemaAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let current: z.ZodType | undefined = schema;
  for (const part of path) current = current === undefined ? undefined : stepInto(current, part);
  return current === undefined ? undefined : unwrap(current);
}

/** The keys a map at `path` may have; none where no map is expected. */
export function keysAt(schema: z.ZodType, path: Path): readonly string[] {
  const at = schemaAt(schema, path);
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

/** What to write at `path`: the description there, or what follows from the schema's kind. */
export function hintAt(schema: z.ZodType, path: Path): string {
  let current: z.ZodType | undefined = schema;
  let hint = '';
  for (const part of path) {
    current = current === undefined ? undefined : stepInto(current, part);
    if (current !== undefined) hint = descriptionOf(current) ?? '';
  }
  if (hint !== '') return hint;
  const keys = keysAt(schema, path);
  if (keys.length > 0) return `write keys and values: ${keys.join(', ')}`;
  return schemaAt(schema, path) instanceof z.ZodArray ? 'write a list; [] is the empty one' : '';
}

function descriptionOf(schema: z.ZodType): string | undefined {
  if (schema.description !== undefined) return schema.description;
  const inner = innerOf(schema);
  return inner === undefined ? undefined : descriptionOf(inner);
}

function stepInto(schema: z.ZodType, part: PropertyKey): z.ZodType | undefined {
  const plain = unwrap(schema);
  if (plain instanceof z.ZodObject)
    return Object.hasOwn(plain.shape, part) ? (plain.shape[String(part)] as z.ZodType) : undefined;
  if (plain instanceof z.ZodArray) return plain.element as z.ZodType;
  return undefined;
}

/** Takes off what wraps a schema without changing its keys: optional, default, nullable, transforms. */
function unwrap(schema: z.ZodType): z.ZodType {
  const inner = innerOf(schema);
  return inner === undefined ? schema : unwrap(inner);
}

function innerOf(schema: z.ZodType): z.ZodType | undefined {
  const definition = schema.def as { innerType?: z.ZodType; in?: z.ZodType };
  return definition.innerType ?? definition.in;
}
