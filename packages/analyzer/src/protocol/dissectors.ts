/** Every dissector there is. Those that look at unknown ports are asked in this order. */
import { bacnet } from './bacnet.ts';
import { dcerpc } from './dcerpc.ts';
import { dhcp } from './dhcp.ts';
import type { Dissector } from './dissector.ts';
import { dnp3 } from './dnp3.ts';
import { dns, dnsOverTcp, netbiosNs } from './dns.ts';
import { enip } from './enip.ts';
import { ftp } from './ftp.ts';
import { goose } from './goose.ts';
import { http } from './http.ts';
import { iec104 } from './iec104.ts';
import { irc } from './irc.ts';
import { isoOnTcp } from './iso-on-tcp.ts';
import { kerberos, kerberosOverTcp } from './kerberos.ts';
import { ldap } from './ldap.ts';
import { imap, pop3, smtp } from './mail.ts';
import { modbus } from './modbus.ts';
import { mqtt } from './mqtt.ts';
import { opcua } from './opcua.ts';
import { profinet } from './profinet.ts';
import { rdp } from './rdp.ts';
import { redis } from './redis.ts';
import { rexec, rlogin, rsh } from './rlogin.ts';
import { rpc, rpcOverTcp } from './rpc.ts';
import { sampledValues } from './sampled-values.ts';
import { sip } from './sip.ts';
import { slmp } from './slmp.ts';
import { smb } from './smb.ts';
import { snmp } from './snmp.ts';
import { mysql, postgresql, tds } from './sql-login.ts';
import { ssh } from './ssh.ts';
import { telnet } from './telnet.ts';
import { tftp } from './tftp.ts';
import { tls } from './tls.ts';
import { tristation } from './tristation.ts';
import { vnc } from './vnc.ts';

export const DISSECTORS: readonly Dissector[] = [
  modbus,
  isoOnTcp,
  dnp3,
  iec104,
  enip,
  opcua,
  bacnet,
  profinet,
  goose,
  sampledValues,
  mqtt,
  tls,
  http,
  ssh,
  rdp,
  smb,
  dcerpc,
  ftp,
  telnet,
  dns,
  dnsOverTcp,
  netbiosNs,
  dhcp,
  tristation,
  slmp,
  kerberos,
  kerberosOverTcp,
  ldap,
  rpc,
  rpcOverTcp,
  pop3,
  imap,
  smtp,
  mysql,
  postgresql,
  tds,
  redis,
  vnc,
  snmp,
  sip,
  rlogin,
  rsh,
  rexec,
  tftp,
  irc,
];
