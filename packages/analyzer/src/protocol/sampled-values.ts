/**
 * Sampled values (IEC 61850-9-2), straight on Ethernet, big-endian, then BER:
 *
 *   0 APPID (2)   2 length from APPID on (2)   4 reserved (4)   8 savPdu 0x60: 80 noASDU, a2 sequence of ASDU 0x30, each
 *     80 svID   81 datSet   82 smpCnt (2)   83 confRev (4)   84 refrTm   85 smpSynch   86 smpRate   87 samples   88 smpMod
 *
 * smpCnt counts the samples of a second and begins again at 0. Of a few frames' streams per conversation (a frame is told by its first svID) the last counts are
 * remembered, each with a fingerprint of everything that was sent with it: what comes again over redundant paths is the same, what somebody else puts in is not.
 * A count that falls back is a restart, a capture that is played in a loop, or a late frame, unless the count that it fell from goes on.
 */
import { createElement, findElement, fingerprint, publisherEnd, readElement, unsignedOf } from './ber.ts';
import { be16, be32, text } from './byte-reader.ts';
import {
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Sink,
} from './dissector.ts';

const HEAD_BYTES = 8;
const TAG_PDU = 0x60;
const TAG_COUNT = 0x80;
const TAG_SEQUENCE = 0xa2;
const TAG_ASDU = 0x30;

/** Per stream: fingerprint of APPID and name, smpCnt, the count from which it jumped away, confRev, next place in the ring; then the ring of counts and fingerprints. */
const STREAM_HEAD_NUMBERS = 5;
/** At 4,800 frames a second 7 ms: redundant paths differ by less. */
const RING_ENTRIES = 32;
const STREAM_NUMBERS = STREAM_HEAD_NUMBERS + 2 * RING_ENTRIES;
/** × 69 numbers = 4 KiB at the most; most publishers have one or two. */
const STREAMS_MAX = 8;
/** As many frames may be lost, or come late, between two of one count. */
const NEAR = 16;

const operation = createOperation('sampled-values');
const pdu = createElement();
const list = createElement();
const asdu = createElement();
const element = createElement();

/** What stands in the fields of one ASDU; reused. */
const fields = { nameFrom: 0, nameTo: 0, count: NaN, confRev: NaN, samplesFrom: 0, samplesTo: 0 };

export const sampledValues: Dissector = {
  name: 'sampled-values',
  tcpPorts: [],
  udpPorts: [],
  etherTypes: [0x88ba],

  dissect({ bytes, at, end, memory }, sink) {
    const frameEnd = publisherEnd(bytes, at, end);
    if (frameEnd < 0) sink.violation('length field and frame disagree');
    const stop = frameEnd < 0 ? end : frameEnd;
    if (stop - at < HEAD_BYTES || !findElement(pdu, bytes, at + HEAD_BYTES, stop, TAG_PDU)) {
      sink.violation('no savPdu in the frame');
      return;
    }
    const announced = findElement(list, bytes, pdu.from, pdu.to, TAG_COUNT)
      ? unsignedOf(bytes, list.from, list.to)
      : NaN;
    resetOperation(operation);
    operation.action = 'report';
    operation.name = 'samples';
    operation.unit = be16(bytes, at);
    let isCut = pdu.isCut;
    let count = 0;
    if (findElement(list, bytes, pdu.from, pdu.to, TAG_SEQUENCE)) {
      isCut ||= list.isCut;
      for (let next = list.from; readElement(asdu, bytes, next, list.to); next = asdu.to) {
        if (asdu.tag !== TAG_ASDU) continue;
        isCut ||= asdu.isCut;
        const isWhole = readFields(bytes, asdu.from, asdu.to);
        if (!isWhole) sink.violation('mandatory field is missing');
        if (count++ === 0) {
          sequence(bytes, at, list.from, list.to, memory, sink);
          operation.object = text(bytes, fields.nameFrom, fields.nameTo, OBJECT_CHARACTERS_MAX);
          if (fields.samplesTo - fields.samplesFrom >= 4)
            operation.value = be32(bytes, fields.samplesFrom) | 0;
        }
      }
    }
    if (isCut) sink.violation('field longer than the frame');
    else if (count !== announced) sink.violation('noASDU and the sequence disagree');
    operation.count = count;
    sink.operation(operation);
  },
};

/** False when svID, smpCnt, confRev or the samples are not there. */
function readFields(bytes: Uint8Array, at: number, end: number): boolean {
  fields.nameFrom = fields.nameTo = fields.samplesFrom = fields.samplesTo = at;
  fields.count = fields.confRev = NaN;
  let seen = 0;
  for (let next = at; readElement(element, bytes, next, end); next = element.to) {
    const { tag, from, to } = element;
    if (tag >= 0x80 && tag <= 0x88) seen |= 1 << (tag - 0x80);
    if (tag === 0x80) {
      fields.nameFrom = from;
      fields.nameTo = to;
    } else if (tag === 0x82) fields.count = unsignedOf(bytes, from, to);
    else if (tag === 0x83) fields.confRev = unsignedOf(bytes, from, to);
    else if (tag === 0x87) {
      fields.samplesFrom = from;
      fields.samplesTo = to;
    }
  }
  return (seen & 0b1000_1101) === 0b1000_1101;
}

/** Compares the count of the frame's first ASDU with those of the frames before, and keeps it; `bytes[from, to)` are all its ASDUs. */
function sequence(
  bytes: Uint8Array,
  head: number,
  from: number,
  to: number,
  memory: Memory,
  sink: Sink,
): void {
  const { nameFrom, nameTo, count, confRev } = fields;
  if (Number.isNaN(count)) return;
  const name = fingerprint(bytes, nameFrom, nameTo) ^ be16(bytes, head);
  const samples = fingerprint(bytes, from, to);
  const streams = (memory['streams'] ??= []) as number[];
  let at = 0;
  while (at < streams.length && streams[at] !== name) at += STREAM_NUMBERS;
  if (at >= streams.length) {
    if (streams.length >= STREAMS_MAX * STREAM_NUMBERS) streams.splice(0, STREAM_NUMBERS);
    at = streams.length;
    streams.push(name, count, -1, -1, 0);
    for (let i = 0; i < RING_ENTRIES; i++) streams.push(-1, 0);
  } else if (!isNext(streams, at, count, samples, sink)) return;
  const next = streams[at + 4] as number;
  streams[at + STREAM_HEAD_NUMBERS + 2 * next] = count;
  streams[at + STREAM_HEAD_NUMBERS + 2 * next + 1] = samples;
  streams[at + 4] = (next + 1) % RING_ENTRIES;
  if (confRev !== streams[at + 3] && !Number.isNaN(confRev))
    sink.fact('conf-rev', `${text(bytes, nameFrom, nameTo, OBJECT_CHARACTERS_MAX)}=${confRev}`);
  streams[at + 3] = Number.isNaN(confRev) ? -1 : confRev;
}

/** Whether the count is one to be kept; false for what is known. */
function isNext(streams: number[], at: number, count: number, samples: number, sink: Sink): boolean {
  const ring = at + STREAM_HEAD_NUMBERS;
  for (let i = ring; i < at + STREAM_NUMBERS; i += 2) {
    if (streams[i] !== count) continue;
    // The same frame may come twice, over redundant paths.
    if (streams[i + 1] !== samples) sink.violation('smpCnt repeated with other data');
    return false;
  }
  const last = streams[at + 1] as number;
  const left = streams[at + 2] as number;
  if (left !== -1 && isNear(left, count)) sink.violation('two counts are published at once');
  else if (count < last && count !== 0) {
    sink.violation('smpCnt went back');
    // A late one: the count goes on where it was.
    if (isNear(count, last)) return true;
  }
  if (!isNear(last, count)) streams[at + 2] = last;
  streams[at + 1] = count;
  return true;
}

function isNear(from: number, to: number): boolean {
  return to > from && to - from <= NEAR;
}
