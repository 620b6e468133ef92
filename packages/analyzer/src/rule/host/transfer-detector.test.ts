/** What is carried in plain sight, and how loud it is told. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { connection } from '../traffic-testing.ts';

type Line = readonly ['>' | '<', string | Uint8Array];

function told(server: string, lines: readonly Line[]): object[] {
  const { alerts } = new Rig().add(connection('10.0.0.1:5000', server, lines, 0)).finish();
  return [...alerts.values()].filter(({ rule }) => rule === 'file-transfer').map(({ severity, title }) => ({ severity, title })); // prettier-ignore
}

const ELF = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]), Buffer.alloc(64)]);

it('a program for Linux is firmware when its host has a name, and a dropper’s when it has none', () => {
  const fetched = (host: string): object[] =>
    told('10.0.0.9:80', [
      ['>', `GET /update.bin HTTP/1.1\r\nHost: ${host}\r\n\r\n`],
      ['<', Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), ELF])],
    ]);
  expect(fetched('updates.example')).toMatchObject([{ severity: 'low' }]);
  expect(fetched('10.0.0.9:80')).toContainEqual({ severity: 'medium', title: 'A program comes over the network' }); // prettier-ignore
});

it('a file that is put on a host outside is told, inside it is not', () => {
  const put: Line[] = [
    ['<', '220 ready\r\n'],
    ['>', 'STOR recipes.zip\r\n'],
    ['<', '150 go on\r\n'],
  ];
  expect(told('203.0.113.9:21', put)).toEqual([{ severity: 'medium', title: 'A file leaves the plant' }]);
  expect(told('10.0.0.9:21', put)).toEqual([]);
});
