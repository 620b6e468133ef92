/**
 * GOOSE (IEC 61850-8-1), straight on Ethernet, big-endian, then BER:
 *
 *   0 APPID (2)   2 length from APPID on (2)   4 reserved (4)   8 goosePdu 0x61
 *     80 gocbRef   81 timeAllowedtoLive   82 datSet   83 goID   84 t (8)   85 stNum   86 sqNum   87 test   88 confRev
 *     89 ndsCom   8a numDatSetEntries   ab allData
 *
 * A publisher counts changes of state in stNum and repetitions of one state in sqNum; a frame that breaks the count came from somebody
 * else, or frames were lost. The counts of a few control blocks per conversation are remembered.
 */
import {
  countElements,
  createElement,
  findElement,
  fingerprint,
  firstValue,
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

/** Per control block: fingerprint of its name, stNum, sqNum, fingerprint of t, confRev. */
const BLOCK_NUMBERS = 5;
const BLOCKS_MAX = 8;

const operation = createOperation('goose');
const pdu = createElement();
const element = createElement();

/** What stands in the fields of one frame; reused. */
const fields = {
  name: '',
  nameHash: 0,
  time: 0,
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

  dissect({ bytes, at, end, memory }, sink) {
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
    sequence(memory, sink);
    sink.operation(operation);
  },
};

function readFields(bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  fields.name = '';
  fields.nameHash = fields.time = 0;
  fields.stNum = fields.sqNum = fields.confRev = fields.entries = NaN;
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
    } else if (tag === 0x84) fields.time = fingerprint(bytes, from, to);
    else if (tag === 0x85) fields.stNum = unsignedOf(bytes, from, to);
    else if (tag === 0x86) fields.sqNum = unsignedOf(bytes, from, to);
    else if (tag === 0x87) fields.test = to > from && bytes[from] !== 0;
    else if (tag === 0x88) fields.confRev = unsignedOf(bytes, from, to);
    else if (tag === 0x8a) fields.entries = unsignedOf(bytes, from, to);
    else if (tag === TAG_ALL_DATA) {
      seen |= 1 << 11;
      operation.value = firstValue(bytes, from, to);
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
function sequence(memory: Memory, sink: Sink): void {
  const { nameHash, stNum, sqNum, time, confRev } = fields;
  if (Number.isNaN(stNum) || Number.isNaN(sqNum)) return;
  const blocks = (memory['blocks'] ??= []) as number[];
  let at = 0;
  while (at < blocks.length && blocks[at] !== nameHash) at += BLOCK_NUMBERS;
  if (at < blocks.length) {
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
  } else if (blocks.length >= BLOCKS_MAX * BLOCK_NUMBERS) blocks.splice(0, BLOCK_NUMBERS);
  if (at >= blocks.length) at = blocks.length;
  if (stNum !== blocks[at + 1]) sink.fact('goose-state', `${fields.name}=${stNum}`);
  if (confRev !== blocks[at + 4] && !Number.isNaN(confRev))
    sink.fact('conf-rev', `${fields.name}=${confRev}`);
  blocks[at] = nameHash;
  blocks[at + 1] = stNum;
  blocks[at + 2] = sqNum;
  blocks[at + 3] = time;
  blocks[at + 4] = Number.isNaN(confRev) ? -1 : confRev;
}

function wraps(last: number, sqNum: number): boolean {
  return last === COUNT_MAX && sqNum <= 1;
}
