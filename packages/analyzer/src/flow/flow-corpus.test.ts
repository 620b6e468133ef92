/** Flows of real captures: tunnels are seen through, no packet is lost, conversations are those of Wireshark, and a break in the middle changes nothing. */
import { execFileSync } from 'node:child_process';
import { deserialize, serialize } from 'node:v8';
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { readCapture } from '@tapline/shared/pcap/testing.ts';
import { readU32 } from '@tapline/shared/packet/record.ts';
import { expect, it } from 'vitest';
import { corpusFiles, corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../engine-testing.ts';
import { PacketView, locatePacket } from '../packet/packet-view.ts';
import { BACKWARD, FORWARD, PACKETS } from './flow-columns.ts';
import { flowRecord, type FlowRecord } from './flow-record.ts';
import { FLOW_DEFAULTS, FlowTable, type FlowEvents } from './flow-table.ts';
import type { Flow } from './flow.ts';

const NOTHING: FlowEvents = { started: () => undefined, ended: () => undefined };

/** Hands out every packet of a capture, up to its damage; how many there were. */
async function eachPacket(path: string, take: (view: PacketView) => void): Promise<number> {
  const view = new PacketView();
  let packets = 0;
  try {
    for await (const { bytes, byteLength, linkType } of (await openCapture(path)).batches())
      for (let at = 0; at < byteLength;) {
        const capturedBytes = readU32(bytes, at + 8);
        view.timeUs = readU32(bytes, at) * 1e6 + readU32(bytes, at + 4) / 1000;
        view.wireBytes = readU32(bytes, at + 12);
        view.origin.number = ++packets;
        locatePacket(view, linkType, bytes, at + 16, capturedBytes);
        take(view);
        at += 16 + capturedBytes;
      }
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
  }
  return packets;
}

describeWithCorpus('of tunnels the hosts inside are told:', () => {
  it.each([
    ['gre/GRE.pcap', '1.1.1.1', '2.2.2.2', 1, 1, 5, 5],
    ['gre/gre_all_options.pcap', '10.1.2.1', '10.1.2.2', 1, 1, 5, 5],
    ['gre/gre_ipv6.pcap', '1:1:1:1:1:1:1:1', '2:2:2:2:2:2:2:2', 17, 1, 1, 0],
    ['gre/gre_nvgre.pcap', '10.0.0.1', '10.0.0.2', 6, 1, 1, 0],
    ['gre/gre_custom_protocol.pcap', '10.0.0.1', '10.0.0.2', 6, 1, 1, 0],
    ['vxlan/Vxlan1.pcap', '192.168.203.3', '192.168.203.5', 1, 1, 1, 0],
    ['vxlan/gso-ipv6-vxlan-ipv4.pcap', '192.168.1.2', '192.168.1.1', 6, 1, 1, 0],
    ['vxlan/gso-ipv6-vxlan-ipv6.pcap', 'fd00::2', 'fd00::1', 6, 1, 1, 0],
    ['vxlan/triple_encap_vxlan_ipinip.pcap', '192.168.1.100', '192.168.1.200', 17, 2, 1, 0],
    ['geneve/geneve.pcap', '30.0.0.2', '30.0.0.1', 6, 1, 17, 16],
    ['geneve/geneve-gcp.pcap', '192.168.100.2', '192.168.100.1', 6, 1, 1, 0],
    ['geneve/gso-ipv6-geneve-ipv6.pcap', 'fd00::2', 'fd00::1', 6, 1, 1, 0],
    ['erspan/erspan-type-i-1.pcap', '10.52.128.233', '10.52.128.234', 1, 1, 1, 1],
    ['erspan/erspan-type-ii-1.pcap', '10.48.6.1', '224.0.0.13', 103, 1, 1, 0],
    ['erspan/erspan-type-iii-ft-0.pcap', '10.29.11.1', '10.29.20.21', 1, 1, 9, 0],
    ['ip-in-ip/6in4-linklocal-hlimit-less255.pcapng', 'fe80::250:56ff:fe87:6b6', 'ff02::1', 58, 1, 1, 0],
  ])('%s', async (name, client, server, protocol, tunnelDepth, there, back) => {
    const { flows } = await analyzeCapture(`linktypes/${name}`);
    expect(flows).toContainEqual(
      expect.objectContaining({ client, server, protocol, tunnelDepth, clientPackets: there, serverPackets: back }), // prettier-ignore
    );
  });

  it.each([
    ['vxlan/vxlan_custom_port.pcap', '100.0.17.1', 17],
    ['gre/gre_keyed.pcap', '172.16.0.1', 6],
    ['erspan/erspan-type-i-3.pcap', '192.168.90.17', 47],
    ['ip-in-ip/ah-ipip-ping.pcap', '10.1.48.19', 51],
  ])('and where nothing inside can be read, the tunnel itself: %s', async (name, client, protocol) => {
    const { flows } = await analyzeCapture(`linktypes/${name}`);
    expect(new Set(flows.map((flow) => `${flow.client} ${flow.protocol}`))).toEqual(new Set([`${client} ${protocol}`])); // prettier-ignore
  });
});

describeWithCorpus('every packet is in one flow or counted', () => {
  it.each(['ot', 'attacks', 'linktypes', 'bad'])('%s', async (folder) => {
    for (const { path, name } of corpusFiles(folder)) {
      if (!/\.(pcap|pcapng|cap)(\.(gz|zst|lz4))?$/.test(name)) continue;
      let inFlows = 0;
      let ended = 0;
      const table: FlowTable = new FlowTable(
        { ...FLOW_DEFAULTS, flowsMax: 4096 },
        {
          started: () => undefined,
          ended: ({ row }: Flow) => {
            ended++;
            inFlows += Number(table.values[row + FORWARD + PACKETS]) + Number(table.values[row + BACKWARD + PACKETS]); // prettier-ignore
          },
        },
      );
      let inSlices = 0;
      let told = 0;
      const packets = await eachPacket(path, (view) => {
        if (table.add(view) !== null) told++;
      });
      for (const flow of table.flows) inSlices += flow.slices.reduce((sum, one) => sum + one.packets, 0);
      expect(inSlices, name).toBeLessThanOrEqual(packets);
      table.endAll();
      const { flows, malformed, withoutFlow } = table.counters;
      expect([inFlows, inFlows + malformed + withoutFlow, ended], name).toEqual([told, packets, flows]);
      expect(table.size, name).toBe(0);
    }
  });
});

describeWithCorpus('conversations are those of Wireshark', () => {
  /** Captures in which no connection uses the ports of another. */
  const CAPTURES = [
    'bench/benign-it/example.pcap',
    'attacks/bruteforce/1.ssh_brute.pcap',
    'attacks/smb-ransomware/eternalblue-success-unpatched-win7.pcap',
    'attacks/scans/nmap_tahsin5.pcapng',
    'ot/modbus/modbus.pcap',
    'linktypes/ipv6-ext/ipv6-smtp.pcapng',
  ];

  it.each(CAPTURES)('%s', async (name) => {
    const path = corpusPath(name);
    const table = new FlowTable({ ...FLOW_DEFAULTS, idleUs: 1e12, durationUsMax: 1e12 }, NOTHING);
    const ours = new Map<string, number[]>();
    await eachPacket(path, (view) => {
      const flow = table.add(view);
      if (flow === null || view.protocol !== 6 || view.tunnelDepth > 0) return;
      // Whether it came from the end that is smaller as text: Wireshark knows no client.
      const source = `${formatAddress(view.bytes, view.inner.sourceOffset, view.inner.addressBytes as 4 | 16)} ${view.sourcePort}`;
      count(ours, flow.uid, ends(source, other(flow, source)), source, view.wireBytes);
    });
    const theirs = new Map<string, number[]>();
    const fields = ['tcp.stream', 'ip.src', 'ipv6.src', 'ip.dst', 'ipv6.dst', 'tcp.srcport', 'tcp.dstport', 'frame.len']; // prettier-ignore
    const lines = execFileSync(
      'tshark',
      ['-r', path, '-n', '-Y', 'tcp && !icmp && !icmpv6', '-T', 'fields', '-E', 'occurrence=f', ...fields.flatMap((field) => ['-e', field])],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 28 },
    ).trimEnd().split('\n'); // prettier-ignore
    for (const line of lines) {
      const [stream = '', from4, from6, to4, to6, fromPort, toPort, bytes] = line.split('\t');
      const source = `${from4 || from6} ${fromPort}`;
      count(theirs, stream, ends(source, `${to4 || to6} ${toPort}`), source, Number(bytes));
    }
    expect(ours.size, 'at least one conversation').toBeGreaterThan(0);
    expect(rows(ours)).toEqual(rows(theirs));
  });

  const names = new Map<string, readonly [string, string]>();

  function ends(a: string, b: string): readonly [string, string] {
    return a < b ? [a, b] : [b, a];
  }

  function other(flow: Flow, source: string): string {
    const client = `${flow.client} ${flow.clientPort}`;
    return client === source ? `${flow.server} ${flow.serverPort}` : client;
  }

  /** Packets and bytes each way, of one conversation. */
  function count(
    conversations: Map<string, number[]>,
    id: string,
    pair: readonly [string, string],
    source: string,
    bytes: number,
  ): void {
    const key = `${id}`;
    names.set(key, pair);
    const row = conversations.get(key) ?? [0, 0, 0, 0];
    const way = source === pair[0] ? 0 : 2;
    row[way] = Number(row[way]) + 1;
    row[way + 1] = Number(row[way + 1]) + bytes;
    conversations.set(key, row);
  }

  function rows(conversations: Map<string, number[]>): string[] {
    return [...conversations].map(([key, row]) => `${names.get(key)?.join(' - ')}: ${row.join(' ')}`).sort();
  }
});

describeWithCorpus('a table that is written down in the middle and read again', () => {
  it.each([
    'bench/benign-it/example.pcap',
    'attacks/scans/nmap_tahsin5.pcapng',
    'attacks/bruteforce/hydra-1_tasks.pcapng',
    'ot/enip-cip/EthernetIP-CIP.pcap.gz',
  ])('gives the same flows: %s', async (name) => {
    const path = corpusPath(name);
    const whole = await tell(path, () => false);
    const broken = await tell(path, (number) => number % 97 === 0);
    expect(broken).toEqual(whole);
  });

  /** All flows, told by a table that is replaced by its own snapshot whenever `breaks` says so. */
  async function tell(path: string, breaks: (number: number) => boolean): Promise<FlowRecord[]> {
    const told: FlowRecord[] = [];
    const events: FlowEvents = {
      started: () => undefined,
      ended: (flow) => told.push(flowRecord(flow, table.values, '.')),
    };
    const options = { ...FLOW_DEFAULTS, idleUs: 5_000_000, flowsMax: 200 };
    let table = new FlowTable(options, events);
    await eachPacket(path, (view) => {
      table.add(view);
      if (!breaks(view.origin.number)) return;
      const snapshot = deserialize(serialize(table.snapshot())) as unknown;
      table = new FlowTable(options, events);
      table.restore(snapshot);
    });
    table.endAll();
    return told;
  }
});

describeWithCorpus('a capture that is joined in the middle', () => {
  it.each([
    ['ot/modbus/modbus_test.pcap', 502],
    ['ot/s7/S7.pcap', 102],
    ['ot/iec104/104deneme.pcap', 2404],
    ['ot/enip-cip/enip_cip_example.pcap', 44_818],
    ['ot/dnp3/SEL751.pcap', 20_000],
  ])(
    'at a word of the server has the same client as the whole, and the same protocol: %s',
    async (name, port) => {
      const whole = new Map((await analyzeCapture(name)).flows.map((flow) => [flow.communityId, flow]));
      let joined = 0;
      for (const skipped of [1, 2, 3, 5, 8, 13, 21]) {
        const rig = new Rig();
        const { packets } = await readCapture(corpusPath(name));
        rig.add(packets.slice(skipped).map(({ seconds, nanoseconds, frame }) => ({ timeUs: seconds * 1e6 + nanoseconds / 1000, frame: Buffer.from(frame, 'hex') }))); // prettier-ignore
        for (const flow of rig.finish().flows) {
          if (flow.serverPort !== port && flow.clientPort !== port) continue;
          const { client, serverPort, service } = whole.get(flow.communityId) as FlowRecord;
          expect([flow.client, flow.serverPort]).toEqual([client, serverPort]);
          if (flow.service !== '') expect(flow.service).toBe(service);
          if (flow.history.startsWith('^')) joined++;
        }
      }
      expect(joined).toBeGreaterThan(0);
    },
  );
});
