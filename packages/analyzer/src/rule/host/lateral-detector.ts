/**
 * Moving from machine to machine: one client that reaches many hosts' file service (SMB spread), management of other machines through RPC and pipes
 * (services, tasks, WMI, registry, accounts, secrets), and exploits that are known by their own messages.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP, PROTO_UDP, type PacketView } from '../../packet/packet-view.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';
import { EXPLOITS, INTERFACES, PROCEDURES } from './remote-means.ts';

const SMB_PORTS: ReadonlySet<number> = new Set([139, 445]);
const WINRM_PORTS: ReadonlySet<number> = new Set([5985, 5986]);

const SQL_BROWSER_PORT = 1434;
const SLAMMER_BYTES_MIN = 97;
const AROUND_US = 30_000_000;
/** RpcAddPrinterDriverEx ([MS-RPRN], 3.1.4.4.8): the server loads what it is given, as SYSTEM. */
const ADD_PRINTER_DRIVER = 'spoolss:89';
const EXECUTABLE = /\.(exe|dll|bat|cmd|ps1|vbs|scr|sys|msi|hta)$/i;
const ADMIN_SHARE = /\\(admin\$|c\$|d\$)$/i;
/** A transaction in so many pieces is what overflows the server's buffer (MS17-010). */
const SECONDARIES_MIN = 8;
/** Tries with a wrong or empty challenge that Zerologon needs, and a machine never does. */
const NETLOGON_TRIES_MIN = 20;

export function createLateralDetector(rules: Rules, tell: Tell): Detector {
  const spread = new KeyedWindows(rules.smb_spread.within * 1000);
  const netlogon = new KeyedWindows(60_000_000);

  /** One machine in the hands of another: what else the two say to each other around it belongs to it. */
  function told(flow: Flow, seen: Seen): void {
    const { client, server } = flow;
    const { title, fromUs = flow.startUs, timeUs } = seen;
    tell(flow, {
      ...seen,
      score: 0.8,
      protocol: flow.service,
      group: `${client} ${server} ${title}`,
      scope: { pair: [client, server] },
      fromUs: fromUs - AROUND_US,
      toUs: timeUs + AROUND_US,
    });
  }

  return {
    state: { spread, netlogon },

    flowStarted(flow, view) {
      if (flow.protocol === PROTO_UDP && flow.serverPort === SQL_BROWSER_PORT) tellSlammer(flow, view);
      if (flow.protocol !== PROTO_TCP || !SMB_PORTS.has(flow.serverPort) || flow.wasReversed) return;
      const { client, serverPort } = flow;
      const window = spread.add(`${client} ${serverPort}`, view.timeUs, flow.server);
      if (rules.smb_spread.enabled && memberCount(window) >= rules.smb_spread.hosts)
        tell(flow, {
          rule: 'smb-spread',
          title: 'One host reaches for many file services',
          score: 0.8,
          technique: 'T0867',
          protocol: flow.service,
          evidence: `${client} went to ${memberCount(window)} hosts on port ${serverPort} in ${seconds(window, view.timeUs)}`,
          group: client,
          scope: { client, serverPort },
          fromUs: window.startUs,
          timeUs: view.timeUs,
        });
    },

    flowAnswered(flow, nowUs) {
      if (
        flow.protocol !== PROTO_TCP ||
        !WINRM_PORTS.has(flow.serverPort) ||
        !rules.remote_administration.enabled
      )
        return;
      told(flow, {
        rule: 'remote-administration',
        title: 'Commands are run on another machine (WinRM)',
        technique: 'T0886',
        evidence: `${flow.client} uses WinRM of ${flow.server}`,
        timeUs: nowUs,
      });
    },

    fact(flow, key, value, nowUs) {
      if (key !== 'rpc-interface' || !rules.remote_administration.enabled) return;
      tellInterface(flow, value, nowUs);
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'smb' && operation.protocol !== 'dcerpc') return;
      tellExploit(flow, operation, nowUs);
      if (rules.remote_administration.enabled && !operation.isResponse)
        tellAdministration(flow, operation, nowUs);
    },
  };

  function tellExploit(flow: Flow, operation: Operation, nowUs: number): void {
    const exploit = EXPLOITS.get(operation.name);
    if (exploit !== undefined && rules.exploit.enabled)
      told(flow, {
        rule: 'exploit',
        title: exploit,
        technique: 'T0866',
        evidence: `${operation.name} from ${operation.isResponse ? flow.server : flow.client}`,
        timeUs: nowUs,
      });
    if (operation.name.endsWith('transact-secondary') || operation.name === 'trans2-secondary') {
      const secondaries = flow.actions[operation.name] ?? 0;
      if (rules.exploit.enabled && secondaries >= SECONDARIES_MIN)
        told(flow, {
          rule: 'exploit',
          title: 'SMB transaction in many pieces (MS17-010)',
          technique: 'T0866',
          evidence: `${secondaries} pieces (${operation.name}) from ${flow.client}`,
          timeUs: nowUs,
        });
    }
    if (operation.name.startsWith('netlogon:') && !operation.isResponse) {
      const window = netlogon.add(`${flow.client} ${flow.server}`, nowUs);
      if (rules.exploit.enabled && window.count >= NETLOGON_TRIES_MIN)
        told(flow, {
          rule: 'exploit',
          title: 'Logon service tried again and again (Zerologon)',
          technique: 'T0866',
          evidence: `${window.count} netlogon requests in ${seconds(window, nowUs)}`,
          fromUs: window.startUs,
          timeUs: nowUs,
        });
    }
  }

  /** A request. */
  function tellAdministration(flow: Flow, operation: Operation, nowUs: number): void {
    if (operation.name === ADD_PRINTER_DRIVER)
      told(flow, {
        rule: 'remote-administration',
        title: 'A printer driver is put on another machine (PrintNightmare)',
        technique: 'T0866',
        evidence: `${flow.client} calls RpcAddPrinterDriverEx at ${flow.server}`,
        timeUs: nowUs,
      });
    const procedure = PROCEDURES.get(operation.name);
    if (procedure !== undefined)
      told(flow, {
        rule: 'remote-administration',
        title: procedure.title,
        technique: procedure.technique,
        evidence: `${flow.client} calls ${operation.name} of ${flow.server}`,
        timeUs: nowUs,
      });
    if (operation.name.startsWith('unknown:'))
      told(flow, {
        rule: 'remote-administration',
        title: 'Procedures of another machine are called',
        severity: 'low',
        technique: 'T0866',
        evidence: `${flow.client} calls procedure ${operation.name.slice(8)} of an interface whose name was not seen, at ${flow.server}`,
        timeUs: nowUs,
      });
    if (operation.object === '') return;
    if (operation.name.includes('create') && EXECUTABLE.test(operation.object))
      told(flow, {
        rule: 'remote-administration',
        title: 'A program is put on another machine',
        technique: 'T0867',
        evidence: `${operation.name} of ${operation.object}`,
        timeUs: nowUs,
      });
    else if (operation.name === 'tree-connect' && ADMIN_SHARE.test(operation.object))
      told(flow, {
        rule: 'remote-administration',
        title: 'An administrative share is used',
        technique: 'T0886',
        evidence: `${flow.client} connected to ${operation.object}`,
        timeUs: nowUs,
      });
    else tellInterface(flow, operation.object.replace(/^\\?(pipe\\)?/i, ''), nowUs);
  }

  /** CVE-2002-0649: a request for an instance whose name is far longer than a name can be. */
  function tellSlammer(flow: Flow, view: PacketView): void {
    if (
      !rules.exploit.enabled ||
      view.payloadWireBytes < SLAMMER_BYTES_MIN ||
      view.bytes[view.payloadOffset] !== 4
    )
      return;
    told(flow, {
      rule: 'exploit',
      title: 'Overflow of the SQL Server browser (Slammer)',
      technique: 'T0866',
      evidence: `request of ${view.payloadWireBytes} bytes to UDP port ${SQL_BROWSER_PORT}`,
      timeUs: view.timeUs,
    });
  }

  function tellInterface(flow: Flow, name: string, nowUs: number): void {
    const means = INTERFACES.get(name.toLowerCase());
    if (means === undefined) return;
    const severity = means.isCommon ? 'low' : rules.remote_administration.severity;
    told(flow, {
      rule: 'remote-administration',
      title: means.title,
      severity: severity,
      technique: means.technique,
      evidence: `${flow.client} uses ${name} of ${flow.server}`,
      timeUs: nowUs,
    });
  }
}
