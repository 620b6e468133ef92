/**
 * Two network namespaces joined by a veth pair: real interfaces, real kernel, and no packet of a test ever on a real
 * network. Names carry the process id, so runs at the same time do not meet; `close()` removes everything.
 *
 * `enterNamespace` moves the calling thread, and with it every thread and process it starts from then on. A test that
 * captures in-process calls it once and stays; the test runner gives each test file a process of its own.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const CLONE_NEWNET = 0x4000_0000;
/** Large enough for every frame that tests send, jumbo frames too. */
const MTU = 9000;

let created = 0;
let usable: boolean | null = null;

/** One end of the pair. */
export interface NetworkEnd {
  readonly namespace: string;
  readonly interfaceName: string;
}

/** Root, with the right to make network namespaces. */
export function canMakeNamespaces(): boolean {
  usable ??= process.getuid?.() === 0 && tryNamespace();
  return usable;
}

/** For the title of tests that need it: says why they were skipped. */
export const NAMESPACE_NEED = canMakeNamespaces() ? '' : ' (skipped: needs root and network namespaces)';

export class VethPair {
  readonly sender: NetworkEnd;
  readonly receiver: NetworkEnd;

  constructor() {
    const name = `tl${process.pid}x${created++}`;
    this.sender = { namespace: `${name}s`, interfaceName: `${name}s` };
    this.receiver = { namespace: `${name}r`, interfaceName: `${name}r` };
    try {
      this.#make();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Joins the two ends anew, after one was deleted. */
  connect(): void {
    const { sender, receiver } = this;
    ip('link', 'add', sender.interfaceName, 'netns', sender.namespace, 'type', 'veth', 'peer', 'name', receiver.interfaceName, 'netns', receiver.namespace); // prettier-ignore
    for (const end of [sender, receiver])
      ip('-n', end.namespace, 'link', 'set', end.interfaceName, 'mtu', `${MTU}`, 'up');
  }

  /** Takes one end down, up, or away. */
  set(end: NetworkEnd, state: 'up' | 'down'): void {
    ip('-n', end.namespace, 'link', 'set', end.interfaceName, state);
  }

  disconnect(): void {
    ip('-n', this.receiver.namespace, 'link', 'del', this.receiver.interfaceName);
  }

  close(): void {
    for (const end of [this.sender, this.receiver]) {
      spawnSync('ip', ['netns', 'del', end.namespace], { stdio: 'ignore' });
    }
  }

  #make(): void {
    for (const { namespace } of [this.sender, this.receiver]) {
      ip('netns', 'add', namespace);
      // Without this the kernels greet each other in IPv6, and a test counts packets that it never sent.
      runIn({ namespace }, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6']);
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
    this.connect();
  }
}

/** Runs a command in a namespace to its end; returns its standard output, throws with its standard error. */
export function runIn(end: Pick<NetworkEnd, 'namespace'>, words: readonly string[]): string {
  return checked('ip', ['netns', 'exec', end.namespace, ...words]);
}

/** Starts a command in a namespace. */
export function startIn(end: Pick<NetworkEnd, 'namespace'>, words: readonly string[]): ChildProcess {
  return spawn('ip', ['netns', 'exec', end.namespace, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Moves this thread into the namespace. */
export function enterNamespace(end: Pick<NetworkEnd, 'namespace'>): void {
  // The foreign-function library is a dependency of the forwarder, not of the tests' own folder.
  const require = createRequire(new URL('../../packages/forwarder/package.json', import.meta.url));
  const koffi = require('koffi') as {
    load(name: null): { func(definition: string): (...words: number[]) => number };
  };
  const descriptor = openSync(`/run/netns/${end.namespace}`, 'r');
  try {
    const setns = koffi.load(null).func('int setns(int, int)');
    if (setns(descriptor, CLONE_NEWNET) !== 0) throw new Error(`cannot enter ${end.namespace}`);
  } finally {
    closeSync(descriptor);
  }
}

/** tcpdump beside the code under test: same interface, whole frames, nanoseconds. Resolves when it captures. */
export async function startTcpdump(
  end: NetworkEnd,
  file: string,
  words: readonly string[] = [],
): Promise<{ stop(): Promise<string> }> {
  const options = ['-i', end.interfaceName, '--nano', '-s', '0', '-B', '32768', '-Z', 'root', '-w', file];
  const child = startIn(end, ['tcpdump', ...options, ...words]);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('listening on')) resolve();
    });
    child.on('close', () => {
      reject(new Error(said));
    });
  });
  return {
    async stop() {
      // Its own ring gives a block up after a second; what lies in it when the signal comes is lost to it.
      await sleep(1200);
      const closed = new Promise((resolve) => child.on('close', resolve));
      child.kill('SIGINT');
      await closed;
      return said;
    },
  };
}

function ip(...words: string[]): void {
  checked('ip', words);
}

function checked(command: string, words: readonly string[]): string {
  const result = spawnSync(command, words, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.status !== 0) throw new Error(`${command} ${words.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

function tryNamespace(): boolean {
  const name = `tl${process.pid}try`;
  const added = spawnSync('ip', ['netns', 'add', name], { stdio: 'ignore' }).status === 0;
  if (added) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  return added;
}
