/** Live capture and its interfaces: several, none, loopback, tunnels; those that go down, go away, and come back. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  NAMESPACE_NEED,
  canMakeNamespaces,
  enterNamespace,
  runIn,
} from '../../../../tests/support/namespace.ts';
import {
  MODBUS,
  OTHER,
  captureDuring,
  numbered,
  pair,
  send,
  setUp,
  start,
  tearDown,
} from './afpacket-testing.ts';

describe.skipIf(!canMakeNamespaces())(`live capture${NAMESPACE_NEED}`, () => {
  beforeEach(setUp);
  afterEach(tearDown);

  it('survives an interface that goes down, and goes on when it is up again', async () => {
    const log: string[] = [];
    const recovered = Promise.withResolvers<void>();
    const capture = start(
      {},
      {
        interfaceLost: (_, reason) => log.push(`lost ${reason}`),
        interfaceRecovered: () => {
          log.push('recovered');
          recovered.resolve();
        },
      },
    );
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      await send(numbered(10));
      pair.set(pair.receiver, 'down');
      await sleep(300);
      pair.set(pair.receiver, 'up');
      await recovered.promise;
      await send(numbered(20));
    });
    expect(log).toEqual(['lost ENETDOWN', 'recovered']);
    expect(packets.length).toBe(30);
    expect(capture.counters().interruptions).toBe(1);
  });

  it.each([true, false])(
    'finds an interface again that was deleted and made anew (promiscuous: %s)',
    async (promiscuous) => {
      const recovered = Promise.withResolvers<void>();
      const capture = start(
        { promiscuous, filter: 'tcp port 502' },
        { interfaceRecovered: () => { recovered.resolve(); } }, // prettier-ignore
      );
      await capture.open();
      const packets = await captureDuring(capture, async () => {
        await send(numbered(10));
        pair.disconnect();
        await sleep(400);
        pair.connect();
        await recovered.promise;
        await send(numbered(20, [MODBUS, OTHER]));
        expect(/promiscuity (\d)/.exec(linkDetails())?.[1]).toBe(promiscuous ? '1' : '0');
      });
      expect(packets.length).toBe(20);
    },
  );

  it('takes what this machine sends only when asked to', async () => {
    for (const [direction, count] of [
      ['both', 5],
      ['in', 0],
    ] as const) {
      // The other end: what the receiver hears, this one sends.
      enterNamespace(pair.sender);
      const capture = start({ interfaces: [pair.sender.interfaceName], direction });
      await capture.open();
      const packets = await captureDuring(capture, () => send(numbered(5)));
      expect(packets.length).toBe(count);
    }
  });

  it('sees each packet on loopback once', async () => {
    const capture = start({ interfaces: ['lo'], filter: 'udp' });
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      const socket = createSocket('udp4');
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      for (let i = 0; i < 10; i++) socket.send('hello', socket.address().port, '127.0.0.1');
      await sleep(50);
      socket.close();
    });
    expect(capture.interfaces).toEqual([{ name: 'lo', linkType: 1 }]);
    expect(packets.length).toBe(10);
  });

  it('takes several interfaces at once and says which one a packet is from', async () => {
    const capture = start({ interfaces: ['lo', pair.receiver.interfaceName] });
    await capture.open();
    const packets = await captureDuring(capture, async () => {
      await send(numbered(7));
      const socket = createSocket('udp4');
      socket.send('hello', 9, '127.0.0.1');
      await sleep(50);
      socket.close();
    });
    expect(capture.interfaces.map(({ name }) => name)).toEqual(['lo', pair.receiver.interfaceName]);
    expect(packets.filter(({ interfaceId }) => interfaceId === 1).length).toBe(7);
    // The datagram, and the answer that nobody listens on port 9.
    expect(packets.filter(({ interfaceId }) => interfaceId === 0).length).toBe(2);
  });

  it('gives plain IP packets their own link type', async () => {
    runIn(pair.receiver, ['ip', 'tuntap', 'add', 'tun0', 'mode', 'tun']);
    runIn(pair.receiver, ['ip', 'link', 'set', 'tun0', 'up']);
    const capture = start({ interfaces: ['tun0'] });
    await capture.open();
    expect(capture.interfaces).toEqual([{ name: 'tun0', linkType: 101 }]);
  });

  it('refuses with a remedy what cannot be captured', async () => {
    await expect(start({ interfaces: ['nowhere0'] }).open()).rejects.toThrow(/no such interface/);
    await expect(start({ interfaces: ['nowhere0'], filter: 'tcp' }).open()).rejects.toThrow(
      /no such interface/,
    );
    await expect(start({ interfaces: ['a-name-that-is-too-long'] }).open()).rejects.toThrow(
      /no interface has a name/,
    );
    await expect(start({ filter: 'tcp prt 502' }).open()).rejects.toThrow(/syntax error/);
    await expect(start({ ringBytes: 2 ** 45 }).open()).rejects.toThrow(/smaller/);
    pair.set(pair.receiver, 'down');
    await expect(start().open()).rejects.toThrow(/is down; `ip link set/);
    await expect(start({ filter: 'tcp' }).open()).rejects.toThrow(/is down; `ip link set/);
  });
});

function linkDetails(): string {
  return runIn(pair.receiver, ['ip', '-d', 'link', 'show', pair.receiver.interfaceName]);
}
