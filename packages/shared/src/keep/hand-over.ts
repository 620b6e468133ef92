/**
 * Hands closed segments to others: as a hard link in a flat directory of theirs, or by running a command.
 *
 * Two kinds of watcher look at such a directory: some wait for a rename (IN_MOVED_TO), some for the end of writing
 * (IN_CLOSE_WRITE). So a link is made under a hidden name, renamed, and then opened for writing once and closed: both events
 * fire, and the file is whole at either. Its modification time is the moment of that, later than any before it, because
 * Suricata passes over files that are not newer than the last.
 *
 * Each segment is handed over at least once: a marker is there from before its sidecar until everybody has it. What a kill
 * interrupts is done again at the next start.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { errnoOf } from '../system/files.ts';
import { sidecarName } from '../archive/segment-name.ts';
import { parseSidecar, type Sidecar } from '../catalog/sidecar.ts';
import type { HandOver, KeeperCounters } from './keeper-protocol.ts';

const MARKERS = '.tapline-hand-over';
const RETRY_MS = 2000;
const OUTPUT_BYTES_MAX = 2000;

export type Tell = (
  level: 'info' | 'warn' | 'error',
  fields: Readonly<Record<string, unknown>>,
  message: string,
) => void;

/** One segment that is to be handed over. */
interface Delivery {
  readonly directory: string;
  readonly sidecar: Sidecar;
  /** Commands that have not run yet. */
  pending: number;
}

/** What waits for one command. */
interface Queue {
  readonly target: HandOver;
  running: number;
  readonly waiting: Delivery[];
}

export class HandOverDesk {
  readonly #targets: readonly HandOver[];
  readonly #counters: KeeperCounters;
  readonly #tell: Tell;
  readonly #queues: Queue[];
  readonly #underWay = new Set<string>();
  #lastModifiedMs = 0;
  #isStopped = false;
  #whenIdle: () => void = () => undefined;

  constructor(targets: readonly HandOver[], counters: KeeperCounters, tell: Tell) {
    this.#targets = targets;
    this.#counters = counters;
    this.#tell = tell;
    this.#queues = targets
      .filter(({ command }) => command !== undefined)
      .map((target) => ({ target, running: 0, waiting: [] }));
  }

  /** Before the sidecar is written: whatever happens from now on, this segment is remembered. */
  remember(directory: string, { archive, sensor, segment }: Sidecar): void {
    if (!this.#targets.some((target) => isMeant(target, archive, sensor))) return;
    mkdirSync(`${directory}/${MARKERS}`, { recursive: true, mode: 0o750 });
    writeFileSync(`${directory}/${MARKERS}/${segment}`, '');
  }

  /** The links, which need the plain file: before a packed one takes its place. */
  link(directory: string, sidecar: Sidecar): void {
    for (const target of this.#targets)
      if (target.link !== undefined && isMeant(target, sidecar.archive, sidecar.sensor))
        this.#linkInto(target.link, directory, sidecar);
  }

  /** The commands. */
  deliver(directory: string, sidecar: Sidecar): void {
    const queues = this.#queues.filter(({ target }) => isMeant(target, sidecar.archive, sidecar.sensor));
    const key = `${directory}/${sidecar.segment}`;
    if (this.#underWay.has(key)) return;
    this.#underWay.add(key);
    const delivery: Delivery = { directory, sidecar, pending: queues.length };
    if (queues.length === 0) this.#forget(delivery);
    for (const queue of queues) {
      queue.waiting.push(delivery);
      this.#counters.handOversWaitingNow++;
      this.#next(queue);
    }
  }

  /** What a run before this one had not handed over. */
  resume(directory: string): void {
    const markers = `${directory}/${MARKERS}`;
    if (!existsSync(markers)) return;
    for (const segment of readdirSync(markers).sort()) {
      const path = `${directory}/${sidecarName(segment)}`;
      const sidecar = existsSync(path) ? parseSidecar(readFileSync(path, 'utf8')) : null;
      // Without a sidecar it is about to be finished, and comes this way again.
      if (sidecar === null) continue;
      this.link(directory, sidecar);
      this.deliver(directory, sidecar);
    }
  }

  /** Resolves when nothing waits or runs any more, or at the deadline; what is left is done at the next start. */
  async settle(deadlineMs: number): Promise<void> {
    if (this.#counters.handOversWaitingNow === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#isStopped = true;
  }

  #linkInto(target: string, directory: string, { sensor, segment, file }: Sidecar): void {
    const name = `${sensor}_${segment}`;
    const source = [segment, file].map((one) => `${directory}/${one}`).find((path) => existsSync(path));
    try {
      // Packed files are of no use to a watcher of `.pcap`.
      if (source === undefined || !source.endsWith('.pcap') || existsSync(`${target}/${name}`)) return;
      mkdirSync(target, { recursive: true, mode: 0o750 });
      const hidden = `${target}/.${name}.new`;
      rmSync(hidden, { force: true });
      linkSync(source, hidden);
      const modifiedMs = (this.#lastModifiedMs = Math.max(Date.now(), this.#lastModifiedMs + 1));
      utimesSync(hidden, modifiedMs / 1000, modifiedMs / 1000);
      renameSync(hidden, `${target}/${name}`);
      closeSync(openSync(`${target}/${name}`, 'r+'));
      this.#counters.linksMade++;
    } catch (error) {
      const remedy =
        errnoOf(error) === 'EXDEV' ? 'put the directory on the file system of the archive' : undefined;
      this.#tell(
        'error',
        { directory: target, segment: name, problem: messageOf(error), remedy },
        'A segment could not be handed over.',
      );
    }
  }

  #next(queue: Queue): void {
    while (queue.running < queue.target.concurrency && !this.#isStopped) {
      const delivery = queue.waiting.shift();
      if (delivery === undefined) return;
      queue.running++;
      void this.#attempt(queue.target, delivery, 0).then((isDone) => {
        queue.running--;
        this.#counters.handOversWaitingNow--;
        if (isDone && --delivery.pending === 0) this.#forget(delivery);
        if (this.#counters.handOversWaitingNow === 0) this.#whenIdle();
        this.#next(queue);
      });
    }
  }

  /** False when the process ends before the command could be tried to the end: it comes again. */
  async #attempt(target: HandOver, delivery: Delivery, attempt: number): Promise<boolean> {
    const problem = await run(target, delivery);
    this.#counters.commandsRun++;
    if (problem === null) return true;
    if (this.#isStopped) return false;
    const isLast = attempt >= target.retries;
    if (isLast) this.#counters.commandsFailed++;
    this.#tell(
      isLast ? 'error' : 'warn',
      { command: target.command?.[0], segment: delivery.sidecar.segment, problem, attempt: attempt + 1 },
      isLast ? 'A command for a closed segment failed for good.' : 'A command for a closed segment failed.',
    );
    if (isLast) return true;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS * 2 ** attempt));
    return this.#attempt(target, delivery, attempt + 1);
  }

  #forget({ directory, sidecar }: Delivery): void {
    this.#underWay.delete(`${directory}/${sidecar.segment}`);
    const marker = `${directory}/${MARKERS}/${sidecar.segment}`;
    if (existsSync(marker)) unlinkSync(marker);
  }
}

function isMeant(target: HandOver, archive: string, sensor: string): boolean {
  return target.archive === archive && (target.sensors?.includes(sensor) ?? true);
}

/** Runs the command once, without a shell. `null`, or what went wrong. */
function run(target: HandOver, { directory, sidecar }: Delivery): Promise<string | null> {
  const [program = '', ...args] = (target.command ?? []).map((word) => filledIn(word, directory, sidecar));
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: target.timeoutMs, killSignal: 'SIGKILL' }); // prettier-ignore
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.length < OUTPUT_BYTES_MAX) said += chunk.toString('utf8').slice(0, OUTPUT_BYTES_MAX);
    });
    child.on('error', (error) => {
      resolve(error.message);
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve(null);
      else resolve(`${signal === null ? `exit code ${String(code)}` : `ended by ${signal}`}${said === '' ? '' : `: ${said.trim()}`}`); // prettier-ignore
    });
  });
}

/** The words that `{…}` may stand for in a command. */
export const PLACEHOLDERS = ['file', 'segment', 'sensor', 'archive', 'sidecar', 'first', 'last', 'packets', 'sha256'] as const; // prettier-ignore

function filledIn(word: string, directory: string, sidecar: Sidecar): string {
  const values: Readonly<Record<(typeof PLACEHOLDERS)[number], string>> = {
    file: `${directory}/${sidecar.file}`,
    segment: sidecar.segment,
    sensor: sidecar.sensor,
    archive: sidecar.archive,
    sidecar: `${directory}/${sidecarName(sidecar.segment)}`,
    first: sidecar.firstPacket,
    last: sidecar.lastPacket,
    packets: String(sidecar.packets),
    sha256: sidecar.sha256,
  };
  return word.replace(/\{(\w+)\}/g, (whole, key: string) => (key in values ? values[key as keyof typeof values] : whole)); // prettier-ignore
}
