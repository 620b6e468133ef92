/** Where the keys and values of a YAML document stand in its text, and which of them stand there twice. */
import { LineCounter, isMap, isNode, isScalar, isSeq, type Document, type YAMLMap } from 'yaml';
import { keyText, type ConfigProblem } from './problem.ts';

export type Path = readonly PropertyKey[];

/** A node on the way down, with the way back up. */
interface Step {
  readonly node: unknown;
  readonly above: Step | null;
  readonly part: PropertyKey;
}

export class Places {
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
    return this.at(offsetOf(pair?.key), [...mapPath, key], message, remedy);
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

  /**
   * Takes keys that are written again out of the document, so that values and places agree, and returns a problem for
   * each. The parser can tell them too, but compares every key with every other: 60,000 keys took it a minute.
   */
  takeDuplicates(): ConfigProblem[] {
    const problems: ConfigProblem[] = [];
    const steps: Step[] = [{ node: this.#document.contents, above: null, part: '' }];
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      const above = step;
      if (isSeq(step.node)) step.node.items.forEach((node, part) => steps.push({ node, above, part }));
      if (!isMap(step.node)) continue;
      problems.push(...this.#takeDuplicatesOf(step.node, step));
      for (const { key, value } of step.node.items)
        steps.push({ node: value, above, part: isScalar(key) ? String(key.value) : '?' });
    }
    return problems;
  }

  #takeDuplicatesOf(map: YAMLMap, step: Step): ConfigProblem[] {
    const firsts = new Map<string, unknown>();
    const problems: ConfigProblem[] = [];
    map.items = map.items.filter(({ key }) => {
      const name = isScalar(key) ? String(key.value) : '';
      const first = firsts.get(name);
      firsts.set(name, first ?? key);
      if (!isScalar(key) || first === undefined) return true;
      const { line } = this.#lines.linePos(offsetOf(first));
      problems.push(
        this.at(
          offsetOf(key),
          [...pathOf(step), name],
          'is written twice',
          `it stands in line ${line} already: keep one of them`,
        ),
      );
      return false;
    });
    return problems;
  }
}

function offsetOf(key: unknown): number {
  return isScalar(key) ? (key.range?.[0] ?? 0) : 0;
}

function pathOf(step: Step): PropertyKey[] {
  const path: PropertyKey[] = [];
  for (let at = step; at.above !== null; at = at.above) path.unshift(at.part);
  return path;
}
