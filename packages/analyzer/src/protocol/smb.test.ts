import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import {
  ascii,
  bytesOf,
  dissectOne,
  replay,
  testHostileBytes,
  tsharkFields,
  utf16,
  type Recorder,
} from './it-testing.ts';
import { smb } from './smb.ts';

function framed(body: Uint8Array): Uint8Array {
  return bytesOf([0, 0, body.byteLength >> 8, body.byteLength & 0xff], body);
}

function smb2(
  command: number,
  body: Uint8Array,
  options: { response?: boolean; status?: string; id?: number } = {},
): Uint8Array {
  return framed(
    bytesOf(
      'fe534d42 4000 0000',
      options.status ?? '00000000',
      [command, 0, 1, 0, options.response === true ? 1 : 0, 0, 0, 0, 0, 0, 0, 0, options.id ?? 7],
      new Uint8Array(39),
      body,
    ),
  );
}

function smb1(
  command: number,
  words: Uint8Array,
  data: Uint8Array,
  options: { response?: boolean; mid?: number } = {},
): Uint8Array {
  return framed(
    bytesOf(
      'ff534d42',
      [command],
      '00000000',
      [options.response === true ? 0x98 : 0x18],
      '07c0',
      new Uint8Array(18),
      [options.mid ?? 0x40, 0, words.byteLength / 2],
      words,
      [data.byteLength & 0xff, data.byteLength >> 8],
      data,
    ),
  );
}

const TREE = utf16('\\\\HOST\\IPC$');
const PIPE = utf16('svcctl');
const RPC_BIND = bytesOf(
  '05000b03 10000000 4800 0000 01000000 d016d016 00000000 01000000 0000 01 00 81bb7a364498f135ad3298f038001003 02000000',
  '045d888aeb1cc9119fe808002b104860 02000000',
);
const RPC_REQUEST = bytesOf('05000003 10000000 1800 0000 02000000 00000000 0000 0c00');
const FILE = '11223344 00000000 55667788 00000000';

const NEGOTIATE_ANSWER = smb2(0, bytesOf('4100 0100 1103', new Uint8Array(60)), { response: true });
const LOGON_FAILURE = smb2(1, bytesOf('0900 0000'), { response: true, status: '6d0000c0' });
const TREE_CONNECT = smb2(3, bytesOf('0900 0000 4800', [TREE.byteLength, 0], TREE));
const CREATE = smb2(
  5,
  bytesOf('3900', new Uint8Array(42), '7800', [PIPE.byteLength, 0], new Uint8Array(8), PIPE),
);
const CREATE_ANSWER = smb2(5, bytesOf('5900', new Uint8Array(62), FILE, new Uint8Array(8)), {
  response: true,
});
const WRITE = smb2(9, bytesOf('3100 7000 48000000 0000000000000000', FILE, new Uint8Array(16), RPC_BIND));
const IOCTL = smb2(
  11,
  bytesOf(
    '3900 0000 17c01100',
    FILE,
    '78000000 18000000 00000000 00000000 00000000 00000000 01000000 00000000',
    RPC_REQUEST,
  ),
);
const NO_NAMES = new Uint8Array(0);
const PEEK = smb1(0x25, bytesOf(new Uint8Array(26), '0200 2300 0000'), bytesOf(ascii('\\PIPE\\\0')));
const T2_SETUP = smb1(0x32, bytesOf(new Uint8Array(26), '0100 0e00'), new Uint8Array(13), { mid: 0x41 });
const T2_ANSWER = smb1(0x32, NO_NAMES, NO_NAMES, { response: true, mid: 0x51 });
const TREE1 = smb1(0x75, bytesOf('ff00 0000 0000 0100'), bytesOf('00 ', TREE, '0000', ascii('?????\0')));

function converse(...messages: [Uint8Array, boolean][]): Recorder[] {
  const memory: Memory = {};
  return messages.map(([bytes, isFromClient]) => dissectOne(smb, bytes, { memory, isFromClient }));
}

test('SMB 2: dialect, refusals, names of shares and files', () => {
  expect(dissectOne(smb, NEGOTIATE_ANSWER).facts).toEqual([['dialect', 'SMB 3.1.1']]);
  expect(dissectOne(smb, LOGON_FAILURE).operations).toMatchObject([
    {
      protocol: 'smb',
      action: 'session',
      name: 'session-setup',
      isResponse: true,
      exception: 'logon-failure',
    },
  ]);
  expect(dissectOne(smb, TREE_CONNECT).operations).toMatchObject([
    { name: 'tree-connect', object: '\\\\HOST\\IPC$' },
  ]);
  expect(dissectOne(smb, CREATE).operations).toMatchObject([
    { action: 'file', name: 'create', object: 'svcctl' },
  ]);
});

test('SMB 2: what goes through a pipe is named by its interface', () => {
  const told = converse([CREATE, true], [CREATE_ANSWER, false], [WRITE, true], [IOCTL, true]);
  expect(told.flatMap((recorder) => recorder.violations)).toEqual([]);
  expect(told[2]?.operations).toMatchObject([
    { name: 'write', object: 'svcctl', value: 72 },
    { name: 'bind', object: 'svcctl' },
  ]);
  expect(told[2]?.facts).toEqual([['rpc-interface', 'svcctl']]);
  expect(told[3]?.operations).toMatchObject([
    { action: 'control', name: 'ioctl', object: 'svcctl' },
    { protocol: 'smb', action: 'control', name: 'svcctl:12', code: 12, object: 'svcctl' },
  ]);
});

test('SMB 1: what MS17-010 needs and leaves behind', () => {
  expect(dissectOne(smb, TREE1).operations).toMatchObject([
    { name: 'tree-connect', object: '\\\\HOST\\IPC$' },
  ]);
  expect(dissectOne(smb, PEEK).names()).toEqual(['peek-named-pipe-fid0']);
  const told = converse([T2_SETUP, true], [T2_ANSWER, false]);
  expect(told.flatMap((recorder) => recorder.names())).toEqual([
    'trans2-session-setup',
    'doublepulsar-response',
  ]);
  expect(dissectOne(smb, T2_ANSWER).names()).toEqual(['trans2']);
});

test('frames', () => {
  expect(smb.messageBytes?.(CREATE, 0, 6)).toBe(NEED_MORE);
  expect(smb.messageBytes?.(CREATE, 0, 8)).toBe(CREATE.byteLength);
  expect(smb.messageBytes?.(bytesOf('85000000'), 0, 4)).toBe(4);
  expect(smb.messageBytes?.(ascii('GET / HTTP/1.1'), 0, 14)).toBe(NOT_OURS);
  for (const bytes of [CREATE, PEEK]) expect(smb.looksLike?.(bytes, 0, bytes.byteLength)).toBe(true);
  const ghost = framed(bytesOf('fc534d42 00010000 0100 0000 ffffffff', new Uint8Array(20)));
  expect(dissectOne(smb, ghost).violations).toEqual(['compression offset beyond the message']);
});

testHostileBytes(smb, [
  NEGOTIATE_ANSWER,
  LOGON_FAILURE,
  TREE_CONNECT,
  CREATE,
  CREATE_ANSWER,
  WRITE,
  IOCTL,
  PEEK,
  T2_SETUP,
  T2_ANSWER,
  TREE1,
]);

/** Commands by number; what goes through pipes is told besides, and is no command. */
function commands(recorder: Recorder): string[] {
  return recorder.operations
    .filter(({ name }) => !/:|^(bind|alter-context|auth3|bind-(ack|nak)|alter-context-ack)$/.test(name))
    .map(({ code }) => String(code))
    .sort();
}

describeWithCorpus('over real captures', () => {
  test('SMB 2 commands, pipes and users are those of tshark', async () => {
    for (const name of [
      'lateral/Remote_Pwd_Reset_RPC_Admin_Mimikatz_PostZeroLogon.pcapng',
      'lateral/CA_LM_SpoolSample_SMB_BiAuth.pcapng',
      'lateral-otrf/empire_smbexec_dcerpc_smb_svcctl_WORKSTATION6_2020-09-20025716.pcap',
      'lateral-otrf/covenant_sharpsc_query_dcerpc_smb_svcctl_2020-08-06012009.pcap',
    ]) {
      const path = corpusPath(`attacks/${name}`);
      const recorder = await replay(path, smb);
      const rows = tsharkFields(
        path,
        'smb2 || smb',
        [
          'smb2.cmd',
          'smb.cmd',
          'dcerpc.opnum',
          'dcerpc.pkt_type',
          'dcerpc.cn_flags.first_frag',
          'ntlmssp.auth.username',
        ],
        ['-E', 'aggregator=|'],
      ).map((line) => line.split('\t'));
      const column = (index: number, among = rows): string[] =>
        among.flatMap((row) => (row[index] ?? '').split('|')).filter((value) => value !== '');
      const expected = [...column(0), ...column(1).map((code) => String(Number(code)))];
      expect(commands(recorder), name).toEqual(expected.sort());
      const opnums = recorder.operations
        .filter((operation) => operation.name.includes(':') && !operation.isResponse)
        .map(({ code }) => String(code));
      const calls = column(
        2,
        rows.filter((row) => row[3] === '0' && row[4] === '1'),
      );
      expect(opnums.sort(), name).toEqual(calls.sort());
      expect(new Set(recorder.values('ntlm-user')), name).toEqual(
        new Set(column(5).filter((user) => user !== 'NULL')),
      );
    }
  });

  test('services that were made over SMB are named', async () => {
    const recorder = await replay(
      corpusPath('attacks/lateral-otrf/empire_smbexec_dcerpc_smb_svcctl_WORKSTATION6_2020-09-20025716.pcap'),
      smb,
    );
    expect(recorder.values('rpc-interface')).toContain('svcctl');
    expect(
      recorder.operations.filter(({ action, object }) => action === 'control' && object === 'svcctl').length,
    ).toBeGreaterThan(1);
  });

  test('SMB 1 commands are those of tshark, and MS17-010 is named', async () => {
    for (const [name, expected] of [
      ['Win7_eternalblue_scan.pcap', 'peek-named-pipe-fid0'],
      ['eternalblue-success-unpatched-win7.pcap', 'doublepulsar-response'],
      ['doublepulsar-backdoor-connect-win7.pcap', 'doublepulsar-response'],
    ] as const) {
      const path = corpusPath(`attacks/smb-ransomware/${name}`);
      const recorder = await replay(path, smb);
      expect(recorder.names(), name).toContain(expected);
    }
  });
});
