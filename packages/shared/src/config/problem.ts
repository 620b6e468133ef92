/**
 * What is wrong with a configuration, one entry per mistake, and how a person gets to see it: the place, the line with a
 * caret under it, what is wrong, and what to write instead.
 */
import { OperatingError } from '../base/errors.ts';

/** Characters of a line, a key or a message. */
const SHOWN_MAX = 200;

export interface ConfigProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** As in `capture.bpf_filter` or `routing_rules[2].ip`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
  /** What to do about it; may be empty where the message says it all. */
  readonly remedy: string;
}

/** Dotted text of a path of keys and indices. */
export function keyText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

/** CONFIG_INVALID with all problems; its message is the printable rendering. */
export function configError(
  file: string,
  problems: readonly ConfigProblem[],
  source: string,
): OperatingError {
  const count = problems.length === 1 ? 'one mistake' : `${problems.length} mistakes`;
  const text = problems.map((problem) => renderProblem(problem, source)).join('\n');
  return new OperatingError('CONFIG_INVALID', `${file}: ${count}\n\n${text}`, { file, problems });
}

/** The problems that a CONFIG_INVALID error carries; empty for one that comes from elsewhere. */
export function problemsOf(error: OperatingError): readonly ConfigProblem[] {
  return (error.context['problems'] as readonly ConfigProblem[] | undefined) ?? [];
}

function renderProblem(problem: ConfigProblem, source: string): string {
  const { file, line, column, key, message, remedy } = problem;
  const lines = [
    `${file}:${line}:${column}  ${key === '' ? '' : `${printable(key)}: `}${printable(message)}`,
  ];
  const text = printable(source.split('\n')[line - 1] ?? '');
  if (text.trim() !== '') {
    lines.push(`    ${String(line).padStart(4)} | ${text}`);
    if (column <= text.length + 1) lines.push(`         | ${' '.repeat(column - 1)}^`);
  }
  if (remedy !== '') lines.push(`    ${remedy}`);
  return `${lines.join('\n')}\n`;
}

/** A line of a hostile file may be a megabyte long, or hold what a terminal obeys. */
function printable(text: string): string {
  return text.slice(0, SHOWN_MAX).replace(/\p{Cc}/gu, ' ');
}
