/**
 * The process in which the npm package `cap` captures for one interface. It stands alone because `cap` aborts its whole
 * process when the interface goes down, and does not load in a worker thread.
 *
 * Started by `cap-source.ts` with its options as JSON in the first argument. See there for what `cap` cannot do.
 */
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { BATCH_LINGER_MS, BatchBuilder } from '@tapline/shared/packet/batch.ts';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_NULL,
  LINKTYPE_RAW,
} from '@tapline/shared/packet/link-type.ts';
import { PACKET_BYTES_MAX, writeU32 } from '@tapline/shared/packet/record.ts';
import {
  CAP_HEADER_BYTES,
  CAP_PIPE,
  type CapChildOptions,
  type FromCapChild,
  type ToCapChild,
} from './cap-protocol.ts';

/** What waits in the pipe at most; behind it this process drops, and counts what it drops. */
const PIPE_BYTES_MAX = 16 * 1024 * 1024;
/** The wall clock may be set while we run: by then the offset of the monotonic clock is wrong by this much. */
const CLOCK_DRIFT_MS_MAX = 2;

/** The part of `cap` that is used. */
interface Cap {
  open(device: string, filter: string, bufferBytes: number, frame: Buffer): string;
  close(): void;
  on(event: 'packet', listener: (capturedBytes: number, truncated: boolean) => void): void;
}

const LINK_TYPE_BY_NAME: ReadonlyMap<string, number> = new Map([
  ['ETHERNET', LINKTYPE_ETHERNET],
  ['RAW', LINKTYPE_RAW],
  ['NULL', LINKTYPE_NULL],
  ['LINKTYPE_LINUX_SLL', LINKTYPE_LINUX_SLL],
]);

const options = JSON.parse(process.argv[2] ?? '{}') as CapChildOptions;
const frame = Buffer.alloc(PACKET_BYTES_MAX);

try {
  const { cap, linkType } = openCap();
  run(cap, linkType);
  tell({ kind: 'opened', linkType });
} catch (error) {
  if (!(error instanceof OperatingError)) throw error;
  const { code, message, context } = error;
  tell({ kind: 'refused', code, message, context });
  process.disconnect();
}

function run(cap: Cap, linkType: number): void {
  const pipe = new Socket({ fd: CAP_PIPE, readable: false, writable: true });
  const builder = new BatchBuilder(linkType);
  let clockOffsetMs = Date.now() - performance.now();
  let droppedPackets = 0;

  const flush = (): void => {
    const { byteLength, packetCount, bytes } = builder;
    if (packetCount === 0) return;
    if (pipe.writableLength > PIPE_BYTES_MAX) droppedPackets += packetCount;
    else {
      const message = Buffer.allocUnsafe(CAP_HEADER_BYTES + byteLength);
      writeU32(message, 0, byteLength);
      writeU32(message, 4, packetCount);
      writeU32(message, 8, droppedPackets);
      message.set(bytes.subarray(0, byteLength), CAP_HEADER_BYTES);
      pipe.write(message);
    }
    builder.reset();
  };
  cap.on('packet', (originalBytes) => {
    const nowMs = performance.now() + clockOffsetMs;
    const seconds = Math.floor(nowMs / 1000);
    const capturedBytes = Math.min(originalBytes, options.snapBytes);
    if (!builder.hasRoom(capturedBytes)) flush();
    builder.append(
      seconds,
      Math.floor((nowMs - seconds * 1000) * 1e6),
      originalBytes,
      frame,
      0,
      capturedBytes,
    );
  });
  const linger = setInterval(() => {
    const offsetMs = Date.now() - performance.now();
    if (Math.abs(offsetMs - clockOffsetMs) > CLOCK_DRIFT_MS_MAX) clockOffsetMs = offsetMs;
    flush();
  }, BATCH_LINGER_MS);
  process.on('message', (order: ToCapChild) => {
    if (order.kind !== 'drain') return;
    cap.close();
    clearInterval(linger);
    flush();
    pipe.end();
    process.disconnect();
  });
  // The parent died: nobody is left to capture for.
  pipe.on('error', () => process.exit(1));
  process.on('disconnect', () => {
    if (!pipe.writableEnded) process.exit(1);
  });
}

function openCap(): { cap: Cap; linkType: number } {
  const { interfaceName, filter, bufferBytes } = options;
  const cap = new (loadCap())();
  let linkName;
  try {
    linkName = cap.open(interfaceName, filter, bufferBytes, frame);
  } catch (error) {
    throw openError(messageOf(error));
  }
  const linkType = LINK_TYPE_BY_NAME.get(linkName);
  if (linkType === undefined) {
    throw new OperatingError('CAPTURE_FAILED', `cannot capture on ${interfaceName}: ${linkName}`, {
      interface: interfaceName,
    });
  }
  return { cap, linkType };
}

/** `cap` hands through libpcap's text without saying which call it comes from: only a filter can fail to parse. */
function openError(reason: string): OperatingError {
  const { interfaceName, filter } = options;
  const context = { interface: interfaceName, reason };
  if (filter !== '' && !opensWithoutFilter()) {
    return new OperatingError('CAPTURE_FAILED', `cannot capture on ${interfaceName}: ${reason}`, context);
  }
  return filter === ''
    ? new OperatingError(
        'CAPTURE_FAILED',
        `cannot capture on ${interfaceName}: ${reason || 'libpcap refuses'}`,
        context,
      )
    : new OperatingError('FILTER_INVALID', `filter "${filter}": ${reason}`, {
        ...context,
        expression: filter,
      });
}

function opensWithoutFilter(): boolean {
  try {
    const cap = new (loadCap())();
    cap.open(options.interfaceName, '', options.bufferBytes, frame);
    cap.close();
    return true;
  } catch {
    return false;
  }
}

function loadCap(): new () => Cap {
  try {
    return (createRequire(import.meta.url)('cap') as { Cap: new () => Cap }).Cap;
  } catch (error) {
    throw new OperatingError(
      'SYSTEM_MISSING',
      'the portable capture driver is not built: it needs make, g++ and libpcap-dev, then `node-gyp rebuild` in ' +
        'node_modules/cap; on Linux use `driver: afpacket`, which needs none of it',
      { package: 'cap', reason: messageOf(error) },
    );
  }
}

function tell(message: FromCapChild): void {
  process.send?.(message);
}
