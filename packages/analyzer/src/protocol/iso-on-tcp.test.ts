/** ISO on TCP with S7comm, S7comm-plus and MMS in it: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Dissector, type Memory, type Operation } from './dissector.ts';
import { isoOnTcp } from './iso-on-tcp.ts';
import {
  checkTotal,
  fromHex,
  hear,
  hearCapture,
  tally,
  tsharkRows,
  tsharkValues,
} from './ot-test-support.ts';

/** TPKT and a COTP data head around a message, or a part of one. */
function data(hex: string, isEnd = true): Uint8Array {
  const payload = fromHex(hex);
  return Uint8Array.of(3, 0, 0, payload.byteLength + 7, 2, 0xf0, isEnd ? 0x80 : 0, ...payload);
}

const CONNECT = fromHex('03000016 11 e0 0000 0001 00 c0010a c1020100 c2020102');
const SETUP = data('32010000 0100 0008 0000 f0000001000101e0');
const WRITE = data('32010000 0500 000e 0008 0501 120a 10 04 0001 0001 84 000010 0004 0010 012c 0000');
const WRITE_BIT = data('32010000 0500 000e 0005 0501 120a 10 01 0001 0000 83 000051 0003 0001 01');
const WRITE_REFUSED = data('32030000 0500 0002 0001 0000 0501 05');
const READ = data('32010000 0600 000e 0000 0401 120a 10 02 0004 0000 82 000009');
const READ_ANSWER = data('32030000 0600 0002 0006 0000 0401 ff04 0010 1234');
const STOP = data('32010000 0700 0010 0000 29 0000000000 09 505f50524f4752414d');
const START = data('32010000 0800 0014 0000 28 000000000000fd 0000 09 505f50524f4752414d');
const INSERT = data('32010000 0900 001a 0000 28 000000000000fd 000a 01 00 3041303030303150 05 5f494e5345');
const DOWNLOAD = data('32010000 0a00 0012 0000 1a 00 0000 00000000 09 5f30413030303031 50');
const SZL = data('32070000 0b00 0008 0008 00011204 1144 01 00 ff09 0004 0011 0001');
const SET_CLOCK = data('32070000 0c00 0008 000e 00011204 1147 02 00 ff09 000a 00 19140820115943 0000');
const PLUS_WRITE = data('7202 0011 31 0000 0542 0000 0003 00000123 34 000000 00 72020000');
const PLUS_STOP = data('7202 0018 31 0000 04f2 0000 0010 00000390 34 00000034 01 9077 00 08 01 72020000');
const PLUS_START = data('7202 0018 31 0000 04f2 0000 0010 00000390 34 00000034 01 9077 00 08 03 72020000');
const TLS_RECORD = data('17 0303 0008 0011223344556677');
const SAMPLES = [CONNECT, SETUP, WRITE, WRITE_BIT, WRITE_REFUSED, READ, READ_ANSWER, STOP, START, INSERT, DOWNLOAD, SZL, SET_CLOCK, PLUS_WRITE, PLUS_STOP, TLS_RECORD]; // prettier-ignore

/** An element of BER. */
function element(tag: string, ...content: string[]): string {
  const inner = content.join('');
  return tag + (inner.length / 2).toString(16).padStart(2, '0') + inner;
}

const text = (value: string): string => Buffer.from(value).toString('hex');
const variable = (item: string): string =>
  element(
    'a0',
    element('30', element('a0', element('a1', element('1a', text('IED')), element('1a', text(item))))),
  );
/** A PDU inside the session and the presentation. */
const mms = (pdu: string): Uint8Array =>
  data(`01000100${element('61', element('30', '020103', element('a0', pdu)))}`);
const READ_MMS = mms(element('a0', '020107', element('a4', element('a1', variable('LLN0$ST$Mod')))));
const READ_MMS_ANSWER = mms(element('a1', '020107', element('a4', element('a1', '850105'))));
const READ_MMS_REFUSED = mms(element('a1', '020107', element('a4', element('a1', '80010a'))));
const OPERATE = mms(
  element(
    'a0',
    '020108',
    element('a5', variable('CSWI1$CO$Pos$Oper'), element('a0', 'a205830101 8400'.replace(' ', ''))),
  ),
);
const WRITE_MMS = mms(
  element('a0', '020109', element('a5', variable('LLN0$CF$Mod'), element('a0', '850102'))),
);
const REPORT = mms(
  element('a3', element('a0', element('a1', '8003525054'), element('a0', '830100', '850107'))),
);
const FILE_OPEN = mms(
  element('a0', '02010a', element('bf48', element('a0', element('19', text('a.cfg'))), '810100')),
);
const NAMES = mms(
  element('a0', '02010b', element('a1', 'a003800109', element('a1', element('81', text('LD0'))))),
);
const SERVICE_ERROR = mms(element('a2', '800107', element('a2', element('a0', '870103'))));
const MMS_SAMPLES = [READ_MMS, READ_MMS_ANSWER, READ_MMS_REFUSED, OPERATE, WRITE_MMS, REPORT, FILE_OPEN, NAMES, SERVICE_ERROR, data('a80680010a810105')]; // prettier-ignore

function only(message: Uint8Array, memory: Memory = {}, isFromClient = true): Operation {
  const { operations, violations } = hear(isoOnTcp, message, { memory, isFromClient });
  expect(violations).toEqual([]);
  expect(operations).toHaveLength(1);
  return operations[0] as Operation;
}

describe('S7comm by hand', () => {
  test('a connect tells rack and slot, which stay with what follows', () => {
    const memory: Memory = {};
    expect(only(CONNECT, memory)).toMatchObject({ protocol: 's7comm', name: 'connect', action: 'session', unit: 2, object: '0100>0102 rack 0 slot 2' }); // prettier-ignore
    expect(only(SETUP, memory)).toMatchObject({ name: 'setup-communication', unit: 2, object: 'pdu:480' });
    expect(only(STOP, memory)).toMatchObject({ name: 'plc-stop', action: 'control', unit: 2 });
  });

  test('a job before setup is told where the connection was seen to begin', () => {
    const memory: Memory = {};
    only(STOP, {});
    only(CONNECT, memory);
    expect(hear(isoOnTcp, STOP, { memory }).violations).toEqual(['job before setup communication']);
    only(SETUP, memory);
    only(STOP, memory);
  });

  test('writes tell what and which value, answers are about the same', () => {
    const memory: Memory = {};
    expect(only(WRITE, memory)).toMatchObject({ name: 'write-var', action: 'write', code: 5, object: 'DB1.DBX2.0', count: 1, value: 300 }); // prettier-ignore
    expect(only(WRITE_BIT, memory)).toMatchObject({ object: 'M10.1', value: 1 });
    expect(only(WRITE_REFUSED, memory, false)).toMatchObject({ isResponse: true, object: 'M10.1', exception: 'invalid-address' }); // prettier-ignore
    expect(only(READ, memory)).toMatchObject({ name: 'read-var', object: 'Q1.1', value: NaN });
    expect(only(READ_ANSWER, memory, false)).toMatchObject({ object: 'Q1.1', value: 0x1234, exception: '' });
  });

  test('program and mode', () => {
    expect(only(START)).toMatchObject({ name: 'plc-start', action: 'control', object: 'P_PROGRAM' });
    expect(only(INSERT)).toMatchObject({ name: 'insert-block', action: 'program', object: 'DB1' });
    expect(only(DOWNLOAD)).toMatchObject({ name: 'request-download', action: 'program', object: 'DB1' });
    expect(only(SZL)).toMatchObject({ name: 'read-szl', action: 'discover', object: 'szl:0x0011/0x0001' });
    expect(only(SET_CLOCK)).toMatchObject({ name: 'set-clock', action: 'control' });
    expect(only(PLUS_WRITE)).toMatchObject({ name: 'set-multi-variables', action: 'write', code: 0x542 });
  });

  test('a state that is asked of the execution unit of S7comm-plus is a stop or a start', () => {
    expect(only(PLUS_STOP)).toMatchObject({ name: 'plc-stop', action: 'control', value: 1 });
    expect(only(PLUS_START)).toMatchObject({ name: 'plc-start', action: 'control', value: 3 });
    const other = Uint8Array.from(PLUS_STOP);
    other[28] = 0x35;
    expect(only(other)).toMatchObject({ name: 'set-variable', action: 'write' });
  });

  test('TLS inside is read as such, with records that go on; other bytes are nobody knows what', () => {
    const memory: Memory = {};
    const strange = data('99aabbccddee');
    expect(only(TLS_RECORD, memory)).toMatchObject({ protocol: 's7comm', name: 'secured-message', action: 'other' }); // prettier-ignore
    expect(only(strange, memory)).toMatchObject({ name: 'secured-message' });
    expect(hear(isoOnTcp, strange, {}).violations).toEqual(['neither S7 nor an ISO session']);
  });

  test('a message in parts is read at its end', () => {
    const memory: Memory = {};
    expect(hear(isoOnTcp, data('32010000 0500 000e 0008 0501', false), { memory }).operations).toEqual([]);
    const rest = '120a 10 04 0001 0001 84 000010 0004 0010 012c 0000';
    expect(only(data(rest), memory)).toMatchObject({ object: 'DB1.DBX2.0', value: 300 });
    expect(memory['partsOfClient']).toBeUndefined();
  });

  test('lengths that disagree and strange bytes are told', () => {
    const { violations } = hear(
      isoOnTcp,
      data('32010000 0500 000e 0009 0501 120a 10 04 0001 0001 84 000010 0004'),
    );
    expect(violations).toEqual(['S7 lengths and message disagree']);
    expect(hear(isoOnTcp, data('474554')).violations).toEqual(['neither S7 nor an ISO session']);
    expect(isoOnTcp.messageBytes?.(SETUP, 0, 3)).toBe(NEED_MORE);
    expect(isoOnTcp.messageBytes?.(SETUP, 0, 9)).toBe(SETUP.byteLength);
    expect(isoOnTcp.messageBytes?.(SETUP, 1, 9)).toBe(NOT_OURS);
    expect([CONNECT, SETUP, READ_MMS].map((m) => isoOnTcp.looksLike?.(m, 0, m.byteLength))).toEqual([true, true, false]); // prettier-ignore
  });
});

describe('MMS by hand', () => {
  test('reads, their answers and refusals', () => {
    const memory: Memory = {};
    expect(only(READ_MMS, memory)).toMatchObject({ protocol: 'mms', name: 'read', action: 'read', code: 4, object: 'LLN0$ST$Mod', count: 1 }); // prettier-ignore
    expect(only(READ_MMS_ANSWER, memory, false)).toMatchObject({ isResponse: true, object: 'LLN0$ST$Mod', value: 5 }); // prettier-ignore
    only(READ_MMS, memory);
    expect(only(READ_MMS_REFUSED, memory, false)).toMatchObject({ object: 'LLN0$ST$Mod', exception: 'object-non-existent' }); // prettier-ignore
    only(READ_MMS, memory);
    expect(only(SERVICE_ERROR, memory, false)).toMatchObject({
      object: 'LLN0$ST$Mod',
      exception: 'error-7-3',
    });
  });

  test('a write to Oper is a control, others are writes', () => {
    expect(only(OPERATE)).toMatchObject({ name: 'write', action: 'control', object: 'CSWI1$CO$Pos$Oper', value: 1 }); // prettier-ignore
    expect(only(WRITE_MMS)).toMatchObject({ action: 'write', object: 'LLN0$CF$Mod', value: 2 });
  });

  test('reports, files and names', () => {
    expect(only(REPORT)).toMatchObject({ name: 'information-report', action: 'report', object: 'RPT', count: 2, value: 0 }); // prettier-ignore
    expect(only(FILE_OPEN)).toMatchObject({ name: 'file-open', action: 'file', code: 72, object: 'a.cfg' });
    expect(only(NAMES)).toMatchObject({ name: 'get-name-list', action: 'discover', object: 'LD0' });
  });
});

test('noise and damaged messages', () => {
  const protocols = new Set(['s7comm', 'mms', 'cotp']);
  const named: Dissector = {
    ...isoOnTcp,
    dissect(message, sink) {
      isoOnTcp.dissect(message, {
        operation(operation) {
          expect(protocols.has(operation.protocol)).toBe(true);
          sink.operation({ ...operation, protocol: isoOnTcp.name });
        },
        fact: (key, value) => sink.fact(key, value),
        violation: (reason) => sink.violation(reason),
      });
    },
  };
  const parts = [...SAMPLES, ...MMS_SAMPLES]
    .filter((sample) => sample !== CONNECT)
    .map((sample) => {
      const part = Uint8Array.from(sample);
      part[6] = 0;
      return part;
    });
  checkTotal(named, [...SAMPLES, ...MMS_SAMPLES, ...parts], 3000);
});

describeWithCorpus('against tshark', () => {
  test('the same S7 functions in every capture', async () => {
    // Of captures that repeat what others hold, none: each costs a start of tshark.
    const files = corpusFiles('ot/s7').filter(
      ({ name }) =>
        !/Daniel|Profinet|2016091|bench|1511_db[36]|snap7_s300_(read|setup|stop)|s7comm.pcap|ack_data/.test(
          name,
        ),
    );
    for (const { path, name } of files) {
      const { operations, violations } = await hearCapture(isoOnTcp, path);
      const jobs = operations.filter(
        ({ protocol, code, action }) =>
          protocol === 's7comm' && code >= 0 && code < 0x100 && action !== 'report',
      );
      const functions = jobs.filter(({ name: word }) => word !== 'connect' && word !== 'disconnect');
      const fields = ['func', 'userdata.subfunc', 'userdata.funcgroup'].map(
        (field) => `s7comm.param.${field}`,
      );
      const rows = tsharkRows(path, fields, 's7comm');
      const theirs = (column: number): number[] =>
        rows.flatMap((row) =>
          (row[column] ?? '')
            .split(',')
            .filter((value) => value !== '')
            .map(Number),
        );
      expect(violations, name).toEqual([]);
      expect(tally(functions.map(({ code }) => code)), name).toEqual(tally(theirs(0)));
      // S7comm-plus has codes of the same size.
      if (/1511|plus|tpkt/.test(name)) continue;
      const groups = operations.filter((o) => o.code >= 0x100 || o.name.startsWith('mode-transition'));
      expect(tally(groups.map(({ code }) => code >> 8)), name).toEqual(tally(theirs(2)));
      const subfunctions = groups.filter(({ code }) => code >= 0x100).map(({ code }) => code & 0xff);
      expect(tally(subfunctions), name).toEqual(tally(theirs(1)));
    }
  });

  test('the same areas, DBs and addresses of single items', async () => {
    const path = corpusPath('ot/s7/s7comm_varservice_libnodavedemo.pcap');
    const { operations } = await hearCapture(isoOnTcp, path);
    const objects = operations.filter(({ isResponse, object }) => !isResponse && /^(DB|M)/.test(object));
    const places = objects.map(({ object }) => (/(\d+)\.\d$/.exec(object) as RegExpExecArray)[1] as string);
    expect(tally(places)).toEqual(tally(tsharkValues(path, 's7comm.param.item.address.byte').map(Number)));
  });

  test('the same MMS services in every capture', async () => {
    for (const { path, name } of corpusFiles('ot/iec61850')) {
      if (!/mms-(read|kill|init|conf)|ABB|piccolo/.test(name)) continue;
      const { operations } = await hearCapture(isoOnTcp, path);
      const fields = ['mms.confirmedServiceRequest', 'mms.confirmedServiceResponse'];
      const rows = tsharkRows(path, fields, 'mms');
      for (const isResponse of [false, true]) {
        const ours = operations.filter(
          (o) => o.protocol === 'mms' && o.code >= 0 && o.isResponse === isResponse,
        );
        const theirs = rows.flatMap((row) =>
          (row[isResponse ? 1 : 0] ?? '').split(',').filter((v) => v !== ''),
        );
        expect(tally(ours.map(({ code }) => code)), name).toEqual(tally(theirs));
      }
    }
  });

  test('S7comm-plus: every function is known', async () => {
    for (const { path, name } of corpusFiles('ot/s7').filter((file) => /1511|plus/.test(file.name))) {
      const { operations, violations } = await hearCapture(isoOnTcp, path);
      expect(violations, name).toEqual([]);
      expect(operations.filter(({ code }) => code > 0x400).length, name).toBeGreaterThan(5);
    }
  });
});
