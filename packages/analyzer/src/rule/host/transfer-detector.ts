/**
 * What is carried in plain sight: programs that come over the network, and command shells that answer on it. Looked for where they begin, in the
 * first payloads of a flow: a few comparisons a packet, and none later on.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP, type PacketView } from '../../packet/packet-view.ts';
import type { NetworkList } from '../../asset/networks.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

/** Payloads of a flow that are looked at. */
const PAYLOADS_MAX = 200;
const HEADER_END_MAX = 1024;
/** Also what devices fetch as firmware. */
const ELF = 'an ELF program';
const SHELLS: readonly RegExp[] = [
  /^\s*Microsoft Windows (XP |2000 )?\[Version /,
  /^[\r\n]*(\(C\) Copyright|[A-Z]:\\[^\r\n]{0,120}>\s*$)/,
  /^uid=\d+\([\w-]+\) gid=\d+/,
  /^[\r\n]*PS [A-Z]:\\[^\r\n>]{0,120}> ?$/,
  /^(?:\/bin\/)?(?:ba|da|k)?sh: (?:no job control in this shell|\d+: can't access tty; job control turned off|cannot set terminal process group)/,
  /^(?:\x1b\][^\x07]{0,200}\x07|\x1b\[[\d;?]*[a-zA-Z])*[\w.-]{1,32}@[\w.-]{1,64}:[~/][^\r\n]{0,120}[$#] ?$/,
  /^Linux [\w.-]+ \d+\.\d+\.\d+\S* #\d+[^\r\n]* GNU\/Linux\s/,
];
/** What Metasploit's first stage fetches: its length, and a library whose header is code; no other program begins so. */
const STAGE =
  /^(?:[^]{2}[\x00-\x40]\x00)?MZ(?:\xe8\x00\x00\x00\x00[\x58-\x5f]|RE\xe8\x00\x00\x00\x00|ARUH\x89\xe5)/;
/** Terminals in the clear: a shell is what they are for. */
const TERMINALS: ReadonlySet<string> = new Set([
  'telnet',
  'rlogin',
  'rsh',
  'rexec',
  'ssh',
  'ftp',
  'smb',
  'rpc',
]);
/** Hosts that are named by their address, and the names of scripts' own HTTP libraries. */
const PLAIN_ADDRESS = /^\d+\.\d+\.\d+\.\d+(:\d+)?$/;

/** Where nobody speaks HTTP in the clear. */
const HTTPS_PORT = 443;
/** What a network's devices are, by the names that their makers use. */
const DEVICE_FILE = /confi?g|\.cfg$|firmware|\.(?:bin|img|rom|fw)$/i;

const UPLOADS: ReadonlySet<string> = new Set(['stor', 'stou', 'appe']);

export function createTransferDetector(rules: Rules, internal: NetworkList, tell: Tell): Detector {
  function told(flow: Flow, seen: Seen): void {
    const { client, server, serverPort } = flow;
    tell(flow, {
      ...seen,
      score: 0.8,
      group: `${client} ${server} ${serverPort}`,
      scope: seen.rule === 'remote-shell' ? { pair: [client, server] } : { client, server, serverPort },
    });
  }

  return {
    state: {},

    packet(view, flow, isFromClient) {
      if (flow === null || view.protocol !== PROTO_TCP || view.payloadEnd - view.payloadOffset < 16) return;
      const looked = (flow.memory['looked'] as number | undefined) ?? 0;
      if (looked >= PAYLOADS_MAX) return;
      flow.memory['looked'] = looked + 1;
      const from = isFromClient ? flow.client : flow.server;
      const to = isFromClient ? flow.server : flow.client;
      if (rules.file_transfer.enabled) {
        const what = programIn(view);
        if (what !== '')
          told(flow, {
            rule: 'file-transfer',
            title: 'A program comes over the network',
            severity: what === ELF && !isNameless(flow) ? 'low' : rules.file_transfer.severity,
            technique: 'T0867',
            evidence: `${what} from ${from} to ${to}`,
            timeUs: view.timeUs,
          });
      }
      if (rules.remote_shell.enabled && looked < 8 && isUnspoken(flow)) {
        const text = Buffer.from(
          view.bytes.buffer,
          view.bytes.byteOffset + view.payloadOffset,
          Math.min(200, view.payloadEnd - view.payloadOffset),
        ).toString('latin1');
        if (STAGE.test(text))
          told(flow, {
            rule: 'remote-shell',
            title: 'A program that takes over a machine is sent to it',
            technique: 'T0807',
            evidence: `the stage of Meterpreter from ${from} to ${to}`,
            timeUs: view.timeUs,
          });
        if (SHELLS.some((shell) => shell.test(text)))
          told(flow, {
            rule: 'remote-shell',
            title: 'A command shell answers on the network',
            technique: 'T0807',
            evidence: `${JSON.stringify(text.slice(0, 60))} on port ${flow.serverPort}`,
            timeUs: view.timeUs,
          });
      }
    },

    operation(flow, operation, nowUs) {
      if (
        operation.protocol === 'http' &&
        !operation.isResponse &&
        isNameless(flow) &&
        rules.file_transfer.enabled
      ) {
        const isOut = internal.has(flow.client) && !internal.has(flow.server);
        if (isOut && (operation.name === 'post' || flow.serverPort === HTTPS_PORT))
          told(flow, {
            rule: 'nameless-http',
            title: 'Data goes to a nameless host of the Internet',
            severity: 'medium',
            technique: 'T0869',
            evidence: `${flow.client} sends ${operation.name.toUpperCase()} ${operation.object.slice(0, 60)} to ${flow.facts['host'] ?? ''} port ${flow.serverPort}, not encrypted`,
            timeUs: nowUs,
          });
        return;
      }
      if (operation.protocol === 'tftp' && rules.file_transfer.enabled && DEVICE_FILE.test(operation.object))
        told(flow, {
          rule: 'file-transfer',
          title: 'A device’s configuration or firmware travels without a login',
          severity: 'low',
          technique: 'T0867',
          evidence: `${flow.client} ${operation.name}s ${operation.object} at ${flow.server} over TFTP`,
          timeUs: nowUs,
        });
      const isPut = operation.protocol === 'ftp' && UPLOADS.has(operation.name) && !operation.isResponse;
      if (!isPut || !rules.file_transfer.enabled || !internal.has(flow.client) || internal.has(flow.server))
        return;
      told(flow, {
        rule: 'file-transfer',
        title: 'A file leaves the plant',
        technique: 'T0882',
        evidence: `${flow.client} puts ${operation.object} on ${flow.server}, which is not of the plant`,
        timeUs: nowUs,
      });
    },

    fact(flow, key, value, nowUs) {
      if (
        key === 'host' &&
        flow.service === 'http' &&
        PLAIN_ADDRESS.test(value) &&
        rules.file_transfer.enabled
      )
        told(flow, {
          rule: 'nameless-http',
          title: 'HTTP to a host without a name',
          severity: 'low',
          technique: 'T0869',
          evidence: `${flow.client} asks ${value} by its address`,
          timeUs: nowUs,
        });
    },
  };
}

/** In no protocol that is known here, or on a port for one of which not a word is said: that is how one gets past a filter. */
function isUnspoken({ service, actions }: Flow): boolean {
  if (service === '') return true;
  if (TERMINALS.has(service)) return false;
  for (const _ in actions) return false;
  return true;
}

/** Updates come from hosts with names; droppers from bare addresses. */
function isNameless(flow: Flow): boolean {
  return PLAIN_ADDRESS.test(flow.facts['host'] ?? '');
}

/** Which program begins in the payload, at its start or behind an HTTP header; '' for none. */
function programIn(view: PacketView): string {
  const { bytes, payloadOffset: start, payloadEnd: end } = view;
  let at = start;
  if (bytes[at] === 0x48 && bytes[at + 1] === 0x54 && bytes[at + 2] === 0x54 && bytes[at + 3] === 0x50) {
    at = bodyOffset(bytes, start, Math.min(end, start + HEADER_END_MAX));
    if (at === -1) return '';
  }
  if (end - at < 20) return '';
  if (bytes[at] === 0x7f && bytes[at + 1] === 0x45 && bytes[at + 2] === 0x4c && bytes[at + 3] === 0x46)
    return ELF;
  // MZ alone is two letters; the header of a real one points to PE within the first kilobyte.
  if (bytes[at] !== 0x4d || bytes[at + 1] !== 0x5a || end - at < 64) return '';
  const pe = ((bytes[at + 0x3d] as number) << 8) | (bytes[at + 0x3c] as number);
  if (pe < 0x40 || pe > 0x800) return '';
  if (at + pe + 2 > end) return 'a Windows program';
  return bytes[at + pe] === 0x50 && bytes[at + pe + 1] === 0x45 ? 'a Windows program' : '';
}

function bodyOffset(bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i + 3 < to; i++)
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i + 4;
  return -1;
}
