/**
 * Moving from machine to machine: one client that reaches many hosts' file service (SMB spread), management of other machines through RPC and pipes
 * (services, tasks, WMI, registry, accounts, secrets), and exploits that are known by their own messages.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP, PROTO_UDP, type PacketView } from '../../packet/packet-view.ts';
import type { Severity } from '../../alert/finding.ts';
import type { Detector, Report } from '../detector.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';

const SMB_PORTS: ReadonlySet<number> = new Set([139, 445]);
const WINRM_PORTS: ReadonlySet<number> = new Set([5985, 5986]);

interface Means {
  readonly title: string;
  readonly technique: string;
  /** Is used in the daily life of a domain too: told, but one step lower. */
  readonly isCommon: boolean;
}

/** Interfaces and pipes by name. */
const INTERFACES: Readonly<Record<string, Means>> = {
  svcctl: { title: 'Services of another machine are managed', technique: 'T0866', isCommon: false },
  atsvc: { title: 'Tasks are planned on another machine', technique: 'T0866', isCommon: false },
  itaskschedulerservice: { title: 'Tasks are planned on another machine', technique: 'T0866', isCommon: false },
  iwbemservices: { title: 'WMI of another machine is used', technique: 'T0866', isCommon: false },
  iwbemlevel1login: { title: 'WMI of another machine is used', technique: 'T0866', isCommon: false },
  isystemactivator: { title: 'Objects are created on another machine (DCOM)', technique: 'T0866', isCommon: false },
  iremotescmactivator: { title: 'Objects are created on another machine (DCOM)', technique: 'T0866', isCommon: false },
  iremunknown: { title: 'Objects of another machine are used (DCOM)', technique: 'T0866', isCommon: false },
  iremunknown2: { title: 'Objects of another machine are used (DCOM)', technique: 'T0866', isCommon: false },
  idispatch: { title: 'Objects of another machine are used (DCOM)', technique: 'T0866', isCommon: false },
  iobjectexporter: { title: 'Objects of another machine are asked for (DCOM)', technique: 'T0846', isCommon: false },
  winreg: { title: 'The registry of another machine is used', technique: 'T0888', isCommon: false },
  samr: { title: 'The accounts of another machine are asked for something', technique: 'T0888', isCommon: true },
  lsarpc: { title: 'Security policy of another machine is asked', technique: 'T0888', isCommon: true },
  srvsvc: { title: 'A file server is asked for what it has', technique: 'T0888', isCommon: true },
  wkssvc: { title: 'A machine is asked what it is', technique: 'T0888', isCommon: true },
  drsuapi: { title: 'Names of a domain are looked up', technique: 'T0888', isCommon: true },
  netlogon: { title: 'Logon service of a domain controller is used', technique: 'T0859', isCommon: true },
  backupkey: { title: 'Backup keys of the domain are asked for', technique: 'T0859', isCommon: true },
  protected_storage: { title: 'Protected storage of another machine is used', technique: 'T0859', isCommon: true },
  spoolss: { title: 'The print spooler of another machine is used', technique: 'T0866', isCommon: true },
  efsrpc: { title: 'Encrypted files of another machine are used', technique: 'T0866', isCommon: false },
  eventlog: { title: 'The event log of another machine is used', technique: 'T0872', isCommon: false },
  epm: { title: 'RPC services of another machine are listed', technique: 'T0846', isCommon: true },
  epmapper: { title: 'RPC services of another machine are listed', technique: 'T0846', isCommon: true },
}; // prettier-ignore

/** Procedures of interfaces that domains use all day, which they do not: by interface and number. [MS-DRSR], [MS-SAMR], [MS-SRVS], [MS-WKST]. */
const PROCEDURES: Readonly<Record<string, { readonly title: string; readonly technique: string }>> = {
  'drsuapi:3': { title: 'Secrets of the directory are copied (DCSync)', technique: 'T0859' },
  'drsuapi:5': { title: 'A domain controller is made up (DCShadow)', technique: 'T0859' },
  'samr:11': { title: 'Groups of another machine are listed', technique: 'T0888' },
  'samr:13': { title: 'Accounts of another machine are listed', technique: 'T0888' },
  'samr:15': { title: 'Groups of another machine are listed', technique: 'T0888' },
  'samr:25': { title: 'Members of groups are listed', technique: 'T0888' },
  'samr:33': { title: 'Members of groups are listed', technique: 'T0888' },
  'samr:40': { title: 'Accounts of another machine are listed', technique: 'T0888' },
  'samr:48': { title: 'Accounts of another machine are listed', technique: 'T0888' },
  'samr:51': { title: 'Accounts of another machine are listed', technique: 'T0888' },
  'srvsvc:12': { title: 'Who is connected to another machine is listed', technique: 'T0888' },
  'wkssvc:2': { title: 'Users of another machine are listed', technique: 'T0888' },
}; // prettier-ignore

/** Operations that only an exploit or its backdoor sends. */
const EXPLOITS: Readonly<Record<string, string>> = {
  'trans2-session-setup': 'SMB transaction of the DoublePulsar backdoor',
  'doublepulsar-response': 'Answer of the DoublePulsar backdoor',
  'peek-named-pipe-fid0': 'SMB transaction that tests for MS17-010',
};

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

export function createLateralDetector(rules: Rules, report: Report): Detector {
  const spread = new KeyedWindows(rules.smb_spread.within * 1000);
  const netlogon = new KeyedWindows(60_000_000);

  function found(
    rule: string,
    title: string,
    severity: Severity,
    technique: string,
    flow: Flow,
    evidence: string,
    nowUs: number,
    fromUs = flow.startUs,
    group = `${flow.client} ${flow.server} ${title}`,
  ): void {
    report(
      {
        rule,
        title,
        severity,
        score: 0.8,
        technique,
        timeUs: nowUs,
        source: flow.client,
        destination: flow.server,
        port: flow.serverPort,
        protocol: flow.service,
        evidence,
        group,
        // One machine in the hands of another: what else the two say to each other around it belongs to it.
        scope: rule === 'smb-spread' ? { client: flow.client, serverPort: flow.serverPort, fromUs, toUs: nowUs } : { pair: [flow.client, flow.server], fromUs: fromUs - AROUND_US, toUs: nowUs + AROUND_US }, // prettier-ignore
      },
      flow,
    );
  }

  return {
    state: { spread, netlogon },

    flowStarted(flow, view) {
      if (flow.protocol === PROTO_UDP && flow.serverPort === SQL_BROWSER_PORT) tellSlammer(flow, view);
      if (flow.protocol !== PROTO_TCP || !SMB_PORTS.has(flow.serverPort) || flow.wasReversed) return;
      const window = spread.add(`${flow.client} ${flow.serverPort}`, view.timeUs, flow.server);
      if (rules.smb_spread.enabled && memberCount(window) >= rules.smb_spread.hosts)
        found('smb-spread', 'One host reaches for many file services', rules.smb_spread.severity, 'T0867', flow, `${flow.client} went to ${memberCount(window)} hosts on port ${flow.serverPort} in ${seconds(window, view.timeUs)}`, view.timeUs, window.startUs, flow.client); // prettier-ignore
    },

    flowAnswered(flow, nowUs) {
      if (
        flow.protocol !== PROTO_TCP ||
        !WINRM_PORTS.has(flow.serverPort) ||
        !rules.remote_administration.enabled
      )
        return;
      found('remote-administration', 'Commands are run on another machine (WinRM)', rules.remote_administration.severity, 'T0886', flow, `${flow.client} uses WinRM of ${flow.server}`, nowUs); // prettier-ignore
    },

    fact(flow, key, value, nowUs) {
      if (key !== 'rpc-interface' || !rules.remote_administration.enabled) return;
      tellInterface(flow, value, nowUs);
    },

    operation(flow, operation, nowUs) {
      if (operation.protocol !== 'smb' && operation.protocol !== 'dcerpc') return;
      const exploit = EXPLOITS[operation.name];
      if (exploit !== undefined && rules.exploit.enabled)
        found('exploit', exploit, rules.exploit.severity, 'T0866', flow, `${operation.name} from ${operation.isResponse ? flow.server : flow.client}`, nowUs); // prettier-ignore
      if (operation.name.endsWith('transact-secondary') || operation.name === 'trans2-secondary') {
        const secondaries = flow.actions[operation.name] ?? 0;
        if (rules.exploit.enabled && secondaries >= SECONDARIES_MIN)
          found('exploit', 'SMB transaction in many pieces (MS17-010)', rules.exploit.severity, 'T0866', flow, `${secondaries} pieces (${operation.name}) from ${flow.client}`, nowUs); // prettier-ignore
      }
      if (operation.name === ADD_PRINTER_DRIVER && !operation.isResponse && rules.remote_administration.enabled)
        found('remote-administration', 'A printer driver is put on another machine (PrintNightmare)', rules.remote_administration.severity, 'T0866', flow, `${flow.client} calls RpcAddPrinterDriverEx at ${flow.server}`, nowUs); // prettier-ignore
      const procedure = PROCEDURES[operation.name];
      if (procedure !== undefined && !operation.isResponse && rules.remote_administration.enabled)
        found('remote-administration', procedure.title, rules.remote_administration.severity, procedure.technique, flow, `${flow.client} calls ${operation.name} of ${flow.server}`, nowUs); // prettier-ignore
      if (operation.name.startsWith('unknown:') && !operation.isResponse && rules.remote_administration.enabled)
        found('remote-administration', 'Procedures of another machine are called', 'low', 'T0866', flow, `${flow.client} calls procedure ${operation.name.slice(8)} of an interface whose name was not seen, at ${flow.server}`, nowUs); // prettier-ignore
      if (operation.name.startsWith('netlogon:') && !operation.isResponse) {
        const window = netlogon.add(`${flow.client} ${flow.server}`, nowUs);
        if (rules.exploit.enabled && window.count >= NETLOGON_TRIES_MIN)
          found('exploit', 'Logon service tried again and again (Zerologon)', rules.exploit.severity, 'T0866', flow, `${window.count} netlogon requests in ${seconds(window, nowUs)}`, nowUs, window.startUs); // prettier-ignore
      }
      if (!rules.remote_administration.enabled || operation.isResponse) return;
      if (operation.object !== '') {
        if (operation.name.includes('create') && EXECUTABLE.test(operation.object))
          found('remote-administration', 'A program is put on another machine', rules.remote_administration.severity, 'T0867', flow, `${operation.name} of ${operation.object}`, nowUs); // prettier-ignore
        else if (operation.name === 'tree-connect' && ADMIN_SHARE.test(operation.object))
          found('remote-administration', 'An administrative share is used', rules.remote_administration.severity, 'T0886', flow, `${flow.client} connected to ${operation.object}`, nowUs); // prettier-ignore
        else tellInterface(flow, operation.object.replace(/^\\?(pipe\\)?/i, ''), nowUs);
      }
    },
  };

  /** CVE-2002-0649: a request for an instance whose name is far longer than a name can be. */
  function tellSlammer(flow: Flow, view: PacketView): void {
    if (
      !rules.exploit.enabled ||
      view.payloadWireBytes < SLAMMER_BYTES_MIN ||
      view.bytes[view.payloadOffset] !== 4
    )
      return;
    found('exploit', 'Overflow of the SQL Server browser (Slammer)', rules.exploit.severity, 'T0866', flow, `request of ${view.payloadWireBytes} bytes to UDP port ${SQL_BROWSER_PORT}`, view.timeUs); // prettier-ignore
  }

  function tellInterface(flow: Flow, name: string, nowUs: number): void {
    const means = INTERFACES[name.toLowerCase()];
    if (means === undefined) return;
    const severity = means.isCommon ? 'low' : rules.remote_administration.severity;
    found('remote-administration', means.title, severity, means.technique, flow, `${flow.client} uses ${name} of ${flow.server}`, nowUs); // prettier-ignore
  }
}
