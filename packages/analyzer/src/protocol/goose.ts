/**
 * GOOSE (IEC 61850-8-1), straight on Ethernet, big-endian, then BER:
 *
 *   0 APPID (2)   2 length from APPID on (2)   4 reserved (4)   8 goosePdu 0x61
 *     80 gocbRef   81 timeAllowedtoLive   82 datSet   83 goID   84 t (8)   85 stNum   86 sqNum   87 test   88 confRev
 *     89 ndsCom   8a numDatSetEntries   ab allData
 *
 * A publisher counts changes of state in stNum and repetitions of one state in sqNum; a frame that breaks the count came from somebody
 * else, or frames were lost, or the publisher began again, or a capture is played in a loop. What no honest publisher does, whatever was lost: it does not go on with a
 * state that it left, while that state is still to be believed, nor sends two different frames with one number, nor goes on with a state whose positions changed. Measured values, times and
 * quality may change within a state; and a device may repeat its old state with new positions already in it, a moment before it counts. The counts of a few control blocks
 * per conversation are remembered, and of each the state that was left last.
 */
import {
  countElements,
  createElement,
  findElement,
  fingerprint,
  firstValue,
  isConstructed,
  publisherEnd,
  readElement,
  unsignedOf,
} from './ber.ts';
import { be16, text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Sink,
} from './dissector.ts';

const HEAD_BYTES = 8;
const TAG_PDU = 0x61;
const TAG_ALL_DATA = 0xab;
const COUNT_MAX = 0xffff_ffff;

/**
 * Per control block: fingerprint of its name, stNum, sqNum, fingerprint of t, confRev, fingerprint of its data, time of its last frame in ms; then of the state that it
 * left: stNum, sqNum, fingerprint of t, time of its last frame in ms, fingerprint of its data; then fingerprint of its positions, and when they changed
 * without a new state, in ms (0: they did not); then how often it counted as it should, and how often its last number came again, too late for a copy.
 */
const BLOCK_NUMBERS = 16;
const BLOCKS_MAX = 8;

/** Without a time in the frame; and a state is believed for so many of those times. */
const TIME_TO_LIVE_MS = 2000;
const LIVES = 2;
/** A frame over a redundant path, or out of another queue of the capture, comes so late at the most. */
const LATE_MS = 20;
/** A device that sends new positions before it has counted them counts them so soon at the latest. */
const COUNTED_MS = 100;
/** No path is longer than another by so much: the same frame again was sent again. */
const AGAIN_MS = 100;
/** Who has counted so often knows how to; some publishers never do. */
const COUNTS_MIN = 5;

const operation = createOperation('goose');
const pdu = createElement();
const element = createElement();

/** What stands in the fields of one frame; reused. */
const fields = {
  name: '',
  nameHash: 0,
  time: 0,
  data: 0,
  positions: 0,
  timeToLiveMs: NaN,
  stNum: NaN,
  sqNum: NaN,
  confRev: NaN,
  entries: NaN,
  test: false,
};

export const goose: Dissector = {
  name: 'goose',
  tcpPorts: [],
  udpPorts: [],
  etherTypes: [0x88b8],

  dissect({ bytes, at, end, memory, timeUs }, sink) {
    const frameEnd = publisherEnd(bytes, at, end);
    if (frameEnd < 0) sink.violation('length field and frame disagree');
    const stop = frameEnd < 0 ? end : frameEnd;
    if (stop - at < HEAD_BYTES || !findElement(pdu, bytes, at + HEAD_BYTES, stop, TAG_PDU)) {
      sink.violation('no goosePdu in the frame');
      return;
    }
    if (pdu.isCut) sink.violation('goosePdu longer than the frame');
    resetOperation(operation);
    operation.action = 'report';
    operation.unit = be16(bytes, at);
    readFields(bytes, pdu.from, pdu.to, sink);
    operation.name = fields.test ? 'publish-test' : 'publish';
    operation.object = fields.name;
    operation.count = Number.isNaN(fields.entries) ? 0 : fields.entries;
    sequence(memory, timeUs / 1000, sink);
    sink.operation(operation);
  },
};

function readFields(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  fields.name = '';
  fields.nameHash = fields.time = fields.data = fields.positions = 0;
  fields.timeToLiveMs = fields.stNum = fields.sqNum = fields.confRev = fields.entries = NaN;
  fields.test = false;
  let seen = 0;
  let isCut = false;
  let next = at;
  for (; readElement(element, bytes, next, end); next = element.to) {
    const { tag, from, to } = element;
    isCut ||= element.isCut;
    if (tag >= 0x80 && tag <= 0x8a) seen |= 1 << (tag - 0x80);
    if (tag === 0x80) {
      fields.name = text(bytes, from, to, OBJECT_CHARACTERS_MAX);
      fields.nameHash = fingerprint(bytes, from, to);
    } else if (tag === 0x81) fields.timeToLiveMs = unsignedOf(bytes, from, to);
    else if (tag === 0x84) fields.time = fingerprint(bytes, from, to);
    else if (tag === 0x85) fields.stNum = unsignedOf(bytes, from, to);
    else if (tag === 0x86) fields.sqNum = unsignedOf(bytes, from, to);
    else if (tag === 0x87) fields.test = to > from && bytes[from] !== 0;
    else if (tag === 0x88) fields.confRev = unsignedOf(bytes, from, to);
    else if (tag === 0x8a) fields.entries = unsignedOf(bytes, from, to);
    else if (tag === TAG_ALL_DATA) {
      seen |= 1 << 11;
      operation.value = firstValue(bytes, from, to);
      fields.data = fingerprint(bytes, from, to);
      fields.positions = positionsOf(bytes, from, to);
      if (countElements(element, bytes, from, to) !== fields.entries && !isCut)
        sink.violation('numDatSetEntries and allData disagree');
      element.to = to;
    }
  }
  if (isCut || next !== end) sink.violation('field longer than the goosePdu');
  // goID, test and ndsCom may be left out.
  else if ((seen & 0b1101_0111_0111) !== 0b1101_0111_0111) sink.violation('mandatory field is missing');
}

/** Compares the counts with those of the control block's last frame, and keeps them. */
function sequence(memory: Memory, nowMs: number, sink: Sink): void {
  const { nameHash, stNum, sqNum, time, confRev, data } = fields;
  if (Number.isNaN(stNum) || Number.isNaN(sqNum)) return;
  const blocks = (memory['control-blocks'] ??= []) as number[];
  let at = 0;
  while (at < blocks.length && blocks[at] !== nameHash) at += BLOCK_NUMBERS;
  if (at >= blocks.length) {
    if (blocks.length >= BLOCKS_MAX * BLOCK_NUMBERS) blocks.splice(0, BLOCK_NUMBERS);
    at = blocks.length;
    blocks.push(nameHash, -1, 0, 0, -1, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0);
  } else {
    if (isLateCopy(blocks, at, nowMs)) return;
    counted(blocks, at, sink);
    contradictions(blocks, at, nowMs, sink);
  }
  if (stNum !== blocks[at + 1]) sink.fact('goose-state', `${fields.name}=${stNum}`);
  if (confRev !== blocks[at + 4] && !Number.isNaN(confRev))
    sink.fact('conf-rev', `${fields.name}=${confRev}`);
  if (blocks[at + 1] !== -1 && (stNum !== blocks[at + 1] || time !== blocks[at + 3])) {
    blocks[at + 7] = blocks[at + 1] as number;
    blocks[at + 8] = blocks[at + 2] as number;
    blocks[at + 9] = blocks[at + 3] as number;
    blocks[at + 10] = blocks[at + 6] as number;
    blocks[at + 11] = blocks[at + 5] as number;
  }
  blocks[at + 1] = stNum;
  blocks[at + 2] = sqNum;
  blocks[at + 3] = time;
  blocks[at + 4] = Number.isNaN(confRev) ? -1 : confRev;
  blocks[at + 5] = data;
  blocks[at + 6] = nowMs;
  blocks[at + 12] = fields.positions;
}

/** The last frame of the state that was left, once more, over another path. */
function isLateCopy(blocks: readonly number[], at: number, nowMs: number): boolean {
  const { stNum, sqNum, time, data } = fields;
  if (nowMs - (blocks[at + 10] as number) > LATE_MS) return false;
  return stNum === blocks[at + 7] && sqNum === blocks[at + 8] && time === blocks[at + 9] && data === blocks[at + 11]; // prettier-ignore
}

/** What breaks the count, for whatever reason. */
function counted(blocks: readonly number[], at: number, sink: Sink): void {
  const { stNum, sqNum, time } = fields;
  const lastState = blocks[at + 1] as number;
  const lastSequence = blocks[at + 2] as number;
  const hasWrapped = lastState === COUNT_MAX && stNum <= 1;
  if (stNum < lastState && !hasWrapped) sink.violation('stNum went back');
  else if (stNum !== lastState) {
    if (sqNum !== 0) sink.violation('new stNum without sqNum 0');
  } else if (sqNum > lastSequence + 1) sink.violation('sqNum skipped');
  // The same frame may come twice, over redundant paths; one that differs in its time may not.
  else if (
    sqNum === lastSequence ? time !== blocks[at + 3] : sqNum < lastSequence && !wraps(lastSequence, sqNum)
  )
    sink.violation('sqNum went back without a new stNum');
}

/** What two publishers do, and one never does. */
function contradictions(blocks: number[], at: number, nowMs: number, sink: Sink): void {
  const { stNum, sqNum, time, data } = fields;
  const timeToLiveMs = Number.isNaN(fields.timeToLiveMs) ? TIME_TO_LIVE_MS : fields.timeToLiveMs;
  const lastMs = blocks[at + 6] as number;
  if (stNum === blocks[at + 1] && time === blocks[at + 3]) {
    // Nothing was lost in between: it was held up, or held back.
    if (nowMs - lastMs > LIVES * timeToLiveMs && sqNum === (blocks[at + 2] as number) + 1)
      sink.violation('silent beyond timeAllowedtoLive');
    const isSameNumber = sqNum === blocks[at + 2];
    usedTwice(blocks, at, isSameNumber, nowMs - lastMs, sink);
    if (isSameNumber && data !== blocks[at + 5]) sink.violation('sqNum repeated with other data');
    const changedMs = blocks[at + 13] as number;
    const isCounted = changedMs !== 0 && nowMs - changedMs > COUNTED_MS;
    if (isCounted) sink.violation('data changed without a new stNum');
    if (fields.positions !== blocks[at + 12] && !isSameNumber && (changedMs === 0 || isCounted))
      blocks[at + 13] = nowMs; // prettier-ignore
    else if (isCounted) blocks[at + 13] = 0;
    return;
  }
  blocks[at + 13] = blocks[at + 15] = 0;
  const isBack = stNum === blocks[at + 7] && time === blocks[at + 9];
  const silentMs = nowMs - (blocks[at + 10] as number);
  if (isBack && silentMs <= LIVES * timeToLiveMs && nowMs - lastMs <= LIVES * timeToLiveMs && silentMs > LATE_MS)
    sink.violation('two states are published at once'); // prettier-ignore
}

/**
 * Somebody sends the next number before its owner does, who then sends it as well, and both go on from there. Told when it goes on: a number that is stuck comes more
 * than twice.
 */
function usedTwice(blocks: number[], at: number, isSameNumber: boolean, gapMs: number, sink: Sink): void {
  if (isSameNumber) {
    if (gapMs > AGAIN_MS) blocks[at + 15] = (blocks[at + 15] as number) + 1;
    return;
  }
  const isNext = fields.sqNum === (blocks[at + 2] as number) + 1;
  const again = blocks[at + 15] as number;
  blocks[at + 15] = 0;
  if (isNext && again === 1 && (blocks[at + 14] as number) >= COUNTS_MIN) sink.violation('sqNum used twice');
  else if (isNext && again === 0) blocks[at + 14] = Math.min(COUNTS_MIN, (blocks[at + 14] as number) + 1);
}

const TAG_BITS = 0x84;
const TAG_FLOAT = 0x87;
const TAG_BINARY_TIME = 0x8c;
const TAG_UTC_TIME = 0x91;
/** Thirteen bits: two bytes, and three bits in them that are none. */
const QUALITY_BYTES = 3;

/** A number that stands for what is open, closed, set or chosen; not for what is measured, when, and how well. */
function positionsOf(bytes: Uint8Array, at: number, end: number): number {
  let sum = 0x811c_9dc5;
  let next = at;
  while (readElement(element, bytes, next, end)) {
    const { tag, from, to } = element;
    next = isConstructed(tag) ? from : to;
    const isQuality = tag === TAG_BITS && to - from === QUALITY_BYTES && bytes[from] === 3;
    if (isQuality || tag === TAG_FLOAT || tag === TAG_BINARY_TIME || tag === TAG_UTC_TIME) continue;
    if (!isConstructed(tag)) sum = Math.imul(sum ^ fingerprint(bytes, from, to), 0x0100_0193);
  }
  return sum >>> 0;
}

function wraps(last: number, sqNum: number): boolean {
  return last === COUNT_MAX && sqNum <= 1;
}
