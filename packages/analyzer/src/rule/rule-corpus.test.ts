/** Rules on real captures: an attack raises its rule, about those who did it, and no other; the same protocols in daily use raise none. */
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { analyzeCapture } from '../engine-testing.ts';
import { rulesSchema } from './rule-file.ts';

/** Capture, its rules among those of this table, and of the first of them: source, destination, technique. */
const ATTACKS: readonly (readonly [string, readonly string[], string, string, string])[] = [
  ['scans/nmap_tahsin5.pcapng', ['scan-vertical'], '192.168.0.1', '192.168.0.2', 'T0846'],
  ['scans/evilfingers_FIN_SCAN.pcap', ['scan-vertical'], '192.168.1.10', '192.168.1.25', 'T0846'],
  ['scans/evilfingers_ACK_SCAN.pcap', ['scan-vertical'], '192.168.1.10', '192.168.1.25', 'T0846'],
  ['scans/evilfingers_UDP_SCAN.pcap', ['scan-vertical'], '192.168.1.10', '192.168.1.25', 'T0846'],
  ['scans/ppa_portscan.pcap', ['scan-vertical'], '10.100.25.14', '10.100.18.12', 'T0846'],
  ['scans/hs-icmpScan.pcap', ['scan-horizontal'], '10.0.0.128', '', 'T0846'],
  ['scans/hs-tcp_synPingSweepRand.pcap', ['scan-horizontal'], '10.0.0.128', '', 'T0846'],
  ['scans/26.protocal_scan.pcap', ['scan-protocol'], '192.168.0.49', '192.168.0.194', 'T0846'],
  ['scans/hs-arpScan.pcap', ['arp-scan'], '00:0c:29:20:a8:7f', '', 'T0846'],
  ['ddos/home_synflood_hping.pcap', ['syn-flood', 'connection-flood'], '192.168.1.52', '192.168.1.34', 'T0814'],
  ['ddos/lab_synflood_rand_source.pcapng', ['syn-flood'], '', '192.168.198.130', 'T0814'],
  ['ddos/amp.UDP.snmp.src161.pcap', ['reflection'], '', '10.10.10.10', 'T0814'],
  ['ddos/amp.UDP.isakmp.pcap', ['reflection'], '', '10.10.10.10', 'T0814'],
  ['bruteforce/1.ssh_brute.pcap', ['brute-force'], '192.168.0.59', '192.168.0.101', 'T0859'],
  ['bruteforce/ncrack-paranoid.pcapng', ['brute-force', 'sensitive-access'], '240.0.3.2', '240.125.0.2', 'T0859'],
  ['bruteforce/tomcat_bru.pcap', ['http-brute-force'], '172.16.66.100', '172.16.80.153', 'T0859'],
  ['profinet/port_stealing.pcap', ['arp-spoofing'], 'ac:64:17:21:35:cf', '141.43.200.156', 'T0830'],
  ['mitm/4.5.arp_spoof.pcap', ['arp-spoofing', 'arp-scan'], '00:0c:29:1d:b3:b1', '192.168.47.2', 'T0830'],
  ['smb-ransomware/Win7_eternalblue_scan.pcap', ['exploit'], '192.168.189.138', '192.168.189.140', 'T0866'],
  ['smb-ransomware/doublepulsar-backdoor-connect-win7.pcap', ['exploit'], '192.168.198.204', '192.168.198.203', 'T0866'],
  ['smb-ransomware/slammer.pcap', ['exploit'], '213.76.212.22', '65.165.167.86', 'T0866'],
  ['smb-ransomware/blaster.pcap', ['remote-shell'], '10.234.0.239', '10.234.2.116', 'T0807'],
  ['smb-ransomware/cryptolocker.pcap', ['dns-generated-names'], '10.10.1.211', '10.0.2.2', 'T0869'],
  ['c2-malware/mirai.pcap', ['file-transfer'], '10.10.1.2', '10.10.3.2', 'T0867'],
  ['lateral/CVE-2020-1472_Zerologon_RPC_NetLogon_NullChallenge_SecChan_6_from_nonDC_to_DC.pcapng', ['exploit', 'remote-administration'], '172.16.66.37', '172.16.66.36', 'T0866'],
  ['lateral/DE_byt3bl33d3r_remote_eventservice_crash.pcapng', ['remote-administration'], '172.16.66.37', '172.16.66.36', 'T0872'],
  ['lateral-otrf/covenant_sharpsc_query_dcerpc_smb_svcctl_2020-08-06012009.pcap', ['remote-administration'], '172.18.39.5', '172.18.39.6', ''],
  ['enip-quickdraw/EIP-RemoteModeChangeAttempt.pcap', ['ot-control'], '192.168.10.105', '192.168.10.121', 'T0816'],
  ['enip-quickdraw/EIP-FirmwareChange.pcap.gz', ['ot-program', 'ot-control'], '192.168.10.105', '192.168.10.120', 'T0843'],
  ['ics-malware/triton_tristation.pcapng', ['ot-program'], '192.168.1.88', '192.168.1.2', 'T0843'],
  ['iec61850-qutzss/GOOSE_8222b.pcap.gz', ['goose-event'], '20:17:01:16:f0:11', '01:0c:cd:01:0c:03', 'T0855'],
  ['modbus-lemay/send_a_fake_command_modbus_6RTU_with_operate.pcap', ['ot-new-writer'], '192.168.1.101', '192.168.1.102', 'T0855'],
]; // prettier-ignore

/** Rules that only inform are not among them: in any plant something is done for the first time. */
const LOUD = new Set(ATTACKS.flatMap(([, rules]) => rules));

/** Rules that say what is there, or that no attack of the corpus is for: a capture that shows each, whose doing it is, and words of the evidence. Not every one of them is meant ill. */
const SHOWN: readonly (readonly [rule: string, capture: string, source: string, destination: string, evidence: string])[] = [
  ['scan-slow', 'attacks/scans/addressscan.pcapng', '192.168.30.36', '', '50 hosts on icmp'],
  ['scan-distributed', 'attacks/ddos/amp.TCP.syn.optionallyACK.optionallysamePort.pcap', '', '10.10.10.10', '44 addresses'],
  ['scan-flags', 'attacks/scans/nmap_tahsin5.pcapng', '192.168.0.1', '192.168.0.2', 'no flag'],
  ['spoofed-flood', 'attacks/ddos/dosattack.pcap', '', '', '88 of 88 connections'],
  ['connection-flood', 'attacks/ddos/ndsec1_botnet_synflood.pcap.gz', '192.168.1.152', '10.10.10.241', 'port 80'],
  ['dead-service', 'ot/opcua/open62541_discover_getendpoints_discover_urls.pcapng', '192.168.224.105', '192.168.224.105', '50 times'],
  ['tcp-injection', 'attacks/dnp3/dnp3_benign_then_spoofed_flood.pcap.gz', '', '192.168.0.198', 'say different things'],
  ['tcp-reset', 'attacks/dnp3-goose-qut/mitm_training_frequent_attack_windows.pcap.gz', '', '192.168.10.222', 'another MAC'],
  ['gateway-takeover', 'linktypes/nsh-vntag-other/HSRP_coup.pcap', '192.168.0.10', '192.168.0.1', 'priority 200'],
  ['rogue-dhcp', 'attacks/ddos/dhcp_flood.pcap', '128.2.7.32', '', '128.2.7.31'],
  ['icmp-redirect', 'attacks/ddos/amp.UDP.snmp.src161.pcap', '83.14.105.105', '10.10.10.10', 'another way'],
  ['one-sided-mirror', 'ot/modbus/modbus.pcap', '', '', '13 of 13'],
  ['dns-tunnel', 'attacks/smb-ransomware/cryptolocker.pcap', '10.10.1.211', '10.0.2.2', '84 characters'],
  ['beaconing', 'attacks/bruteforce/hydra-1_tasks.pcapng', '240.0.1.2', '240.125.0.2', 'each 20.2 s'],
  ['smb-spread', 'bench/benign-it/smb.pcap', '192.168.1.124', '71.101.125.38', '12 hosts on port 445'],
  ['web-attack', 'attacks/scans/15.nikto.pcap', '192.168.0.49', '217.70.184.38', 'nikto'],
  ['directory-search', 'attacks/lateral-otrf/purplesharp_ad_playbook_I_2020-10-22042947.pcap', '172.18.39.5', '172.18.38.5', 'servicePrincipalName'],
  ['weak-kerberos', 'attacks/lateral-otrf/empire_shell_rubeus_asktgt_ptt_2020-09-21223848.pcap', '172.18.39.6', '172.18.38.5', 'encryption types 23'],
  ['clear-password', 'attacks/ddos/ndsec1_botnet_normal.pcap', '192.168.1.109', '10.10.10.241', 'http-form'],
  ['remote-access', 'attacks/bruteforce/ssh_normal_login.pcap', '10.0.2.15', '192.168.0.101', 'over SSH'],
  ['internet-access', 'ot/iec104/IEC.pcap', '172.17.0.8', '114.160.59.13', 'port 2404'],
  ['foreign-hosts', 'ot/s7/snap7_s300_stop.pcap', '134.249.62.206', '134.249.61.163', 'internal_networks'],
  ['unknown-service', 'ot/other-ot/c1222_rw_service_tcp.pcap', '192.168.100.124', '192.168.1.101', 'tcp port 1153'],
  ['protocol-violation', 'ot/iec61850/GOOSE_truncated.pcap', '00:a0:f4:08:2f:77', '01:a0:f4:08:2f:77', 'length field and frame disagree'],
  ['forged-publisher', 'attacks/iec61850-qutzss/SV_9111a.pcap.gz', '20:17:01:16:f2:54', '01:0c:cd:04:00:01', 'smpCnt repeated'],
  ['connection-churn', 'attacks/modbus-lemay/channel_4d_12s.pcapng.gz', '192.168.43.148', '192.168.43.149', 'port 502'],
  ['opcua-anonymous', 'ot/opcua/opc-ua-ap-method-wireshark-freeze.pcap', '192.168.41.176', '192.168.41.212', 'anonymous session'],
  ['ot-first-write', 'ot/dnp3/direct_operate_no_ack_crob.pcap', '192.168.5.145', '192.168.5.165', 'g12v1:1'],
  ['ot-discovery', 'ot/modbus/modbus_w_pafs.pcap', '10.1.2.3', '10.9.8.7', 'report-server-id'],
  ['ot-probe', 'ot/modbus/modbus_test_data_part2.pcap', '192.168.66.235', '166.161.16.230', '22 different functions'],
  ['ot-walk', 'ot/modbus/modbus_example.pcap', '127.0.0.1', '127.0.0.1', '17 functions'],
  ['ot-suspect-command', 'ot/modbus/modbus_test_data_part2.pcap', '192.168.66.235', '166.161.16.230', 'after ot-probe'],
  ['ot-override', 'ot/bacnet/bacnet_services.pcap', '192.168.0.50', '192.168.0.24', 'priority 5'],
  ['ot-unanswered', 'attacks/dnp3-goose-qut/flooding_training_infrequent_attack_windows.pcap.gz', '192.168.10.66', '192.168.10.222', 'port 20000'],
]; // prettier-ignore

/** No capture of the corpus shows these: made frames do, alone and on the simulated plant. */
const NOT_SHOWN = [
  'broad-subscription',
  'dhcp-starvation',
  'discovery-flood',
  'dns-spoofing',
  'icmp-flood',
  'icmp-tunnel',
  'mac-flood',
  'malware',
  'message-flood',
  'name-poisoning',
  'nameless-tls',
  'ndp-flood',
  'ndp-spoofing',
  'notable-host',
  'ot-relay',
  'ot-switching',
  'replayed-segment',
  'rogue-router',
  'routing-newcomer',
  'rpc-enumeration',
  'scan-version',
  'self-signed-tls',
  'sip-scan',
  'stp-flood',
  'stp-root',
  'udp-flood',
  'vlan-hopping',
  'wifi-deauth',
];

/** The same protocols, and nobody who means harm. */
const BENIGN = [
  'attacks/bruteforce/ssh_normal_login.pcap',
  'attacks/ddos/home_no_flood.pcap',
  'attacks/ddos/ndsec1_botnet_normal.pcap',
  'attacks/modbus-lab/normal-clean.pcap.gz',
  'attacks/s7-qut/control_set_attacker.pcap.gz',
  'bench/benign-it/1kxun.pcap',
  'bench/benign-it/capture2.pcap.gz',
  'bench/benign-it/example.pcap',
  'bench/benign-it/tls.pcap',
  'bench/benign-iot/Lightify_Setup-C-14-STA.pcap',
  'bench/benign-iot/WeMoInsightSwitch_Setup-A-11-STA.pcap',
  'ot/dnp3/SEL751.pcap',
  'ot/iec104/104deneme.pcap',
  'ot/modbus/modbusBig.pcap',
  'ot/modbus/modbus_test.pcap',
  'ot/s7/S7.pcap',
  'ot/enip-cip/enip_cip_example.pcap',
  'ot/profinet/profinet_io_cm_mixed_2.pcapng',
];

describeWithCorpus('an attack raises its rule and no other:', () => {
  it.each(ATTACKS)('%s: %s', async (name, rules, source, destination, technique) => {
    const { alerts } = await analyzeCapture(`attacks/${name}`);
    const told = new Set(alerts.map(({ rule }) => rule).filter((rule) => LOUD.has(rule)));
    expect([...told].sort()).toEqual([...rules].sort());
    const about = alerts.filter(({ rule }) => rule === rules[0]);
    expect(about).toContainEqual(
      expect.objectContaining({ source, destination, ...(technique === '' ? {} : { technique }) }),
    );
    // Every alert leads to packets, and its flows are those of its scope.
    for (const alert of about) {
      expect(alert.evidence).not.toBe('');
      expect(alert.scope.fromUs).toBeLessThanOrEqual(alert.scope.toUs);
    }
  });
});

describeWithCorpus('what a capture shows is told of who did it:', () => {
  it.each(SHOWN)('%s in %s', async (rule, capture, source, destination, evidence) => {
    const { alerts } = await analyzeCapture(capture);
    const about = alerts.filter((alert) => alert.rule === rule);
    const words: unknown = expect.stringContaining(evidence);
    expect(about).toContainEqual(expect.objectContaining({ source, destination, evidence: words }));
  });
});

describe('each rule', () => {
  it('is shown by a real capture, or known to be shown by none', () => {
    const shown = new Set([...ATTACKS.flatMap(([, rules]) => rules), ...SHOWN.map(([rule]) => rule)]);
    const others = Object.keys(rulesSchema.shape)
      .map((key) => key.replaceAll('_', '-'))
      .filter((name) => !shown.has(name) && !/^(internal-networks|baseline-.*)$/.test(name));
    expect(others.sort()).toEqual(NOT_SHOWN);
  });
});

describe('daily use raises nothing that asks for a person', () => {
  describeWithCorpus('as in', () => {
    it.each(BENIGN)('%s', async (name) => {
      const { alerts } = await analyzeCapture(name);
      // Clocks are set every day: that is told, and is low.
      const asking = alerts.filter(({ rule, severity }) => LOUD.has(rule) && !(rule === 'ot-control' && severity === 'low')); // prettier-ignore
      expect(asking.map(({ rule }) => rule)).toEqual([]);
    });
  });
});

describeWithCorpus('a capture that is read again', () => {
  it.each(['attacks/scans/nmap_tahsin5.pcapng', 'attacks/bruteforce/ncrack-paranoid.pcapng'])(
    'gives the same alerts, to the letter: %s',
    async (name) => {
      const [once, again] = [await analyzeCapture(name), await analyzeCapture(name)];
      expect(again.alerts).toEqual(once.alerts);
      expect(again.flows).toEqual(once.flows);
    },
  );
});
