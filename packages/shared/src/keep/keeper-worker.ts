/**
 * The keeper's thread: everything that happens to segments beside the packets' way. One at a time, in the order in which they were
 * closed; between two of them it listens. `keeper.ts` is the other end.
 *
 *   closed ─▶ shelve (index, hash, pack) ─▶ hand over ─▶ sidecar ─▶ seal every hour
 *   every half minute: retention
 */
import { existsSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/errors.ts';
import { sidecarName } from '../archive/segment-name.ts';
import { HandOverDesk, type Tell } from './hand-over.ts';
import { newKeeperCounters, type FromKeeper, type KeeperOptions, type ToKeeper } from './keeper-protocol.ts';
import { Retention } from './retention.ts';
import { Sealer } from './sealer.ts';
import { Shelver } from './shelver.ts';
import { Uploader } from './uploader.ts';

const COUNTERS_INTERVAL_MS = 500;
/** A full disk is looked after at once, but not more often than this. */
const MAKE_ROOM_INTERVAL_MS = 1000;

assert(parentPort !== null, 'runs as a worker');
const port = parentPort;
const options = workerData as KeeperOptions;
const say = (message: FromKeeper): void => {
  port.postMessage(message);
};
const tell: Tell = (level, fields, message) => {
  say({ kind: 'tell', level, fields, message });
};

type Closed = Extract<ToKeeper, { kind: 'closed' }>;

const counters = newKeeperCounters();
const shelver = new Shelver(options.software, counters);
const desk = new HandOverDesk(options.handOver, counters, tell);
const sealer = new Sealer(options.custodyKey, counters, tell);
const uploader = options.objectStore === null ? null : new Uploader(options.objectStore, counters, tell);
const retention = new Retention(options, counters, tell);
const waiting: Closed[] = [];
let isWorking = false;
let lastMadeRoomMs = 0;
let whenIdle: (() => void) | null = null;

async function shelve({ place, segment, isRecovered, dropped }: Closed): Promise<void> {
  const { directory } = place;
  try {
    // Gone again (undone by a recovery, or taken away by hand), or done already.
    if (!existsSync(`${directory}/${segment}`) || existsSync(`${directory}/${sidecarName(segment)}`)) return;
    const shelved = await shelver.shelve(place, segment, { isRecovered, dropped });
    desk.remember(directory, shelved.sidecar);
    desk.link(directory, shelved.sidecar);
    shelver.writeSidecar(place, shelved);
    sealer.add(place, segment);
    desk.deliver(directory, shelved.sidecar);
    uploader?.add(place, segment);
  } catch (error) {
    counters.segmentsFailed++;
    tell('error', { directory, segment, problem: messageOf(error) }, 'A closed segment cannot be finished.');
  }
}

/** A turn for each segment: what is said meanwhile is heard between two. */
async function work(): Promise<void> {
  const next = waiting.shift();
  counters.segmentsWaitingNow = waiting.length;
  if (next === undefined) {
    isWorking = false;
    whenIdle?.();
    return;
  }
  isWorking = true;
  await shelve(next);
  setImmediate(() => void work());
}

function hear(message: ToKeeper): void {
  switch (message.kind) {
    case 'closed':
      waiting.push(message);
      counters.segmentsWaitingNow = waiting.length;
      if (!isWorking) {
        isWorking = true;
        setImmediate(() => void work());
      }
      return;
    case 'grown':
      shelver.grown(message.place, message.segment);
      return;
    case 'opened':
      sealer.adopt(message.place);
      desk.resume(message.place.directory);
      uploader?.adopt(message.place);
      return;
    case 'make-room':
      if (Date.now() - lastMadeRoomMs < MAKE_ROOM_INTERVAL_MS) return;
      lastMadeRoomMs = Date.now();
      keepWithinLimits();
      return;
    case 'close':
      void close(message.deadlineMs);
  }
}

function keepWithinLimits(): void {
  if (retention.isNeeded) retention.enforce();
}

/** On the clock, so that manifests of all sensors cover the same hours. */
function sealOnTheClock(): NodeJS.Timeout {
  const { manifestIntervalMs } = options;
  const untilNext = manifestIntervalMs - (Date.now() % manifestIntervalMs);
  return setTimeout(() => {
    sealer.seal();
    sealing = sealOnTheClock();
  }, untilNext);
}

async function close(deadlineMs: number): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  if (isWorking)
    await new Promise<void>((resolve) => {
      whenIdle = resolve;
      setTimeout(resolve, deadlineMs);
    });
  sealer.seal();
  await desk.settle(Math.max(0, deadline - Date.now()));
  await uploader?.close(Math.max(0, deadline - Date.now()));
  clearInterval(telling);
  clearInterval(keeping);
  clearTimeout(sealing);
  say({ kind: 'counters', counters });
  say({ kind: 'closed' });
}

const telling = setInterval(() => {
  say({ kind: 'counters', counters });
}, COUNTERS_INTERVAL_MS);
const keeping = setInterval(keepWithinLimits, options.retention.intervalMs);
let sealing = sealOnTheClock();
port.on('message', hear);
