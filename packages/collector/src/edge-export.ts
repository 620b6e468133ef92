/**
 * `export --edge`: the same question, asked of the sensor's own archive through the tunnel it opened. The running collector passes it
 * on; an outage of the link is waited out, and what was fetched already is not fetched again.
 */
import { existsSync } from 'node:fs';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import type { QueryText } from '@tapline/shared/catalog/packet-query.ts';
import { loadConfig } from '@tapline/shared/config/load.ts';
import { askDaemon, piecesOf, type ControlConnection } from '@tapline/shared/control/control-protocol.ts';
import type { ExportFlags } from '@tapline/shared/daemon/export-command.ts';
import { EXIT_NOT_DRAINED } from '@tapline/shared/daemon/exit-code.ts';
import { countRecords } from '@tapline/shared/packet/batch.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import type { Command } from 'commander';
import { collectorSchema } from './config.ts';

interface EdgeFlags extends ExportFlags {
  readonly edge: boolean;
  readonly resume: boolean;
}

/** The options that only the collector's `export` has. */
export function edgeOptions(command: Command): Command {
  return command
    .option('--edge', "ask the sensor's own archive, through its tunnel (with --sensor)", false)
    .option('--resume', 'with --edge: go on where the file ends', false);
}

/** False: the packets are wanted from the archive here. */
export async function exportFromEdge(given: ExportFlags, query: QueryText): Promise<boolean> {
  const flags = given as EdgeFlags;
  if (!flags.edge) return false;
  const [sensor, ...others] = flags.sensor;
  if (sensor === undefined || others.length > 0)
    throw new OperatingError('CONFIG_INVALID', '--edge asks one sensor: name it with --sensor');
  const { value } = loadConfig(collectorSchema, flags.config ?? '/etc/tapline/collector.yaml');
  const target = flags.count ? null : (flags.write ?? '-');
  const output = flags.resume && target !== null && existsSync(target) ? await PcapFile.resume(target) : null;
  const skip = output?.packetCount ?? 0;
  const connection = await askDaemon(value.output_directories.pcap_raw_output_path, {
    command: 'edge',
    sensor,
    // A question with an end has the same answer when it is asked again.
    query: { toNs: String(BigInt(Date.now()) * 1_000_000n), ...query },
    linkType: flags.linkType === 'auto' ? (output?.linkType ?? null) : flags.linkType === 'raw' ? LINKTYPE_RAW : LINKTYPE_ETHERNET, // prettier-ignore
    skip,
  });
  const result = await receive(connection, output, target, flags);
  if (flags.count) process.stdout.write(`${result.packets}\n`);
  const error = result.error === undefined ? '' : `; not all of it: ${result.error}`;
  process.stderr.write(
    `${result.packets.toLocaleString('en-US')} packets from ${sensor}${skip > 0 ? `, behind ${skip.toLocaleString('en-US')} that were there` : ''}${error}\n`,
  );
  if (result.error !== undefined) process.exitCode = EXIT_NOT_DRAINED;
  return true;
}

async function receive(
  connection: ControlConnection,
  resumed: PcapFile | null,
  target: string | null,
  { precision }: EdgeFlags,
): Promise<{ packets: number; error?: string }> {
  let output = resumed;
  let linkType = LINKTYPE_ETHERNET;
  let packets = 0;
  for await (const { kind, payload } of piecesOf(connection)) {
    if (kind === 'P') {
      const packetCount = countRecords(payload, payload.byteLength);
      if (packetCount < 0) throw new OperatingError('PCAP_INVALID', 'the daemon sent what are no packets');
      packets += packetCount;
      if (target === null) continue;
      output ??= await PcapFile.create(target, { linkType, precision });
      await output.write({ bytes: payload, byteLength: payload.byteLength, packetCount, linkType: output.linkType, interfaceId: 0 }); // prettier-ignore
      continue;
    }
    const said = JSON.parse(payload.toString('utf8')) as Record<string, unknown>;
    if (typeof said['linkType'] === 'number') linkType = said['linkType'];
    if (said['connected'] === false) process.stderr.write('the sensor is away; waiting for it\n');
    if (said['connected'] === true) process.stderr.write('the sensor is here again\n');
    if (kind !== 'E') continue;
    if (target !== null) output ??= await PcapFile.create(target, { linkType, precision });
    await output?.close();
    return { packets, ...(typeof said['error'] === 'string' ? { error: said['error'] } : {}) };
  }
  await output?.close();
  return { packets, error: 'the collector stopped' };
}
