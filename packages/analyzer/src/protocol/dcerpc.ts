/**
 * DCE/RPC over connections (C706, MS-RPCE); the byte order stands in each message:
 *
 *   0 version = 5 (1)   1 minor (1)   2 kind (1)   3 flags (1)   4 data representation (4)   8 length of all (2)   10 length of its
 *   authentication (2)   12 call (4)
 *   bind: 16 fragment sizes (4)   20 group (4)   24 contexts (1)   25 reserved (3)   28 contexts, each: number (2), transfer syntaxes (1),
 *   reserved (1), interface (16), its version (4), transfer syntaxes (20 each)
 *   request: 16 size hint (4)   20 context (2)   22 operation (2)        fault: 24 status (4)
 *
 * Which interface a context stands for is said once, by the bind; which operation an answer belongs to only by its call: both are
 * remembered. The same messages travel through SMB's named pipes: smb.ts hands them over with the pipe as `scope`.
 */
import { be16, be32, hex, le16, le32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
  type Memory,
  type Operation,
  type Sink,
} from './dissector.ts';
import { recall, remember } from './memo.ts';
import { tellOddArguments } from './dcerpc-oddity.ts';
import { tellNtlm } from './ntlmssp.ts';

const HEADER_BYTES = 16;
const KIND_REQUEST = 0;
const KIND_RESPONSE = 2;
const KIND_FAULT = 3;
const KIND_BIND = 11;
const KIND_BIND_ACK = 12;
const KIND_BIND_NAK = 13;
const KIND_ALTER = 14;
const KIND_ALTER_ACK = 15;
const KIND_AUTH3 = 16;
const KIND_MAX = 19;
const FLAG_FIRST = 1;
const CONTEXT_BYTES = 24;
const TRANSFER_BYTES = 20;
const CONTEXTS_MAX = 8;

const INTERFACES: ReadonlyMap<string, string> = new Map([
  ['e1af8308-5d1f-11c9-91a4-08002b14a0fa', 'epm'],
  ['afa8bd80-7d8a-11c9-bef4-08002b102989', 'mgmt'],
  ['367abb81-9844-35f1-ad32-98f038001003', 'svcctl'],
  ['12345778-1234-abcd-ef00-0123456789ac', 'samr'],
  ['12345778-1234-abcd-ef00-0123456789ab', 'lsarpc'],
  ['3919286a-b10c-11d0-9ba8-00c04fd92ef5', 'dssetup'],
  ['e3514235-4b06-11d1-ab04-00c04fc2dcd2', 'drsuapi'],
  ['338cd001-2244-31f1-aaaa-900038001003', 'winreg'],
  ['1ff70682-0a51-30e8-076d-740be8cee98b', 'atsvc'],
  ['86d35949-83c9-4044-b424-db363231fd0c', 'ITaskSchedulerService'],
  ['4b324fc8-1670-01d3-1278-5a47bf6ee188', 'srvsvc'],
  ['6bffd098-a112-3610-9833-46c3f87e345a', 'wkssvc'],
  ['6bffd098-a112-3610-9833-012892020162', 'browser'],
  ['12345678-1234-abcd-ef00-01234567cffb', 'netlogon'],
  ['12345678-1234-abcd-ef00-0123456789ab', 'spoolss'],
  ['76f03f96-cdfd-44fc-a22c-64950a001209', 'IRemoteWinspool'],
  ['82273fdc-e32a-18c3-3f78-827929dc23ea', 'eventlog'],
  ['f6beaff7-1e19-4fbb-9f8f-b89e2018337c', 'eventlog6'],
  ['c681d488-d850-11d0-8c52-00c04fd90f7e', 'efsrpc'],
  ['df1941c5-fe89-4e79-bf10-463657acf44d', 'efsrpc'],
  ['4fc742e0-4a10-11cf-8273-00aa004ae673', 'netdfs'],
  ['a8e0653c-2744-4389-a61d-7373df8b2292', 'FileServerVssAgent'],
  ['3dde7c30-165d-11d1-ab8f-00805f14db40', 'BackupKey'],
  ['50abc2a4-574d-40b3-9d66-ee4fd5fba076', 'dnsserver'],
  ['894de0c0-0d55-11d3-a322-00c04fa321a1', 'initshutdown'],
  ['8d9f4e40-a03d-11ce-8f69-08003e30051b', 'pnp'],
  ['300f3532-38cc-11d0-a3f0-0020af6b0add', 'trkwks'],
  ['91ae6020-9e3c-11cf-8d7c-00aa00c091be', 'icertpassage'],
  ['4d9f4ab8-7d1c-11cf-861e-0020af6e7c57', 'IActivation'],
  ['000001a0-0000-0000-c000-000000000046', 'ISystemActivator'],
  ['99fcfec4-5260-101b-bbcb-00aa0021347a', 'IObjectExporter'],
  ['00000131-0000-0000-c000-000000000046', 'IRemUnknown'],
  ['00000143-0000-0000-c000-000000000046', 'IRemUnknown2'],
  ['00020400-0000-0000-c000-000000000046', 'IDispatch'],
  ['9556dc99-828c-11cf-a37e-00aa003240c7', 'IWbemServices'],
  ['f309ad18-d86a-11d0-a075-00c04fb68820', 'IWbemLevel1Login'],
  ['d4781cd6-e5d3-44df-ad94-930efe48a887', 'IWbemLoginClientID'],
  ['027947e1-d731-11ce-a357-000000000001', 'IEnumWbemClassObject'],
  ['1c1c45ee-4395-11d2-b60b-00104b703efd', 'IWbemFetchSmartEnum'],
  ['423ec01e-2e35-11d2-b604-00104b703efd', 'IWbemWCOSmartEnum'],
]);

/** Offered beside a real interface to ask for optional features: any 16 bytes that begin so. */
const FEATURES_PREFIX = '6cb71c2c-9812-4540-';

/** Operations that do something to the host; all others are `other`. */
const ACTIONS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['epm:2', 'discover'],
  ['epm:3', 'discover'],
  ['IObjectExporter:5', 'discover'],
  ['samr:6', 'discover'],
  ['samr:11', 'discover'],
  ['samr:13', 'discover'],
  ['srvsvc:12', 'discover'],
  ['srvsvc:15', 'discover'],
  ['wkssvc:2', 'discover'],
  ['drsuapi:3', 'read'],
  ['winreg:17', 'read'],
  ['samr:58', 'write'],
  ['netlogon:30', 'write'],
  ['winreg:22', 'write'],
  ['svcctl:1', 'control'],
  ['svcctl:2', 'control'],
  ['svcctl:11', 'control'],
  ['svcctl:12', 'control'],
  ['svcctl:19', 'control'],
  ['svcctl:24', 'control'],
  ['svcctl:31', 'control'],
  ['svcctl:44', 'control'],
  ['atsvc:0', 'control'],
  ['ITaskSchedulerService:1', 'control'],
  ['ITaskSchedulerService:12', 'control'],
  ['initshutdown:0', 'control'],
  ['initshutdown:2', 'control'],
  ['IActivation:0', 'control'],
  ['ISystemActivator:3', 'control'],
  ['ISystemActivator:4', 'control'],
  ['IWbemServices:24', 'control'],
]);

const FAULTS: ReadonlyMap<number, string> = new Map([
  [5, 'access-denied'],
  [0x721, 'security-package-error'],
  [0x6f7, 'bad-stub-data'],
  [0x1c01_0002, 'operation-range-error'],
  [0x1c01_0003, 'unknown-interface'],
  [0x1c01_000b, 'protocol-error'],
  [0x1c00_001a, 'context-mismatch'],
]);

/** Calls waiting for their answers, as [scope, call, context, operation] four by four. */
const PENDING_NUMBERS_MAX = 4 * 12;

const operation = createOperation('dcerpc');

export const dcerpc: Dissector = {
  name: 'dcerpc',
  tcpPorts: [135],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < HEADER_BYTES) return end > at && bytes[at] !== 5 ? NOT_OURS : NEED_MORE;
    return isHeader(bytes, at, end) ? fragmentBytes(bytes, at) : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    if (!isHeader(bytes, at, end)) return false;
    const kind = bytes[at + 2] as number;
    const length = fragmentBytes(bytes, at);
    if (kind === KIND_BIND) return length >= 28 + CONTEXT_BYTES + TRANSFER_BYTES && length === end - at;
    return (
      kind === KIND_REQUEST &&
      ((bytes[at + 3] as number) & FLAG_FIRST) !== 0 &&
      length >= 24 &&
      length <= 8192
    );
  },

  dissect({ bytes, at, end, memory }, sink) {
    resetOperation(operation);
    if (isHeader(bytes, at, end)) dissectDcerpc(bytes, at, end, memory, 0, operation, sink);
    else sink.violation('message shorter than its header, or of another version');
  },
};

/** Whether a message begins at `at`: strict enough to find those among the bytes that are written to files. */
export function isHeader(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    end - at >= HEADER_BYTES &&
    bytes[at] === 5 &&
    (bytes[at + 1] as number) <= 1 &&
    (bytes[at + 2] as number) <= KIND_MAX &&
    ((bytes[at + 4] as number) & 0xee) === 0 &&
    (bytes[at + 5] as number) <= 3 &&
    be16(bytes, at + 6) === 0 &&
    fragmentBytes(bytes, at) >= HEADER_BYTES
  );
}

function isLittle(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at + 4] as number) & 0x10) !== 0;
}

function fragmentBytes(bytes: Uint8Array, at: number): number {
  return isLittle(bytes, at) ? le16(bytes, at + 8) : be16(bytes, at + 8);
}

/**
 * Reads one message that has passed `isHeader` and gives at most one operation, in the carrier's `out`, whose protocol and object stay as they
 * are. `scope` tells the pipes of one connection apart.
 */
export function dissectDcerpc(
  bytes: Uint8Array,
  at: number,
  end: number,
  memory: Memory,
  scope: number,
  out: Operation,
  sink: Sink,
): void {
  const [u16, u32] = isLittle(bytes, at) ? [le16, le32] : [be16, be32];
  const kind = bytes[at + 2] as number;
  const call = u32(bytes, at + 12);
  const last = Math.min(end, at + fragmentBytes(bytes, at));
  out.code = -1;
  out.action = 'session';
  switch (kind) {
    case KIND_BIND:
    case KIND_ALTER:
      out.name = kind === KIND_BIND ? 'bind' : 'alter-context';
      bind(bytes, at, last, memory, scope, out, sink);
      break;
    case KIND_REQUEST: {
      // The later fragments of a long request repeat what the first one says.
      if (((bytes[at + 3] as number) & FLAG_FIRST) === 0) return;
      if (last - at < 24) {
        sink.violation('request shorter than its header');
        return;
      }
      const context = u16(bytes, at + 20);
      const opnum = u16(bytes, at + 22);
      called(memory, scope, context, opnum, out);
      tellOddArguments(out.name, bytes, at + 24, last, sink);
      const pending = (memory['rpcCalls'] ??= []) as number[];
      if (pending.length >= PENDING_NUMBERS_MAX) pending.splice(0, 4);
      pending.push(scope, call, context, opnum);
      break;
    }
    case KIND_RESPONSE:
    case KIND_FAULT: {
      if (((bytes[at + 3] as number) & FLAG_FIRST) === 0) return;
      answered(memory, scope, call, out);
      if (kind === KIND_FAULT) {
        const status = last - at >= 28 ? u32(bytes, at + 24) : 0;
        out.exception = FAULTS.get(status) ?? hex(status, 8);
      }
      break;
    }
    case KIND_BIND_ACK:
    case KIND_ALTER_ACK:
      out.name = kind === KIND_BIND_ACK ? 'bind-ack' : 'alter-context-ack';
      out.isResponse = true;
      if (isRejected(bytes, at, last)) out.exception = 'rejected';
      break;
    case KIND_BIND_NAK:
      out.name = 'bind-nak';
      out.isResponse = true;
      out.exception = `reason-${last - at >= 18 ? u16(bytes, at + 16) : 0}`;
      break;
    case KIND_AUTH3:
      out.name = 'auth3';
      break;
    default:
      return;
  }
  if (kind === KIND_BIND || kind === KIND_ALTER || kind === KIND_AUTH3) tellNtlm(bytes, at, last, sink);
  sink.operation(out);
}

function called(memory: Memory, scope: number, context: number, opnum: number, out: Operation): void {
  const known = recall(memory, 'rpcContexts', `${scope}.${context}`);
  out.name = `${known === '' ? 'unknown' : known}:${opnum}`;
  out.action = ACTIONS.get(out.name) ?? 'other';
  out.code = opnum;
}

function answered(memory: Memory, scope: number, call: number, out: Operation): void {
  const pending = (memory['rpcCalls'] ?? []) as number[];
  out.isResponse = true;
  out.action = 'other';
  out.name = 'unknown:response';
  for (let i = 0; i < pending.length; i += 4) {
    if (pending[i] !== scope || pending[i + 1] !== call) continue;
    called(memory, scope, pending[i + 2] as number, pending[i + 3] as number, out);
    pending.splice(i, 4);
    return;
  }
}

function bind(
  bytes: Uint8Array,
  at: number,
  end: number,
  memory: Memory,
  scope: number,
  out: Operation,
  sink: Sink,
): void {
  if (end - at < 28) {
    sink.violation('bind shorter than its header');
    return;
  }
  const little = isLittle(bytes, at);
  const contexts = bytes[at + 24] as number;
  out.count = contexts;
  let next = at + 28;
  let told = '';
  for (let i = 0; i < contexts && i < CONTEXTS_MAX * 4; i++) {
    if (next + CONTEXT_BYTES > end) {
      sink.violation('context beyond the end of the bind');
      return;
    }
    const uuid = uuidAt(bytes, next + 4, little);
    const found = INTERFACES.get(uuid) ?? uuid;
    const number = little ? le16(bytes, next) : be16(bytes, next);
    remember(memory, 'rpcContexts', `${scope}.${number}`, found, CONTEXTS_MAX);
    // The same interface is offered once for each transfer syntax.
    if (found !== told && !uuid.startsWith(FEATURES_PREFIX)) {
      sink.fact('rpc-interface', found);
      if (told === '' && out.object === '') out.object = found;
      told = found;
    }
    next += CONTEXT_BYTES + (bytes[next + 2] as number) * TRANSFER_BYTES;
  }
}

/** Whether none of the contexts was accepted. */
function isRejected(bytes: Uint8Array, at: number, end: number): boolean {
  const u16 = isLittle(bytes, at) ? le16 : be16;
  if (end - at < 26) return false;
  // Fragment sizes and group, then the server's address with its length, filled up to four bytes.
  const address = 26 + u16(bytes, at + 24);
  const results = at + address + ((4 - (address % 4)) % 4);
  const count = results + 4 <= end ? (bytes[results] as number) : 0;
  for (let i = 0; i < count; i++) {
    const result = results + 4 + i * 24;
    if (result + 2 > end || u16(bytes, result) === 0) return false;
  }
  return count > 0;
}

function uuidAt(bytes: Uint8Array, at: number, little: boolean): string {
  const [u16, u32] = little ? [le16, le32] : [be16, be32];
  const tail = (from: number, to: number): string => {
    let out = '';
    for (let i = from; i < to; i++) out += (bytes[at + i] as number).toString(16).padStart(2, '0');
    return out;
  };
  const head = [
    u32(bytes, at).toString(16).padStart(8, '0'),
    u16(bytes, at + 4)
      .toString(16)
      .padStart(4, '0'),
  ];
  return [
    ...head,
    u16(bytes, at + 6)
      .toString(16)
      .padStart(4, '0'),
    tail(8, 10),
    tail(10, 16),
  ].join('-');
}
