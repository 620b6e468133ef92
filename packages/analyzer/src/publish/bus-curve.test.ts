/** Who may connect to the bus: CURVE with listed keys, judged by ZAP. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Context, Request, curveKeyPair } from 'zeromq';
import { readClientKeys, readKeyPair, writeKeyPair, z85 } from './curve-keys.ts';
import { encodeReplayRequest } from './envelope.ts';
import { sampleRecords, until } from './publish-test-support.ts';
import {
  admit,
  ask,
  closeAll,
  closers,
  joined,
  openBus,
  serverKeys,
  subscribe,
  type ClientCurve,
} from './bus-testing.ts';

afterEach(closeAll);

describe('CURVE', () => {
  it('a listed key receives; a wrong client key, a wrong server key and no key receive nothing, and ZAP counts them', async () => {
    const keys = serverKeys();
    const siem = admit(keys, 'siem');
    const { bus, events } = await openBus({ curve: keys.curve });
    const stranger = curveKeyPair();
    const of = (pair: typeof stranger, serverKey: string): ClientCurve => ({ curveServerKey: serverKey, curvePublicKey: pair.publicKey, curveSecretKey: pair.secretKey }); // prettier-ignore
    const right = subscribe(bus, of(siem, keys.server.publicKey));
    const wrongs = [
      subscribe(bus, of(stranger, keys.server.publicKey)),
      subscribe(bus, of(siem, stranger.publicKey)),
      subscribe(bus),
    ];
    await joined(bus, right);
    await until(() => bus.zapCounters.refused > 0, 'a refusal');
    bus.sink.publish(sampleRecords(50, 2));
    await until(() => right.envelopes.length === 50, 'the alerts');
    await sleep(300);
    expect(wrongs.map(({ envelopes }) => envelopes.length)).toEqual([0, 0, 0]);
    expect(bus.zapCounters.admitted).toBe(1);
    expect(events.log.find(([kind]) => kind === 'refused')?.[1]).toMatchObject({ key: stranger.publicKey, reason: 'its key is not listed' }); // prettier-ignore
  });

  it('guards the replay as well', async () => {
    const keys = serverKeys();
    const siem = admit(keys, 'siem');
    const { bus } = await openBus({ curve: keys.curve });
    const request = encodeReplayRequest({ fromSequence: 1, limit: 10 });
    const curve = { curveServerKey: keys.server.publicKey, curvePublicKey: siem.publicKey, curveSecretKey: siem.secretKey }; // prettier-ignore
    expect((await ask(bus, request, curve)).error).toBe('');
    const stranger = new Request({ context: new Context(), linger: 0, receiveTimeout: 300, ...curve, curvePublicKey: curveKeyPair().publicKey }); // prettier-ignore
    closers.push(() => {
      stranger.close();
    });
    stranger.connect(bus.endpoints.replay);
    await stranger.send(request);
    await expect(stranger.receive()).rejects.toThrow();
  });

  it('a client that is listed later is admitted after a reload; a list that cannot be read leaves the old', async () => {
    const keys = serverKeys();
    const { bus } = await openBus({ curve: keys.curve });
    const siem = admit(keys, 'siem');
    const curve = { curveServerKey: keys.server.publicKey, curvePublicKey: siem.publicKey, curveSecretKey: siem.secretKey }; // prettier-ignore
    const early = subscribe(bus, curve);
    await until(() => bus.zapCounters.refused > 0, 'a refusal');
    bus.reopen();
    writeFileSync(join(keys.curve.clients, 'broken.pub'), 'no key\n');
    expect(() => {
      bus.reopen();
    }).toThrow(/broken\.pub/);
    // Who was refused does not come again by itself in libzmq: a new connection.
    early.socket.close();
    const listener = subscribe(bus, curve);
    await joined(bus, listener);
  });

  it('key files: modes, wrong contents, and Z85 as ZeroMQ writes it', () => {
    const keys = serverKeys();
    const pair = admit(keys, 'a');
    expect(readKeyPair(join(keys.directory, 'a.key'))).toEqual(pair);
    expect([...readClientKeys(keys.curve.clients)]).toEqual([[pair.publicKey, 'a']]);
    const open = join(keys.directory, 'open.key');
    writeFileSync(open, `${pair.publicKey}\n${pair.secretKey}\n`, { mode: 0o604 });
    expect(() => readKeyPair(open)).toThrow(/chmod/);
    writeFileSync(join(keys.directory, 'short.key'), `${pair.publicKey}\n`, { mode: 0o600 });
    expect(() => readKeyPair(join(keys.directory, 'short.key'))).toThrow(/public and a secret key/);
    expect(() => { writeKeyPair({ secret: open, public: `${open}.pub` }, 'x', pair); }).toThrow(/no key was made/); // prettier-ignore
    // The example of ZeroMQ's RFC 32.
    expect(z85(Buffer.from('864fd26fb559f75b', 'hex'))).toBe('HelloWorld');
  });
});
