/** Commands, as people run them: to their end, with what they said. As processes, or, where a test runs dozens of them, inside its own. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { exitCodeOf } from '@tapline/shared/daemon/exit-code.ts';
import { commands } from '../../packages/analyzer/src/commands.ts';
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

/** Runs one command of the analyzer without a process of its own, which costs a second. One at a time: stdout and stderr are the process's. */
export async function runInside([name = '', ...words]: readonly string[]): Promise<Run> {
  const command = commands().find((one) => one.name() === name);
  if (command === undefined) throw new Error(`there is no command ${name}`);
  let [stdout, stderr] = ['', ''];
  const write = process.stdout.write.bind(process.stdout);
  const { error: say } = console;
  process.stdout.write = (text: string | Uint8Array): boolean => {
    stdout += String(text);
    return true;
  };
  console.error = (...parts: readonly unknown[]): void => {
    stderr += `${parts.map(String).join(' ')}\n`;
  };
  process.exitCode = 0;
  try {
    await command.exitOverride().parseAsync(words, { from: 'user' });
  } catch (error) {
    stderr += messageOf(error);
    process.exitCode = exitCodeOf(error);
  } finally {
    process.stdout.write = write;
    console.error = say;
  }
  const code = process.exitCode;
  process.exitCode = 0;
  return { code, stdout, stderr };
}

/** What a run that had to succeed printed. */
export function printed({ code, stdout, stderr }: Run): string {
  if (code !== 0) throw new Error(`ended with ${String(code)}: ${stderr}`);
  return stdout;
}
