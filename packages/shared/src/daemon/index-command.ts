/** `index`: builds the indexes of an archive anew, of all segments or of those that lost theirs. An index holds nothing that the packets do not. */
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { Command } from 'commander';
import type { z } from 'zod';
import { indexName, parseSegmentName, segmentStem } from '../archive/segment-name.ts';
import { messageOf } from '../base/errors.ts';
import { IndexBuilder } from '../catalog/index-builder.ts';
import { placesOf } from '../catalog/places.ts';
import { encodeIndex, type IndexChunk } from '../catalog/segment-index.ts';
import type { ArchivesConfig } from '../config/archive-set-of.ts';
import { loadConfig } from '../config/load.ts';
import { loadIndex } from '../export/export-plan.ts';
import { MemorySource, PlainSource, zstdSource, type SegmentSource } from '../export/segment-source.ts';
import { RECORD_BYTES_MAX } from '../packet/record.ts';
import { FILE_HEADER_BYTES } from '../pcap/format.ts';
import { parseFileHeader } from '../pcap/pcap-writer.ts';
import { parseSidecar } from '../catalog/sidecar.ts';
import { CHUNK_PLAIN_BYTES } from '../catalog/packed-file.ts';
import { EXIT_DAMAGED_INPUT } from './exit-code.ts';

/** RFC 1952: magic, deflate, no flags; a header without extras; CRC and length. */
const GZIP_MEMBER = 0x1f8b0800;
const GZIP_HEADER_BYTES = 10;
const GZIP_TRAILER_BYTES = 8;
const READ_BYTES = 1024 * 1024 + RECORD_BYTES_MAX;

interface IndexFlags {
  readonly config: string;
  readonly archive: readonly string[];
  readonly all: boolean;
  readonly json: boolean;
}

/** The `index` subcommand. */
export function indexCommand(program: {
  readonly name: string;
  readonly schema: z.ZodType<ArchivesConfig>;
  readonly defaultConfig: string;
  readonly isSinglePlace: boolean;
}): Command {
  return new Command('index')
    .summary('rebuild the indexes of the archive')
    .description(
      'Builds the indexes of closed segments that have none, or of all. An export works without them, but reads more.',
    )
    .option('-c, --config <file>', 'where the archive is', program.defaultConfig)
    .option(
      '-a, --archive <directory>',
      'the archive itself, without a configuration',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    ) // prettier-ignore
    .option('--all', 'also of segments that have one', false)
    .option('--json', 'report as JSON', false)
    .addHelpText(
      'after',
      `\nExamples:\n  ${program.name} index\n  ${program.name} index --all -a /mnt/copy\n`,
    )
    .action(async (flags: IndexFlags) => {
      const report = { built: 0, kept: 0, failed: 0 };
      for (const { directory } of rootsOf(program.schema, flags).flatMap((root) =>
        placesOf(root, program.isSinglePlace),
      ))
        // prettier-ignore
        for (const name of readdirSync(directory).sort()) {
          if (parseSegmentName(name) === null) continue;
          if (!flags.all && loadIndex(`${directory}/${indexName(name)}`) !== null) {
            report.kept++;
            continue;
          }
          try {
            await rebuild(directory, name);
            report.built++;
          } catch (error) {
            report.failed++;
            process.stderr.write(`${program.name}: ${directory}/${name}: ${messageOf(error)}\n`);
          }
        }
      process.stdout.write(
        flags.json
          ? `${JSON.stringify(report)}\n`
          : `${report.built} indexes built, ${report.kept} were there${report.failed > 0 ? `, ${report.failed} failed` : ''}\n`,
      );
      if (report.failed > 0) process.exitCode = EXIT_DAMAGED_INPUT;
    });
}

function rootsOf(schema: z.ZodType<ArchivesConfig>, flags: IndexFlags): readonly string[] {
  if (flags.archive.length > 0) return flags.archive;
  const { output_directories: first, archives } = loadConfig(schema, flags.config).value;
  return [first.pcap_raw_output_path, ...archives.map(({ directory }) => directory)];
}

async function rebuild(directory: string, name: string): Promise<void> {
  const { source, chunks } = sourceOf(directory, name);
  try {
    const bytes = new Uint8Array(READ_BYTES);
    let filled = await source.read(bytes.subarray(0, FILE_HEADER_BYTES), 0, 0);
    const header = parseFileHeader(bytes.subarray(0, filled));
    if (header.kind === 'malformed') throw new Error(header.reason);
    const builder = new IndexBuilder(header.linkType, header.precision);
    filled = 0;
    for (;;) {
      const read = await source.read(bytes, filled, builder.coveredBytes + filled);
      const taken = builder.add(bytes, 0, filled + read);
      bytes.copyWithin(0, taken, filled + read);
      filled += read - taken;
      if (read === 0) break;
    }
    const path = `${directory}/${indexName(name)}`;
    rmSync(`${path}.new`, { force: true });
    writeFileSync(`${path}.new`, encodeIndex({ ...builder.take(), chunks }), { mode: 0o640 });
    renameSync(`${path}.new`, path);
  } finally {
    source.close();
  }
}

function sourceOf(
  directory: string,
  name: string,
): { readonly source: SegmentSource; readonly chunks: readonly IndexChunk[] } {
  const path = `${directory}/${name}`;
  if (name.endsWith('.pcap')) return { source: new PlainSource(path, true), chunks: [] };
  if (name.endsWith('.gz')) return unpackedMembers(path);
  const sidecar = parseSidecar(readFileSync(`${directory}/${segmentStem(name)}.json`, 'utf8'));
  if (sidecar === null) throw new Error('its sidecar cannot be read');
  return { source: zstdSource(path, sidecar.fileBytes), chunks: [] };
}

/** Finds where the members of a gzip segment begin: each ends where its deflate stream and eight bytes more end. */
function unpackedMembers(path: string): {
  readonly source: SegmentSource;
  readonly chunks: readonly IndexChunk[];
} {
  const packed = readFileSync(path);
  const plain: Uint8Array[] = [];
  const chunks: IndexChunk[] = [];
  let packedOffset = 0;
  let plainOffset = 0;
  while (packedOffset < packed.byteLength) {
    if (packed.readUInt32BE(packedOffset) !== GZIP_MEMBER) throw new Error('it was not packed here');
    const body = packed.subarray(packedOffset + GZIP_HEADER_BYTES);
    const { buffer, engine } = inflateRawSync(body, {
      info: true,
      maxOutputLength: CHUNK_PLAIN_BYTES,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    chunks.push({ plainOffset, packedOffset });
    plain.push(buffer);
    plainOffset += buffer.byteLength;
    packedOffset += GZIP_HEADER_BYTES + engine.bytesWritten + GZIP_TRAILER_BYTES;
  }
  return { source: new MemorySource(Buffer.concat(plain)), chunks };
}
