/** No feature is filled with the same number whatever happens: over real attacks, plants and offices each of them takes different values. */
import { expect, it } from 'vitest';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { analyzeFiles } from '../analysis.ts';
import type { EngineEvents } from '../engine.ts';
import { Rig, rulesOf } from '../engine-testing.ts';
import { inputFiles } from '../merge/input-files.ts';
import { tcp, type Packet } from '../packet/frame-testing.ts';
import { connection } from '../rule/traffic-testing.ts';
import { flowFeatures } from './flow-features.ts';
import { level1Features } from './level1-features.ts';
import { packetFeatures } from './packet-features.ts';
import { VECTORS } from './schema.ts';
import { windowFeatures } from './window-features.ts';

const CAPTURES = [
  'attacks/scans/nmap_tahsin5.pcapng',
  'attacks/scans/evilfingers_xscan.pcap.gz',
  'attacks/scans/evilfingers_version_scan.pcap',
  'attacks/bruteforce/1.ssh_brute.pcap',
  'attacks/ddos/lab_synflood_rand_source.pcapng',
  'attacks/c2-malware/mirai.pcap',
  'attacks/c2-malware/zeus.pcap',
  'attacks/smb-ransomware/eternalblue-success-unpatched-win7.pcap',
  'ot/modbus/modbus.pcap',
  'ot/enip-cip/EthernetIP-CIP.pcap.gz',
  'bench/benign-it/example.pcap',
  'bench/benign-it/capture2.pcap.gz',
];

/** Least and greatest value of each input. */
class Ranges {
  readonly least: number[];
  readonly greatest: number[];
  readonly values: Float64Array;

  constructor(width: number) {
    this.least = new Array<number>(width).fill(Infinity);
    this.greatest = new Array<number>(width).fill(-Infinity);
    this.values = new Float64Array(width);
  }

  take(): void {
    this.values.forEach((value, i) => {
      if (!Number.isFinite(value)) throw new Error(`input ${i} is ${value}`);
      this.least[i] = Math.min(this.least[i] as number, value);
      this.greatest[i] = Math.max(this.greatest[i] as number, value);
    });
  }
}

describeWithCorpus('over real traffic', () => {
  it('no input of any model is constant, and none is infinite', async () => {
    const level1 = new Ranges(VECTORS.level1.length);
    const level2 = new Ranges(VECTORS.level2.length);
    const packet = new Ranges(VECTORS.packet.length);
    const take: EngineEvents['flowEnded'] = (flow, values, engine) => {
      if (flow.protocol === -1) return;
      level1Features(values, flow.row, flow.serverPort, level1.values, 0);
      level1.take();
      flowFeatures(values, flow.row, level2.values, 0);
      windowFeatures(engine.windows, flow, engine.clockUs, level2.values, VECTORS.flow.length);
      level2.take();
    };
    for (const name of CAPTURES)
      await analyzeFiles({
        files: inputFiles([corpusPath(name)]),
        rules: rulesOf(),
        packet: (_, view) => {
          if (!view.isIp) return;
          packetFeatures(view, packet.values, 0);
          packet.take();
        },
        flowEnded: take,
      });
    // No server in the corpus marks data as urgent, as Telnet's does when output is to be thrown away.
    const urgent: Packet[] = connection('10.0.0.1:40000', '10.0.0.2:23', [['>', 'stop']], 0, false);
    urgent.push({ timeUs: 9000, frame: tcp('10.0.0.2:23', '10.0.0.1:40000', 'PAU', { sequence: 501, payload: Uint8Array.of(0xff, 0xf2) }) }); // prettier-ignore
    new Rig({ flowEnded: take }).add(urgent).finish();
    const constant = ([['level1', level1], ['level2', level2], ['packet', packet]] as const).flatMap(([vector, ranges]) =>
      VECTORS[vector].filter((_, i) => ranges.least[i] === ranges.greatest[i]).map(({ name }) => `${vector}: ${name}`),
    ); // prettier-ignore
    expect(constant).toEqual([]);
  });
});
