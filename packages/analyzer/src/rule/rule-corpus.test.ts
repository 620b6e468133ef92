/** Rules on real captures: an attack raises its rule, about those who did it, and no other; the same protocols in daily use raise none. */
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { analyzeCapture } from '../engine-testing.ts';

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
