/** PROFINET: frames and calls by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Memory } from './dissector.ts';
import {
  checkTotal,
  fromHex,
  hear,
  hearCapture,
  tally,
  tsharkRows,
  tsharkValues,
} from './ot-test-support.ts';
import { profinet } from './profinet.ts';

function u16(value: number): string {
  return value.toString(16).padStart(4, '0');
}

function dcp(frameId: string, service: string, blocks: string): Uint8Array {
  const body = fromHex(blocks);
  return fromHex(
    `${frameId} ${service} 01000001 0000 ${u16(body.byteLength)} ${Buffer.from(body).toString('hex')} ${'00'.repeat(8)}`,
  );
}

function cyclic(counter: number, status = '35'): Uint8Array {
  return fromHex(`8000 ${'80'.repeat(40)} ${u16(counter)} ${status} 00`);
}

/** A call in little-endian to a device: type, operation, status or limit, block. */
function call(type: string, operation: string, parameter: string, block: string): Uint8Array {
  return fromHex(`
    04 ${type} 20 00 10 00 00 00 ${'11'.repeat(16)} 0100a0de 976c d111 8271 00a02442df7d ${'22'.repeat(16)}
    00000000 01000000 00000000 ${operation} ffff ffff 0000 0000 00 00
    ${parameter} 40000000 40000000 00000000 40000000 ${block}`);
}

const SET_IP = dcp('fefd', '04 00', '01 02 000e 0001 c0a8000a ffffff00 c0a80001');
const SET_OK = dcp('fefd', '04 01', '05 04 0003 01 02 00 00');
const IDENTIFY = dcp('fefe', '05 00', 'ff ff 0000');
const IDENTIFIED = dcp('feff', '05 01', '02 02 0007 0000 706c632d31 00 02 03 0006 0000 002a 0101');
const WRITE = call('00', '0300', '00100000', `0008 003c 0100 0000 ${'33'.repeat(16)} 00000000 0002 0001 0000 8028 00000005 ${'00'.repeat(24)}`); // prettier-ignore
const PRM_END = call('00', '0400', '00100000', `0110 001c 0100 0000 ${'33'.repeat(16)} 0001 0000 0001 0000`);
const ALARM = fromHex(
  `fc01 0001 0002 11 01 0000 ffff 001a 0001 0016 0100 0001 00000000 0003 0001 ${'00'.repeat(12)}`,
);
const SAMPLES = [
  SET_IP,
  SET_OK,
  IDENTIFY,
  IDENTIFIED,
  WRITE,
  PRM_END,
  ALARM,
  cyclic(7),
  dcp('fefd', '03 00', '02 02 01 02'),
];

function only(message: Uint8Array, memory: Memory = {}) {
  const heard = hear(profinet, message, { memory });
  expect(heard.violations).toEqual([]);
  expect(heard.operations).toHaveLength(1);
  return heard.operations[0];
}

describe('DCP', () => {
  test('an address is set, and what became of it', () => {
    expect(only(SET_IP)).toMatchObject({ name: 'dcp-set', action: 'write', code: 4, isResponse: false, object: 'ip-parameter', count: 1 }); // prettier-ignore
    expect(hear(profinet, SET_IP).facts).toEqual([['ip-address', '192.168.0.10']]);
    expect(only(SET_OK)).toMatchObject({ isResponse: true, object: 'ip-parameter', exception: '' });
    expect(only(dcp('fefd', '04 01', '05 04 0003 01 02 05 00'))).toMatchObject({
      exception: 'set-not-possible',
    });
    expect(only(dcp('fefd', '04 05', ''))).toMatchObject({
      isResponse: true,
      exception: 'service-not-supported',
    });
  });

  test('reset and signal are control', () => {
    expect(only(dcp('fefd', '04 00', '05 06 0002 0004'))).toMatchObject({ action: 'control', object: 'reset-to-factory' }); // prettier-ignore
    expect(only(dcp('fefd', '04 00', '05 03 0004 0000 0100'))).toMatchObject({
      action: 'control',
      object: 'signal',
    });
  });

  test('who is there', () => {
    expect(only(IDENTIFY)).toMatchObject({
      name: 'dcp-identify',
      action: 'discover',
      isResponse: false,
      object: 'all',
    });
    const heard = hear(profinet, IDENTIFIED);
    expect(heard.operations).toMatchObject([
      { name: 'dcp-identify', isResponse: true, object: 'station-name', count: 2 },
    ]);
    expect(heard.facts).toEqual([
      ['station-name', 'plc-1'],
      ['device-id', '0x002a:0x0101'],
    ]);
    expect(only(dcp('fefd', '03 00', '02 02 01 02'))).toMatchObject({ name: 'dcp-get', action: 'read', object: 'station-name', count: 2 }); // prettier-ignore
  });
});

test('cyclic data and its counter', () => {
  const memory: Memory = {};
  expect(only(cyclic(0xff80), memory)).toMatchObject({
    name: 'rt-cyclic', action: 'report', object: 'frame-id:0x8000', value: 0x35, count: 40,
  }); // prettier-ignore
  only(cyclic(0x0020), memory);
  only(cyclic(0x0020), memory);
  expect(hear(profinet, cyclic(0x0010), { memory }).violations).toEqual(['cycle counter went back']);
  // The other direction counts for itself.
  expect(hear(profinet, cyclic(0x0001), { memory, isFromClient: false }).violations).toEqual([]);
});

test('alarms', () => {
  expect(only(ALARM)).toMatchObject({
    name: 'alarm-high',
    action: 'report',
    unit: 3,
    object: 'diagnosis/slot:3/subslot:1',
  });
  expect(only(fromHex('fe01 0001 0002 13 01 0000 ffff 0000'))).toMatchObject({
    name: 'alarm-low',
    isResponse: true,
  });
});

test('calls', () => {
  expect(only(WRITE)).toMatchObject({ name: 'write', action: 'write', code: 3, object: 'slot:2/subslot:1/index:0x8028', count: 5 }); // prettier-ignore
  expect(only(PRM_END)).toMatchObject({ name: 'control', action: 'control', object: 'prm-end', value: 1 });
  expect(only(call('02', '0300', '0880dfde', ''))).toMatchObject({
    isResponse: true,
    exception: 'status-0xdedf8008',
  });
  expect(profinet.looksLike?.(WRITE, 0, WRITE.byteLength)).toBe(true);
  expect(profinet.looksLike?.(SET_IP, 0, SET_IP.byteLength)).toBe(false);
});

test('any bytes are read without a throw', () => {
  checkTotal(profinet, SAMPLES);
});

describeWithCorpus('against tshark', () => {
  test('the same DCP services and cyclic frames, as often', async () => {
    let compared = 0;
    for (const { path, name } of corpusFiles('ot/profinet')) {
      if (!/DCP|RT|bug|mixed/.test(name)) continue;
      const { operations, violations } = await hearCapture(profinet, path);
      expect(violations, name).toEqual([]);
      const rows = tsharkRows(path, ['pn_dcp.service_id', 'pn_dcp.service_type'], 'pn_dcp');
      const ours = operations.filter((o) => o.name.startsWith('dcp-'));
      expect(tally(ours.map((o) => `${o.code} ${o.isResponse}`)), name).toEqual(
        tally(rows.map(([service, type]) => `${Number(service)} ${type === '1'}`)),
      );
      const frameIds = tsharkValues(path, 'pn_rt.frame_id', 'pn_rt && pn_rt.cycle_counter').map(Number);
      expect(tally(operations.filter((o) => o.name === 'rt-cyclic').map((o) => o.code)), name).toEqual(
        tally(frameIds),
      );
      compared += rows.length + frameIds.length;
    }
    expect(compared).toBeGreaterThan(200);
  });

  test.each([
    'profinet_io_cm_connect_minimal.pcapng',
    'profinet_io_cm_release.pcapng',
    'profinet_io_cm_read.pcapng',
    'profinet_io_cm_write.pcapng',
  ])('%s: the same calls, as often', async (name) => {
    const path = corpusPath(`ot/profinet/${name}`);
    const filter = 'udp.port == 34964 && dcerpc.pkt_type in {0, 2, 3, 6} && dcerpc.dg_frag_num == 0';
    const rows = tsharkRows(path, ['dcerpc.pkt_type', 'dcerpc.opnum'], filter);
    const { operations } = await hearCapture(profinet, path);
    expect(tally(operations.map((o) => `${o.code} ${o.isResponse}`))).toEqual(
      tally(rows.map(([type, code]) => `${code} ${type !== '0'}`)),
    );
  });
});
