/**
 * What stands between a command in `node_modules/.bin` and its TypeScript: a Node that can run it.
 *
 * Plain JavaScript, because the `node` that a shell finds may be 18 or 20. Where it is too old, the same command runs
 * again under the Node 24 that the set-up put into `.tapline/`, with the same terminal, and signals passed on.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
const SIGNALS_PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'];

/** @param {URL} main the program's entry, a TypeScript module */
export async function launch(main) {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) {
    await import(main.href);
    return;
  }
  const node = bundledNode();
  if (node === null) {
    console.error(
      `tapline: needs Node ≥ ${NODE_MAJOR}, this is ${process.version}. Run \`npm start\` once in Tapline's folder: it brings one along.`,
    );
    process.exit(1);
  }
  const child = spawn(node, [fileURLToPath(main), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of SIGNALS_PASSED_ON) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const name of SIGNALS_PASSED_ON) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

/** `.tapline/node` of the checkout this file lies in, or null. */
function bundledNode() {
  for (
    let folder = dirname(fileURLToPath(import.meta.url));
    folder !== dirname(folder);
    folder = dirname(folder)
  ) {
    const node = join(folder, '.tapline', 'node');
    if (existsSync(node)) return node;
  }
  return null;
}
