/**
 * Sampled values (IEC 61850-9-2), straight on Ethernet, big-endian, then BER:
 *
 *   0 APPID (2)   2 length from APPID on (2)   4 reserved (4)   8 savPdu 0x60: 80 noASDU, a2 sequence of ASDU 0x30, each
 *     80 svID   81 datSet   82 smpCnt (2)   83 confRev (4)   84 refrTm   85 smpSynch   86 smpRate   87 samples   88 smpMod
 *
 * smpCnt counts the samples of a second and begins again at 0. The last count and a fingerprint of the last samples of a few streams
 * per conversation are remembered.
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

/** Per stream: fingerprint of its name, smpCnt, fingerprint of its samples, confRev. */
const STREAM_NUMBERS = 4;
const STREAMS_MAX = 8;

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
        if (!readFields(bytes, asdu.from, asdu.to)) sink.violation('mandatory field is missing');
        if (count++ === 0) {
          operation.object = text(bytes, fields.nameFrom, fields.nameTo, OBJECT_CHARACTERS_MAX);
          if (fields.samplesTo - fields.samplesFrom >= 4)
            operation.value = be32(bytes, fields.samplesFrom) | 0;
        }
        sequence(bytes, memory, sink);
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

/** Compares the count with that of the stream's last samples, and keeps it. */
function sequence(bytes: Uint8Array, memory: Memory, sink: Sink): void {
  const { nameFrom, nameTo, count, confRev } = fields;
  if (Number.isNaN(count)) return;
  const name = fingerprint(bytes, nameFrom, nameTo);
  const samples = fingerprint(bytes, fields.samplesFrom, fields.samplesTo);
  const streams = (memory['streams'] ??= []) as number[];
  let at = 0;
  while (at < streams.length && streams[at] !== name) at += STREAM_NUMBERS;
  if (at < streams.length) {
    const last = streams[at + 1] as number;
    if (count === last) {
      // The same frame may come twice, over redundant paths.
      if (samples !== streams[at + 2]) sink.violation('smpCnt repeated with other data');
    } else if (count < last && count !== 0) sink.violation('smpCnt went back');
  } else if (streams.length >= STREAMS_MAX * STREAM_NUMBERS) streams.splice(0, STREAM_NUMBERS);
  if (at >= streams.length) at = streams.length;
  if (confRev !== streams[at + 3] && !Number.isNaN(confRev))
    sink.fact('conf-rev', `${text(bytes, nameFrom, nameTo, OBJECT_CHARACTERS_MAX)}=${confRev}`);
  streams[at] = name;
  streams[at + 1] = count;
  streams[at + 2] = samples;
  streams[at + 3] = Number.isNaN(confRev) ? -1 : confRev;
}
