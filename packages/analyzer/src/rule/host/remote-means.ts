/** By which means one machine is managed from another, or taken over, as Windows names them: interfaces, their procedures, and what only exploits send. */

export interface Means {
  readonly title: string;
  readonly technique: string;
  /** Is used in the daily life of a domain too: told, but one step lower. */
  readonly isCommon: boolean;
}

/** Interfaces and pipes by name. */
export const INTERFACES: ReadonlyMap<string, Means> = tableOf({
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
  iobjectexporter: { title: 'Objects of another machine are asked for (DCOM)', technique: 'T0846', isCommon: true },
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
}); // prettier-ignore

/** Procedures of interfaces that domains and plants use all day, which they do not: by interface and number. [MS-DRSR], [MS-SAMR], [MS-SRVS], [MS-WKST]. */
export const PROCEDURES: ReadonlyMap<string, { readonly title: string; readonly technique: string }> = tableOf({
  // ServerAlive and ServerAlive2 tell anybody a machine's addresses, and begin every creation of objects; SimplePing and ResolveOxid are how those that are there are kept (classic OPC). [MS-DCOM], 3.1.2.5.1.
  'IObjectExporter:3': { title: 'Objects of another machine are asked for (DCOM)', technique: 'T0846' },
  'IObjectExporter:5': { title: 'Objects of another machine are asked for (DCOM)', technique: 'T0846' },
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
}); // prettier-ignore

/** Operations that only an exploit or its backdoor sends. */
export const EXPLOITS: ReadonlyMap<string, string> = tableOf({
  'trans2-session-setup': 'SMB transaction of the DoublePulsar backdoor',
  'doublepulsar-response': 'Answer of the DoublePulsar backdoor',
  'peek-named-pipe-fid0': 'SMB transaction that tests for MS17-010',
});

/** A map: whoever names a pipe `constructor` finds nothing in it. */
function tableOf<T>(table: Readonly<Record<string, T>>): ReadonlyMap<string, T> {
  return new Map(Object.entries(table));
}
