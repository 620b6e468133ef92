/**
 * A Tapline program as a real child process: started by its command, watched through its log lines, stopped by signal.
 *
 * Log lines are JSON on standard error, one per event; tests and `npm start` wait for the line they need instead of
 * sleeping.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from './project.ts';

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

export class Program {
  readonly child: ChildProcess;
  readonly log: LogLine[] = [];
  /** Lines on standard error that are not JSON: usage errors, crashes. */
  readonly noise: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #waiters: (() => void)[] = [];
  #ended = false;

  /**
   * `wrapper` goes before the program's own words, as in `ip netns exec NAME`. `apart` gives it a process group of its own:
   * a Ctrl-C at the terminal then reaches only whoever started it.
   */
  constructor(
    program: 'forwarder' | 'collector' | 'analyzer',
    words: readonly string[],
    { wrapper = [], apart = false }: { readonly wrapper?: readonly string[]; readonly apart?: boolean } = {},
  ) {
    const main = join(projectRoot, 'packages', program, 'src/main.ts');
    const all = [...wrapper, process.execPath, main, ...words];
    this.child = spawn(all[0] ?? '', all.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], detached: apart });
    const lines = createInterface({ input: this.child.stderr as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      this.#take(line);
    });
    this.exited = new Promise((resolve) => {
      // `close`, not `exit`: the last log lines have been read by then.
      this.child.on('close', (code, signal) => {
        this.#ended = true;
        this.#wake();
        resolve({ code, signal });
      });
    });
  }

  /** The first log line, past or future, with this message. Rejects when the program ends without it. */
  async line(message: string): Promise<LogLine> {
    for (;;) {
      const found = this.log.find((line) => line.msg === message);
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`ended without saying "${message}":\n${this.transcript()}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** A line for people that holds these words, past or future. Rejects when the program ends without it. */
  async says(words: string): Promise<void> {
    while (!this.noise.some((line) => line.includes(words))) {
      if (this.#ended) throw new Error(`ended without saying "${words}":\n${this.transcript()}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Asks the program to stop and resolves with its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return (await this.exited).code;
  }

  transcript(): string {
    return [...this.log.map((line) => JSON.stringify(line)), ...this.noise].join('\n');
  }

  #take(line: string): void {
    try {
      this.log.push(JSON.parse(line) as LogLine);
    } catch {
      this.noise.push(line);
    }
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/** The newest books of a program: its counters, as it logged them. */
export function booksOf(program: Program): Record<string, Record<string, unknown>> {
  const line = program.log.findLast((entry) => entry['books'] !== undefined);
  if (line === undefined) throw new Error(`no books were logged:\n${program.transcript()}`);
  return line['books'] as Record<string, Record<string, unknown>>;
}
