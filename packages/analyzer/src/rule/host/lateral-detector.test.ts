/** Which calls of DCOM are another machine in somebody's hands, and which keep a plant's OPC alive. */
import { expect, it } from 'vitest';
import type { Alert } from '../../alert/alert-desk.ts';
import { Rig } from '../../engine-testing.ts';
import { bytesOf, utf16 } from '../../protocol/it-testing.ts';
import { connection } from '../traffic-testing.ts';

const OBJECT_EXPORTER = 'c4fefc9960521b10bbcb00aa0021347a';
const SYSTEM_ACTIVATOR = 'a001000000000000c000000000000046';

/** A bind to the interface and a call of one of its procedures, at the end point mapper. */
function called(uuid: string, opnum: number): Alert | undefined {
  const bind = bytesOf('05000b03 10000000 4800 0000 01000000 b810b810 00000000 01000000 0000 0100', uuid, '00000000', '045d888aeb1cc9119fe808002b104860 02000000'); // prettier-ignore
  const request = bytesOf('05000003 10000000 2000 0000 02000000 00000000 0000', [opnum, 0], '0102030405060708'); // prettier-ignore
  const packets = connection('10.0.0.66:5000', '10.0.0.2:135', [['>', bind], ['>', request]], 0); // prettier-ignore
  return new Rig().add(packets).finish().alert('remote-administration');
}

it.each([
  ['ResolveOxid', 0],
  ['SimplePing', 1],
  ['ComplexPing', 2],
  ['ResolveOxid2', 4],
])('%s, which keeps objects alive, is a thing to know', (_, opnum) => {
  expect(called(OBJECT_EXPORTER, opnum)).toMatchObject({ severity: 'low', technique: 'T0846' });
});

it.each([
  ['ServerAlive', OBJECT_EXPORTER, 3],
  ['ServerAlive2', OBJECT_EXPORTER, 5],
  ['RemoteCreateInstance', SYSTEM_ACTIVATOR, 4],
])('%s, which begins something, is told', (_, uuid, opnum) => {
  expect(called(uuid, opnum)).toMatchObject({ severity: 'medium', source: '10.0.0.66' });
});

it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'])(
  'a pipe that is called %s is no means of anything',
  (name) => {
    const path = utf16(name);
    const body = bytesOf('3900', new Uint8Array(42), '7800', [path.byteLength, 0], new Uint8Array(8), path);
    const create = bytesOf('fe534d42 40000000 00000000', [5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], new Uint8Array(39), body); // prettier-ignore
    const framed = bytesOf([0, 0, create.byteLength >> 8, create.byteLength & 255], create);
    const rig = new Rig().add(connection('10.0.0.66:5000', '10.0.0.2:445', [['>', framed]], 0)).finish();
    expect(rig.flows[0]?.service).toBe('smb');
    expect([...rig.alerts.values()].filter(({ title }) => typeof title !== 'string')).toEqual([]);
    expect(rig.rules).not.toContain('remote-administration');
  },
);
