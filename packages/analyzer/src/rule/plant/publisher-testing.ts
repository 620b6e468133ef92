/** For tests: frames of GOOSE and sampled values, written field by field. */
import { ethernet } from '../../packet/frame-testing.ts';

export const PUBLISHER = '02:00:00:00:00:11';
export const FORGER = '02:00:00:00:00:66';
export const GOOSE_GROUP = '01:0c:cd:01:00:01';
export const SV_GROUP = '01:0c:cd:04:00:01';

function field(tag: string, content: string): string {
  const length = content.length / 2;
  return `${tag}${length < 128 ? '' : '81'}${length.toString(16).padStart(2, '0')}${content}`;
}

function number(value: number): string {
  return value.toString(16).padStart(10, '0');
}

function framed(etherType: number, pdu: string, source: string, group: string): Buffer {
  const length = (pdu.length / 2 + 8).toString(16).padStart(4, '0');
  return ethernet(etherType, Buffer.from(`4001${length}00000000${pdu}`, 'hex'), undefined, source, group);
}

/** `time` tells states apart; `value` is the position that is published, behind it what is measured, in hexadecimal. It is to be believed for two seconds. */
export function goose(
  stNum: number,
  sqNum: number,
  time: number,
  value: number,
  source = PUBLISHER,
  measured = '',
): Buffer {
  const name = Buffer.from('IED/LLN0$GO$gcb01').toString('hex');
  const pdu = [
    field('80', name), field('81', '07d0'), field('82', name), field('84', time.toString(16).padStart(16, '0')), field('85', number(stNum)), field('86', number(sqNum)),
    field('87', '00'), field('88', '01'), field('89', '00'), field('8a', measured === '' ? '01' : '02'), field('ab', field('83', `0${value}`) + measured),
  ].join(''); // prettier-ignore
  return framed(0x88b8, field('61', pdu), source, GOOSE_GROUP);
}

export function samples(count: number, value: number, source = PUBLISHER, name = 'MU01'): Buffer {
  const asdu = field('80', Buffer.from(name).toString('hex')) + field('82', count.toString(16).padStart(4, '0')) + field('83', '00000001') + field('85', '01') + field('87', value.toString(16).padStart(8, '0')); // prettier-ignore
  return framed(0x88ba, field('60', field('80', '01') + field('a2', field('30', asdu))), source, SV_GROUP);
}
