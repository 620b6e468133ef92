/** BACnet/IP: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { bacnet } from './bacnet.ts';
import type { Memory } from './dissector.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkRows } from './ot-test-support.ts';

/** An application message, unicast. */
function unicast(apdu: string, npdu = '0104'): Uint8Array {
  const body = fromHex(npdu + apdu);
  const length = (body.byteLength + 4).toString(16).padStart(4, '0');
  return fromHex(`810a ${length} ${Buffer.from(body).toString('hex')}`);
}

/** Analog output 3, present value, real 21.5, priority 8. */
const WRITE = unicast('00 05 07 0f 0c 00400003 19 55 3e 44 41ac0000 3f 49 08');
const READ = unicast('00 05 08 0c 0c 00400003 19 55');
const READ_ACK = unicast('30 08 0c 0c 00400003 19 55 3e 44 41ac0000 3f');
const MULTIPLE = unicast('00 05 09 0e 0c 00800001 1e 09 55 09 6f 1f 0c 00800002 1e 09 55 1f');
const MULTIPLE_ACK = unicast('30 09 0e 0c 00800001 1e 29 55 4e 44 40000000 4f 29 6f 4e 82 0400 4f 1f');
const WHO_IS = unicast('10 08', '0120ffff00ff');
const I_AM = unicast('10 00 c4 020004d2 22 05c4 91 03 21 0f', '0120ffff00ff');
const COV = unicast(
  '10 02 09 01 1c 020004d2 2c 00000005 39 3c 4e 09 55 2e 44 3f800000 2f 09 6f 2e 82 0400 2f 4f',
);
const SAMPLES = [
  WRITE,
  READ,
  READ_ACK,
  MULTIPLE,
  MULTIPLE_ACK,
  WHO_IS,
  I_AM,
  COV,
  unicast('50 07 0f 91 02 91 28'),
];

function only(message: Uint8Array, memory: Memory = {}) {
  const heard = hear(bacnet, message, { memory });
  expect(heard.violations).toEqual([]);
  expect(heard.operations).toHaveLength(1);
  return heard.operations[0];
}

describe('messages by hand', () => {
  test('a write names object, property and value, its acknowledgement what was written', () => {
    const memory: Memory = {};
    expect(only(WRITE, memory)).toMatchObject({
      name: 'write-property', action: 'write', code: 15, isResponse: false, unit: -1, object: 'analog-output:3.present-value', value: 21.5,
    }); // prettier-ignore
    expect(only(unicast('20 07 0f'), memory)).toMatchObject({
      name: 'write-property',
      isResponse: true,
      object: 'analog-output:3.present-value',
      exception: '',
    });
    expect(memory).toEqual({ pending: [] });
  });

  test('a priority above the automation is told, of one property and of many', () => {
    const facts = (message: Uint8Array) => hear(bacnet, message).facts;
    expect(facts(WRITE)).toEqual([['write-priority', '8 analog-output:3.present-value']]);
    expect(facts(unicast('00 05 07 10 0c 00400003 1e 09 55 2e 44 41ac0000 2f 39 01 1f'))).toEqual([
      ['write-priority', '1 analog-output:3.present-value'],
    ]);
    expect(facts(unicast('00 05 07 0f 0c 00400003 19 55 3e 44 41ac0000 3f 49 10'))).toEqual([]);
    expect(facts(unicast('00 05 07 0f 0c 00400003 19 55 3e 44 41ac0000 3f'))).toEqual([]);
  });

  test('reading one and many', () => {
    expect(only(READ)).toMatchObject({ name: 'read-property', action: 'read', object: 'analog-output:3.present-value' }); // prettier-ignore
    expect(only(READ_ACK)).toMatchObject({ name: 'read-property', isResponse: true, value: 21.5 });
    expect(only(MULTIPLE)).toMatchObject({ name: 'read-property-multiple', object: 'analog-value:1.present-value', count: 3 }); // prettier-ignore
    expect(only(MULTIPLE_ACK)).toMatchObject({ object: 'analog-value:1.present-value', value: 2, count: 2 });
  });

  test('refusals', () => {
    const memory: Memory = {};
    only(WRITE, memory);
    expect(only(unicast('50 07 0f 91 02 91 28'), memory)).toMatchObject({
      name: 'write-property', isResponse: true, exception: 'write-access-denied', object: 'analog-output:3.present-value',
    }); // prettier-ignore
    expect(only(unicast('60 07 09'))).toMatchObject({
      name: 'reject',
      exception: 'reject-unrecognized-service',
    });
    expect(only(unicast('71 07 04'))).toMatchObject({ name: 'abort', exception: 'abort-segmentation-not-supported' }); // prettier-ignore
    expect(only(fromHex('8100 0006 0030'))).toMatchObject({
      name: 'bvlc-result',
      exception: 'bvlc-result-48',
    });
  });

  test('who is there', () => {
    expect(only(WHO_IS)).toMatchObject({ name: 'who-is', action: 'discover', isResponse: false });
    const heard = hear(bacnet, I_AM);
    expect(heard.operations).toMatchObject([{ name: 'i-am', action: 'discover', isResponse: true, object: 'device:1234' }]); // prettier-ignore
    expect(heard.facts).toEqual([
      ['device-instance', '1234'],
      ['vendor-id', '15'],
    ]);
    expect(only(unicast('00', '0180'))).toMatchObject({ name: 'who-is-router', action: 'discover' });
  });

  test('control, files and reports', () => {
    expect(only(unicast('00 05 01 14 09 01'))).toMatchObject({ name: 'reinitialize-device', action: 'control', value: 1 }); // prettier-ignore
    expect(only(unicast('00 05 01 11 09 05 19 01'))).toMatchObject({ name: 'device-communication-control', action: 'control', value: 1 }); // prettier-ignore
    expect(only(unicast('00 05 01 07 c4 02800001 0e 31 00 62 abcd 0f'))).toMatchObject({ name: 'atomic-write-file', action: 'program', object: 'file:1' }); // prettier-ignore
    expect(only(COV)).toMatchObject({ name: 'unconfirmed-cov-notification', action: 'report', object: 'analog-input:5.present-value', value: 1 }); // prettier-ignore
  });

  test('of several segments the first is decoded', () => {
    expect(hear(bacnet, unicast('3c 09 00 04 0e 0c 00800001 1e 29 55 4e 44 4000')).operations).toMatchObject([
      { name: 'read-property-multiple', object: 'analog-value:1.present-value' },
    ]);
    expect(hear(bacnet, unicast('3c 09 01 04 0e 0000'))).toMatchObject({ operations: [], violations: [] });
    expect(hear(bacnet, unicast('40 09 01 04'))).toMatchObject({ operations: [], violations: [] });
  });

  test('what breaks the rules is told', () => {
    expect(hear(bacnet, WRITE.subarray(0, 20)).violations).toContain('length field and message disagree');
    expect(hear(bacnet, unicast('00 05 07 0f 0c 0040')).violations).toEqual(['tags and message disagree']);
    expect(hear(bacnet, unicast('00', '0204')).violations).toEqual(['network version is not one']);
    expect(bacnet.looksLike?.(WRITE, 0, WRITE.byteLength)).toBe(true);
    expect(bacnet.looksLike?.(WRITE, 0, WRITE.byteLength - 1)).toBe(false);
  });
});

test('any bytes are read without a throw', () => {
  checkTotal(bacnet, SAMPLES);
});

describeWithCorpus('against tshark', () => {
  test.each([
    'bacnet_services.pcap',
    'bacnet_example.pcap',
    'bacnet_error_reject_abort.pcap',
    'bacnet.pcap',
    'bacnet_test.pcap',
  ])('%s: the same services, as often', async (name) => {
    const path = corpusPath(`ot/bacnet/${name}`);
    const fields = ['bacapp.type', 'bacapp.confirmed_service', 'bacapp.unconfirmed_service'];
    // Segments behind the first, and their acknowledgements, are not decoded.
    const rows = tsharkRows(
      path,
      fields,
      'bacapp && udp.port == 47808 && !(bacapp.sequence_number > 0) && bacapp.type != 4',
    );
    const { operations, violations } = await hearCapture(bacnet, path);
    // In one capture devices put a length of 17 into each answer and password, and it is told.
    expect(violations.filter((reason) => reason !== 'length field and message disagree')).toEqual([]);
    expect(violations).toHaveLength(name === 'bacnet_example.pcap' ? 240 : 0);
    const ours = operations.filter((o) => !/bvlc|network|router|foreign|broadcast/.test(o.name));
    const theirs = rows.map(([type, confirmed, unconfirmed]) =>
      Number(type) >= 6
        ? 'refused'
        : Number(type) === 1
          ? `unconfirmed ${unconfirmed}`
          : `confirmed ${confirmed}`,
    );
    const isUnconfirmed = (o: string): boolean => /^(i-|who-|you-|unconfirmed|time|utc|write-group)/.test(o);
    expect(
      tally(
        ours.map((o) => (o.code < 0 ? 'refused' : `${isUnconfirmed(o.name) ? 'un' : ''}confirmed ${o.code}`)),
      ),
    ).toEqual(tally(theirs));
  });

  test('the same objects', async () => {
    const path = corpusPath('ot/bacnet/bacnet_services.pcap');
    const rows = tsharkRows(
      path,
      ['bacapp.instance_number'],
      'udp && bacapp.type == 0 && bacapp.confirmed_service == 12',
    );
    const { operations } = await hearCapture(bacnet, path);
    const reads = operations.filter((o) => o.name === 'read-property' && !o.isResponse);
    expect(tally(reads.map((o) => Number(/:(\d+)/.exec(o.object)?.[1])))).toEqual(
      tally(rows.map((row) => Number(row[0]))),
    );
  });
});
