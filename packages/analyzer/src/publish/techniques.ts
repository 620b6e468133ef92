/** Names of the MITRE ATT&CK for ICS techniques that findings point at. */

const TECHNIQUES: Readonly<Record<string, string>> = {
  T0806: 'Brute Force I/O',
  T0807: 'Command-Line Interface',
  T0809: 'Data Destruction',
  T0814: 'Denial of Service',
  T0816: 'Device Restart/Shutdown',
  T0819: 'Exploit Public-Facing Application',
  T0830: 'Adversary-in-the-Middle',
  T0831: 'Manipulation of Control',
  T0832: 'Manipulation of View',
  T0836: 'Modify Parameter',
  T0840: 'Network Connection Enumeration',
  T0842: 'Network Sniffing',
  T0843: 'Program Download',
  T0845: 'Program Upload',
  T0846: 'Remote System Discovery',
  T0848: 'Rogue Master',
  T0855: 'Unauthorized Command Message',
  T0856: 'Spoof Reporting Message',
  T0857: 'System Firmware',
  T0858: 'Change Operating Mode',
  T0859: 'Valid Accounts',
  T0861: 'Point & Tag Identification',
  T0866: 'Exploitation of Remote Services',
  T0867: 'Lateral Tool Transfer',
  T0868: 'Detect Operating Mode',
  T0869: 'Standard Application Layer Protocol',
  T0872: 'Indicator Removal on Host',
  T0878: 'Alarm Suppression',
  T0882: 'Theft of Operational Information',
  T0883: 'Internet Accessible Device',
  T0884: 'Connection Proxy',
  T0885: 'Commonly Used Port',
  T0886: 'Remote Services',
  T0888: 'Remote System Information Discovery',
  T0889: 'Modify Program',
  T0891: 'Hardcoded Credentials',
};

export interface Technique {
  readonly id: string;
  /** '' for one that this table does not know. */
  readonly name: string;
}

/** Null for '', the technique of findings that fit none. */
export function techniqueOf(id: string): Technique | null {
  return id === '' ? null : { id, name: TECHNIQUES[id] ?? '' };
}
