/** Modbus/TCP: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { modbus } from './modbus.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkRows } from './ot-test-support.ts';

/** Transaction 1, unit 17, and what is asked or answered. */
function message(pdu: string): Uint8Array {
  const body = fromHex(pdu);
  return Uint8Array.of(0, 1, 0, 0, 0, 1 + body.byteLength, 17, ...body);
}

describe('messages by hand', () => {
  test('diagnostics are told by what they do', () => {
    const name = (pdu: string, isFromClient = true) => {
      const { operations, violations } = hear(modbus, message(pdu), { isFromClient });
      expect(violations).toEqual([]);
      return [operations[0]?.name, operations[0]?.action];
    };
    expect(name('08 0000 a537')).toEqual(['return-query-data', 'read']);
    expect(name('08 0001 ff00')).toEqual(['restart-communications', 'control']);
    expect(name('08 0002 0000')).toEqual(['return-diagnostic-register', 'read']);
    expect(name('08 0004 0000')).toEqual(['force-listen-only', 'control']);
    expect(name('08 000a 0000')).toEqual(['clear-counters', 'control']);
    expect(name('08 000b 0000')).toEqual(['return-bus-message-count', 'read']);
    expect(name('08 00ff 0000')).toEqual(['diagnostics-255', 'other']);
    // The answer repeats it, and a refusal says no more than the function.
    expect(name('08 0001 ff00', false)).toEqual(['restart-communications', 'control']);
    expect(hear(modbus, message('88 01'), { isFromClient: false }).operations).toMatchObject([
      { name: 'diagnostics', code: 8, isResponse: true, exception: 'illegal-function' },
    ]);
  });

  test('who asks what a device is discovers', () => {
    expect(hear(modbus, message('2b 0e 01 00')).operations).toMatchObject([
      { name: 'read-device-identification', action: 'discover', code: 43, unit: 17 },
    ]);
    expect(hear(modbus, message('2b 0d 0000')).operations).toMatchObject([
      { name: 'canopen-general-reference', action: 'other' },
    ]);
    expect(hear(modbus, message('11')).operations).toMatchObject([
      { name: 'report-server-id', action: 'discover' },
    ]);
  });

  test('engineering tools are told by what they do, and their answers by what was asked', () => {
    const memory = {};
    const name = (pdu: string, isFromClient = true) => {
      const { operations, violations } = hear(modbus, message(pdu), { isFromClient, memory });
      expect(violations).toEqual([]);
      return [operations[0]?.name, operations[0]?.action, operations[0]?.exception];
    };
    expect(name('5a 00 fe', false)).toEqual(['umas', 'other', '']);
    expect(name('5a 00 04')).toEqual(['read-plc-status', 'read', '']);
    expect(name('5a 00 fe 01', false)).toEqual(['read-plc-status', 'read', '']);
    expect(name('5a 07 29 0000')).toEqual(['write-physical-memory', 'program', '']);
    expect(name('5a 07 41 ff00')).toEqual(['plc-stop', 'control', '']);
    expect(name('5a 07 fd 83', false)).toEqual(['plc-stop', 'control', 'umas-error-0x83']);
    expect(name('5a 07 74 02')).toEqual(['umas-0x74', 'other', '']);
    expect(hear(modbus, message('5a 07')).violations).toEqual(['request shorter than its function demands']);
  });

  test('diagnostics without a whole sub-function break the protocol', () => {
    for (const pdu of ['08', '08 00', '2b'])
      expect(hear(modbus, message(pdu)).violations).toEqual(['request shorter than its function demands']);
  });

  test('an answer is about what its request asked', () => {
    const memory = {};
    hear(modbus, message('03 006b 0001'), { memory });
    expect(hear(modbus, message('03 02 022b'), { memory, isFromClient: false }).operations).toMatchObject([
      { name: 'read-holding-registers', object: 'holding:107', value: 555, isResponse: true },
    ]);
  });
});

test('any bytes are read without a throw', () => {
  checkTotal(
    modbus,
    ['08 0004 0000', '2b 0e 01 00', '10 0001 0002 04 000a0102', '88 01', '03 02 022b'].map(message),
  );
});

describeWithCorpus('against tshark', () => {
  test('the same functions and diagnostics, as often', async () => {
    let diagnostics = 0;
    for (const { path, name } of corpusFiles('ot/modbus')) {
      if (!/modbus_example|modbusSmall|diagnostic|modbus_test\.pcap/.test(name)) continue;
      const rows = tsharkRows(path, ['modbus.func_code', 'modbus.diagnostic_code'], 'modbus.func_code', ['-d', 'tcp.port==502,mbtcp']); // prettier-ignore
      const codes = rows.flatMap(([code = '']) => code.split(',').filter((one) => one !== ''));
      const { operations } = await hearCapture(modbus, path);
      expect(tally(operations.map(({ code }) => code)), name).toEqual(tally(codes.map(Number)));
      diagnostics += operations.filter(({ code }) => code === 8).length;
    }
    expect(diagnostics).toBeGreaterThan(0);
  });
});
