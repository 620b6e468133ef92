/** MQTT by the book, in all three versions, and what breaks it. */
import { describe, expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { mqtt } from './mqtt.ts';
import { field, packet, connect } from './mqtt-testing.ts';
import { checkTotal, hear, hearCapture, tsharkRows, tsharkValues } from './ot-test-support.ts';

const SECRET = 'hunter2';
const CONNECT = connect({ client: 'pump-7', user: 'operator', password: SECRET });
const CONNECT_5 = connect({ level: 5, client: 'pump-7', user: 'operator', password: SECRET });
const PUBLISH = packet(0x30, field('plant/level'), Buffer.from('21.5'));
const PUBLISH_5 = packet(0x32, field('plant/level'), [0, 9, 2, 1, 0], Buffer.from('21.5'));
const SUBSCRIBE = packet(0x82, [0, 1], field('plant/+/level'), [1], field('#'), [0]);
const SUBSCRIBE_5 = packet(0x82, [0, 1, 0], field('plant/#'), [1]);
const PING = packet(0xc0);

describe('a conversation', () => {
  it.each([
    ['3.1.1', CONNECT, [0, 5], 'not-authorized'],
    ['5', CONNECT_5, [0, 0x86, 0], 'bad-user-name-or-password'],
  ])('of version %s tells who connects, without the password, and why it is refused', (version, bytes, code, exception) => {
    const memory: Memory = {};
    const { operations, facts, violations } = hear(mqtt, bytes, { memory });
    const told = [['mqtt-version', version], ['mqtt-client', 'pump-7'], ['mqtt-user', 'operator']];
    expect(facts.filter(([key]) => key !== 'password')).toEqual(told);
    expect(facts.length).toBe(bytes.includes(SECRET) ? 4 : 3);
    expect(operations).toMatchObject([{ action: 'session', name: 'connect', object: 'pump-7', isResponse: false }]);
    expect(violations).toEqual([]);
    const { operations: answers } = hear(mqtt, packet(0x20, code), { memory, isFromClient: false });
    expect(answers).toMatchObject([{ name: 'connect', object: 'pump-7', isResponse: true, exception }]);
    expect(JSON.stringify([operations, facts, answers, memory])).not.toContain(SECRET);
  }); // prettier-ignore

  it('tells topics, filters and values', () => {
    const five: Memory = { level: 5 };
    for (const [bytes, memory] of [[PUBLISH, {}], [PUBLISH, { level: 4 }], [PUBLISH_5, five]] as const)
      expect(hear(mqtt, bytes, { memory }).operations).toMatchObject([
        { action: 'report', name: 'publish', object: 'plant/level', value: 21.5, count: 1 },
      ]); // prettier-ignore
    expect(hear(mqtt, SUBSCRIBE).operations).toMatchObject([
      { action: 'read', name: 'subscribe', object: 'plant/+/level', count: 2 },
      { name: 'subscribe', object: '#' },
    ]);
    for (const memory of [{}, five])
      expect(hear(mqtt, SUBSCRIBE_5, { memory })).toMatchObject({ operations: [{ object: 'plant/#' }], violations: [] }); // prettier-ignore
    expect(hear(mqtt, packet(0x90, [0, 1, 0x80]), { isFromClient: false }).operations).toMatchObject([
      { name: 'subscribe', isResponse: true, exception: 'unspecified-error' },
    ]);
    expect(hear(mqtt, PING).operations).toMatchObject([{ name: 'ping', isResponse: false }]);
    expect(hear(mqtt, packet(0xe0, [0x8e]), { memory: five, isFromClient: false }).operations).toMatchObject([
      { name: 'disconnect', isResponse: true, exception: 'session-taken-over' },
    ]);
  });
});

it.each([
  ['reserved flags are set', packet(0x12, CONNECT.subarray(2)), {}],
  ['reserved flags are set', connect({ flags: 0x03 }), {}],
  ['QoS is 3', connect({ flags: 0x1e }), {}],
  ['QoS is 3', packet(0x36, field('a'), [0, 1]), {}],
  ['a password without a user name', connect({ password: 'x' }), {}],
  ['protocol has another name', connect({ name: 'MQTX' }), {}],
  ['protocol level is not defined', connect({ level: 9 }), {}],
  ['CONNECT for a second time', CONNECT, { level: 4 }],
  ['CONNECT is too short', packet(0x10, field('MQTT'), [4]), {}],
  ['field longer than its packet', packet(0x30, [0, 9], Buffer.from('abc')), {}],
  ['wildcard in a topic that is published', packet(0x30, field('plant/#')), {}],
  ["a client publishes in the broker's name", packet(0x30, field('$SYS/broker/load')), {}],
  ['topic is empty', packet(0x30, field('')), { level: 4 }],
  ['packet identifier is 0', packet(0x32, field('a'), [0, 0]), {}],
  ['a repetition without QoS', packet(0x38, field('a')), {}],
  ['wildcard in the wrong place', packet(0x82, [0, 1], field('plant#'), [0]), { level: 4 }],
  ['wildcard in the wrong place', packet(0x82, [0, 1], field('#/plant'), [0]), { level: 4 }],
  ['no topic is named', packet(0x82, [0, 1]), { level: 4 }],
  ['zero in a text', packet(0x30, field('a\0b')), {}],
  ['packet from the wrong side', packet(0x90, [0, 1, 0]), { level: 4 }],
  ['packet type is not of this version', packet(0xf0), { level: 4 }],
  ['bytes behind the last field', packet(0xc0, [1]), {}],
  ['remaining length over four bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]), {}],
] as const)('%s', (reason, bytes, memory) => {
  expect(hear(mqtt, bytes, { memory: { ...memory } }).violations).toContain(reason);
});

it('frames are cut out by their remaining length, and what is none is left to others', () => {
  const long = packet(0x30, field('a'), Buffer.alloc(300));
  expect(mqtt.messageBytes?.(long, 0, long.byteLength)).toBe(long.byteLength);
  expect(mqtt.messageBytes?.(long, 0, 2)).toBe(NEED_MORE);
  expect(mqtt.messageBytes?.(long, 0, 1)).toBe(NEED_MORE);
  for (const other of ['GET / HTTP/1.1\r\n', 'SSH-2.0-x\r\n', '\x16\x03\x01\x00\x05abcde', '\0\0\0\0\0\x06'])
    expect(mqtt.messageBytes?.(Buffer.from(other, 'latin1'), 0, other.length), other).toBe(NOT_OURS);
  for (const ours of [CONNECT, CONNECT_5, connect({ level: 3, name: 'MQIsdp' })])
    expect(mqtt.looksLike?.(ours, 0, ours.byteLength)).toBe(true);
  for (const other of [PUBLISH, PING, SUBSCRIBE, connect({ level: 9 }), connect({ name: 'MQTX' })])
    expect(mqtt.looksLike?.(other, 0, other.byteLength)).toBe(false);
});

it('whatever the bytes, it is total and bounded', () => {
  checkTotal(mqtt, [CONNECT, CONNECT_5, PUBLISH, PUBLISH_5, SUBSCRIBE, SUBSCRIBE_5, PING, packet(0x20, [0, 0]), packet(0x90, [0, 1, 0]), packet(0xe0, [4])]); // prettier-ignore
});

describeWithCorpus('over a real capture', () => {
  it('packets, topics and clients are those of tshark', async () => {
    const path = corpusPath('ot/other-ot/MQTT.pcap');
    const { operations, facts } = await hearCapture(mqtt, path);
    const asked = (name: string): string[] => operations.filter((one) => one.name === name && !one.isResponse).map(({ object }) => object); // prettier-ignore
    expect(asked('connect').length).toBe(tsharkValues(path, 'mqtt.msgtype', 'mqtt.msgtype == 1').length);
    // Some segments are cut, behind which tshark reads content as packets: so only one way.
    const topics = new Set(tsharkRows(path, ['mqtt.topic'], 'mqtt.topic').flatMap(([row]) => (row ?? '').split(','))); // prettier-ignore
    for (const name of ['publish', 'subscribe']) {
      const whole = asked(name).filter((topic) => topic.length < 64);
      expect(whole.length).toBeGreaterThan(5);
      for (const topic of whole) expect(topics).toContain(topic);
    }
    const clients = new Set(facts.filter(([key]) => key === 'mqtt-client').map(([, value]) => value));
    expect(clients).toEqual(new Set(tsharkValues(path, 'mqtt.clientid')));
  });
});
