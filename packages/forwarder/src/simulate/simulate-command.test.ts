import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { CommanderError } from 'commander';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { simulateCommand } from './simulate-command.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-simulate-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Runs the command in this process; returns what it printed. */
async function run(...words: string[]): Promise<string> {
  let printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  const command = simulateCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  await command.parseAsync(words, { from: 'user' });
  return printed;
}

const path = (name: string): string => join(directory, name);

describe('tapline-forwarder simulate', () => {
  it('writes a capture our own reader takes, and a summary that agrees with it', async () => {
    const report = JSON.parse(await run('-o', path('a.pcap'), '--duration', '5s', '--json')) as {
      packets: number;
      bytes: number;
      protocols: { protocol: string; packets: number }[];
    };
    const file = await openCapture(path('a.pcap'));
    for await (const batch of file.batches()) expect(batch.packetCount).toBeGreaterThan(0);
    expect(file.packetCount).toBe(report.packets);
    expect(readFileSync(path('a.pcap')).byteLength).toBe(report.bytes);
    expect(report.protocols.map((row) => row.protocol)).toContain('modbus');
  });

  it('writes the labels as CSV, or as JSON lines where the name says so', async () => {
    const words = ['-o', path('b.pcap'), '--duration', '20s', '--attack', 'scan,modbus-write'];
    await run(...words, '--labels', path('b.csv'));
    await run(...words, '--labels', path('b.jsonl'));
    const rows = readFileSync(path('b.csv'), 'utf8').trimEnd().split('\r\n').slice(1);
    const lines = readFileSync(path('b.jsonl'), 'utf8').trimEnd().split('\n');
    const variants = lines.map((line) => (JSON.parse(line) as { variant: string }).variant);
    expect(variants).toEqual(['horizontal', 'vertical', 'new-host']);
    expect(rows.map((row) => row.split(',')[1])).toEqual(variants);
  });

  it('cuts times to microseconds where that is wanted, and starts when it is told to', async () => {
    await run(
      '-o',
      path('c.pcap'),
      '--duration',
      '1s',
      '--precision',
      'us',
      '--start',
      '2025-03-30T01:59:59+02:00',
    );
    const bytes = readFileSync(path('c.pcap'));
    expect(bytes.readUInt32LE(0)).toBe(0xa1b2c3d4);
    expect(bytes.readUInt32LE(24)).toBe(Date.parse('2025-03-29T23:59:59Z') / 1000);
  });

  it.each([
    [['--attack', 'wizardry'], 'there is no "wizardry"; there are scan, brute-force'],
    [['--duration', '10'], 'a number and a unit'],
    [['--duration', '0s'], 'from 1ms to 100d'],
    [['--cells', '0'], 'a whole number from 1 to'],
    [['--seed', '-1'], 'a whole number from 0 to'],
    [['--start', 'tomorrow'], 'ISO 8601'],
    [['--precision', 'ms'], 'Allowed choices are ns, us'],
  ])('refuses %j and says what to write instead', async (words, remedy) => {
    const refused = run('-o', path('d.pcap'), ...words);
    await expect(refused).rejects.toThrow(CommanderError);
    await expect(refused).rejects.toThrow(remedy);
  });

  it.each(['--output', '--labels'])(
    'names the option and the remedy when %s cannot be written',
    async (option) => {
      const words = option === '--labels' ? ['-o', path('e.pcap'), '--duration', '1s'] : [];
      const refused = run(...words, option, path('missing/file'));
      await expect(refused).rejects.toThrow(OperatingError);
      await expect(refused).rejects.toThrow(/^--(output|labels) .*missing.* in a directory that is there$/);
    },
  );
});
