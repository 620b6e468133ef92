/**
 * Configuration: YAML text in, a checked and frozen value out, or every mistake at once with its place and remedy.
 *
 *   text ─▶ YAML document (syntax, duplicate keys) ─▶ schema (unknown keys, types, ranges, cross-field rules) ─▶ value
 *
 * A file is at most 1 MiB, and its aliases may not multiply: a configuration can come from anywhere.
 */
import { readFileSync, statSync } from 'node:fs';
import { LineCounter, isMap, isNode, isScalar, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { OperatingError, messageOf } from '../base/errors.ts';
import { configError, keyText, type ConfigProblem } from './problem.ts';
import { suggest } from './suggest.ts';

const FILE_BYTES_MAX = 1024 * 1024;
const ALIASES_MAX = 100;
const PROBLEMS_MAX = 100;

type Path = readonly PropertyKey[];

/** A configuration and where it came from. */
export interface LoadedConfig<T> {
  readonly file: string;
  readonly value: T;
  /** Top-level keys as written, before defaults. */
  readonly keys: readonly string[];
  /** The same error as a wrong value at this key would give: for mistakes that only show later, as a filter's. */
  problem(path: Path, message: string, remedy: string): OperatingError;
}

/** Reads and checks a file. Throws CONFIG_INVALID; see `problemsOf`. */
export function loadConfig<T>(schema: z.ZodType<T>, file: string): LoadedConfig<T> {
  return parseConfig(schema, readBounded(file), file);
}

/** Checks the text of a configuration. Throws CONFIG_INVALID; see `problemsOf`. */
export function parseConfig<T>(schema: z.ZodType<T>, text: string, file: string): LoadedConfig<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    strict: true,
  });
  const places = new Places(file, document, lines);
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) =>
      places.at(error.pos[0], [], syntaxMessage(error.message), ''),
    );
    throw configError(file, problems.slice(0, PROBLEMS_MAX), text);
  }
  const result = schema.safeParse(valueOf(document, places, text), { reportInput: true });
  if (!result.success) {
    const problems = result.error.issues.flatMap((issue) => describe(issue, schema, places));
    throw configError(file, problems.sort(byPlace).slice(0, PROBLEMS_MAX), text);
  }
  return {
    file,
    value: deepFreeze(result.data),
    keys: isMap(document.contents) ? document.contents.items.map((item) => String(item.key)) : [],
    problem: (path, message, remedy) => configError(file, [places.of(path, message, remedy)], text),
  };
}

function readBounded(file: string): string {
  try {
    const status = statSync(file);
    if (status.size > FILE_BYTES_MAX)
      throw new Error(`is ${status.size} bytes long, and a configuration at most ${FILE_BYTES_MAX}`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new OperatingError(
      'CONFIG_INVALID',
      `cannot read the configuration ${file}: ${messageOf(error)}`,
      { file },
      error,
    );
  }
}

/** The plain value; an empty file is an empty map. */
function valueOf(document: Document.Parsed, places: Places, text: string): unknown {
  try {
    return (document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown) ?? {};
  } catch (error) {
    throw configError(
      places.file,
      [places.at(0, [], messageOf(error), 'write the values out instead of using aliases')],
      text,
    );
  }
}

/** Where keys and values stand in the text. */
class Places {
  readonly file: string;
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  constructor(file: string, document: Document.Parsed, lines: LineCounter) {
    this.file = file;
    this.#document = document;
    this.#lines = lines;
  }

  /** A problem with the value at `path`, or, where there is none, with the nearest thing around it. */
  of(path: Path, message: string, remedy: string): ConfigProblem {
    for (let depth = path.length; depth > 0; depth--) {
      const node: unknown = this.#document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return this.at(node.range[0], path, message, remedy);
    }
    return this.at(this.#document.contents?.range?.[0] ?? 0, path, message, remedy);
  }

  /** A problem with a key itself. */
  ofKey(mapPath: Path, key: string, message: string, remedy: string): ConfigProblem {
    const map: unknown = mapPath.length === 0 ? this.#document.contents : this.#document.getIn(mapPath, true);
    const pair = isMap(map)
      ? map.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      : undefined;
    const offset = isScalar(pair?.key) ? (pair.key.range?.[0] ?? 0) : 0;
    return this.at(offset, [...mapPath, key], message, remedy);
  }

  at(offset: number, path: Path, message: string, remedy: string): ConfigProblem {
    const { line, col } = this.#lines.linePos(offset);
    return {
      file: this.file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      key: keyText(path),
      message,
      remedy,
    };
  }
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodType, places: Places): ConfigProblem[] {
  const at = schemaAt(schema, issue.path);
  if (issue.code === 'unrecognized_keys') {
    const known = at instanceof z.ZodObject ? Object.keys(at.shape) : [];
    return issue.keys.map((key) =>
      places.ofKey(issue.path, key, 'unknown key', unknownKeyRemedy(key, known)),
    );
  }
  const hint = hintOf(schema, issue.path);
  const isMissing = issue.code === 'invalid_type' && issue.input === undefined;
  const message = isMissing
    ? 'is missing'
    : issue.code === 'custom'
      ? issue.message
      : lowerFirst(issue.message);
  return [places.of(issue.path, message, hint)];
}

function unknownKeyRemedy(key: string, known: readonly string[]): string {
  const near = suggest(key, known);
  if (near !== null) return `did you mean ${near}?`;
  return known.length === 0 ? '' : `known here: ${known.join(', ')}`;
}

/** The description of the innermost described schema on the way to `path`. */
function hintOf(schema: z.ZodType, path: Path): string {
  let current: z.ZodType | undefined = schema;
  let hint = '';
  for (const part of path) {
    current = current === undefined ? undefined : stepInto(current, part);
    if (current !== undefined) hint = descriptionOf(current) ?? '';
  }
  return hint;
}

function descriptionOf(schema: z.ZodType): string | undefined {
  if (schema.description !== undefined) return schema.description;
  const inner = innerOf(schema);
  return inner === undefined ? undefined : descriptionOf(inner);
}

function schemaAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let current: z.ZodType | undefined = schema;
  for (const part of path) current = current === undefined ? undefined : stepInto(current, part);
  return current === undefined ? undefined : unwrap(current);
}

function stepInto(schema: z.ZodType, part: PropertyKey): z.ZodType | undefined {
  const plain = unwrap(schema);
  if (plain instanceof z.ZodObject) return plain.shape[String(part)] as z.ZodType | undefined;
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

function syntaxMessage(message: string): string {
  return lowerFirst(message.replace(/ at line \d+, column \d+:?[\s\S]*$/, ''));
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function byPlace(a: ConfigProblem, b: ConfigProblem): number {
  return a.line - b.line || a.column - b.column;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) deepFreeze(part);
    Object.freeze(value);
  }
  return value;
}
