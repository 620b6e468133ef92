/** Commands of the analyzer and the simulated plant, as people run them: to their end, with what they said. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { projectRoot } from './project.ts';

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command of a program to its end. */
export async function runCommand(program: 'analyzer' | 'forwarder', words: readonly string[]): Promise<Run> {
  const main = join(projectRoot, 'packages', program, 'src/main.ts');
  const child = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

/** Runs one that has to succeed; what it printed. */
export async function runSound(program: 'analyzer' | 'forwarder', words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runCommand(program, words);
  if (code !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${String(code)}: ${stderr}`);
  return stdout;
}
