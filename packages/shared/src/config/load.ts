/**
 * Configuration: YAML text in, a checked and frozen value out, or every mistake at once with its place and remedy.
 *
 *   text ─▶ YAML document (syntax) ─▶ keys written twice ─▶ schema (unknown keys, types, ranges, cross-field rules) ─▶ value
 *
 * Only a mistake of syntax hides others: the schema has nothing to look at then. A file is at most 1 MiB, and its aliases
 * may not multiply: a configuration can come from anywhere.
 */
import { LineCounter, isMap, isSeq, parseDocument, type Document, type YAMLError } from 'yaml';
import type { z } from 'zod';
import { messageOf, type OperatingError } from '../base/errors.ts';
import { Places, type Path } from './places.ts';
import { configError, type ConfigProblem } from './problem.ts';
import { readText } from './read-text.ts';
import { hintAt, keysAt } from './schema-path.ts';
import { suggest } from './suggest.ts';

const ALIASES_MAX = 100;
/** Nobody corrects more at a time, and a file may be nothing but mistakes. */
const PROBLEMS_MAX = 100;

/** A configuration and where it came from. */
export interface LoadedConfig<T> {
  readonly file: string;
  readonly value: T;
  /** Top-level keys as written, before defaults. */
  readonly keys: readonly string[];
  /** Keys with a value of their own as written, with those above them: `forward.host`; list items have no number. */
  readonly leaves: readonly string[];
  /** The same error as a wrong value at this key would give: for mistakes that only show later, as a filter's. */
  problem(path: Path, message: string, remedy: string): OperatingError;
}

/** Reads and checks a file. Throws CONFIG_INVALID; see `problemsOf`. */
export function loadConfig<T>(schema: z.ZodType<T>, file: string): LoadedConfig<T> {
  return parseConfig(schema, readText(file), file);
}

/** Checks the text of a configuration. Throws CONFIG_INVALID; see `problemsOf`. */
export function parseConfig<T>(schema: z.ZodType<T>, text: string, file: string): LoadedConfig<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false, // `takeDuplicates` looks for them
    strict: true,
  });
  const places = new Places(file, document, lines);
  if (document.errors.length > 0) throw fail(places, text, syntaxProblems(document.errors, places));
  const duplicates = places.takeDuplicates();
  const result = schema.safeParse(valueOf(document, places, text), { reportInput: true });
  const issues = result.success ? [] : result.error.issues;
  const problems = [...duplicates, ...issues.flatMap((issue) => describe(issue, schema, places))];
  if (!result.success || problems.length > 0) throw fail(places, text, problems);
  return {
    file,
    value: deepFreeze(result.data),
    keys: isMap(document.contents) ? document.contents.items.map((item) => String(item.key)) : [],
    leaves: leavesOf(document.contents, ''),
    problem: (path, message, remedy) => configError(file, [places.of(path, message, remedy)], text),
  };
}

function leavesOf(node: unknown, above: string): string[] {
  if (isSeq(node)) return node.items.flatMap((item) => leavesOf(item, above));
  if (!isMap(node) || node.items.length === 0) return [above];
  return node.items.flatMap(({ key, value }) =>
    leavesOf(value, above === '' ? String(key) : `${above}.${String(key)}`),
  );
}

function fail(places: Places, text: string, problems: readonly ConfigProblem[]): OperatingError {
  return configError(places.file, problems.toSorted(byPlace).slice(0, PROBLEMS_MAX), text);
}

/** The plain value; an empty file is an empty map. */
function valueOf(document: Document.Parsed, places: Places, text: string): unknown {
  try {
    return (document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown) ?? {};
  } catch (error) {
    const problem = places.at(0, [], messageOf(error), 'write the values out instead of using aliases');
    throw fail(places, text, [problem]);
  }
}

function syntaxProblems(errors: readonly YAMLError[], places: Places): ConfigProblem[] {
  const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  if (tooDeep !== undefined)
    return [places.at(tooDeep.pos[0], [], 'is nested too deeply', 'no key lies deeper than three levels')];
  return errors.map(({ code, message, pos }) => {
    if (code === 'MULTIPLE_DOCS')
      return places.at(
        pos[0],
        [],
        'a second document begins here',
        'take out this line: one file, one document',
      );
    const text = lowerFirst(message.replace(/ at line \d+, column \d+:?[\s\S]*$/, ''));
    return places.at(pos[0], [], text, code === 'TAB_AS_INDENT' ? 'indent with spaces' : SYNTAX_REMEDY);
  });
}

const SYNTAX_REMEDY =
  'not YAML: look for a bracket, quote, colon or indent that is wrong here or just before';

function describe(issue: z.core.$ZodIssue, schema: z.ZodType, places: Places): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path);
    return issue.keys
      .slice(0, PROBLEMS_MAX)
      .map((key) => places.ofKey(issue.path, key, 'unknown key', unknownKeyRemedy(key, known)));
  }
  return [places.of(issue.path, messageFor(issue), hintAt(schema, issue.path))];
}

function messageFor(issue: z.core.$ZodIssue): string {
  if (issue.code === 'custom') return issue.message;
  if (issue.input === null) return 'has no value';
  return issue.code === 'invalid_type' && issue.input === undefined
    ? 'is missing'
    : lowerFirst(issue.message);
}

function unknownKeyRemedy(key: string, known: readonly string[]): string {
  const near = suggest(key, known);
  if (near !== null) return `did you mean ${near}?`;
  return known.length === 0 ? 'take it out' : `known here: ${known.join(', ')}`;
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
