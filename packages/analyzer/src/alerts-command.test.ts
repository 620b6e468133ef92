import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Command } from 'commander';
import { alertsCommand } from './alerts-command.ts';
import { busKeyCommand } from './bus-key-command.ts';
import { labelCommand } from './label-command.ts';
import { AlertStore } from './publish/alert-store.ts';
import { readClientKeys, readKeyPair, readPublicKey } from './publish/curve-keys.ts';
import {
  idOf,
  removeTemporaryDirectories,
  sampleAlert,
  temporaryDirectory,
  until,
} from './publish/publish-test-support.ts';

afterEach(() => {
  vi.restoreAllMocks();
  removeTemporaryDirectories();
});

/** What a command printed. */
async function run(command: Command, ...args: string[]): Promise<string> {
  let output = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += String(text);
    return true;
  });
  vi.spyOn(console, 'log').mockImplementation((text: unknown) => {
    output += `${String(text)}\n`;
  });
  try {
    await command.exitOverride().configureOutput({ writeErr: () => undefined }).parseAsync(args, { from: 'user' }); // prettier-ignore
  } finally {
    vi.restoreAllMocks();
  }
  return output;
}

function filledStore(): AlertStore {
  const store = new AlertStore({ path: join(temporaryDirectory(), 'alerts.db') });
  store.put([sampleAlert(1, { severity: 'low' }), sampleAlert(2), sampleAlert(2, { count: 9 })]);
  return store;
}

describe('alerts', () => {
  it('lists alerts as they were told last, as text or JSON, by severity and sequence', async () => {
    const store = filledStore();
    const lines = (await run(alertsCommand(), '--store', store.path)).split('\n');
    expect(lines[0]).toMatch(/^ {5}1 .* low .*0000000000000001/);
    expect(lines[1]).toMatch(/^ {5}3 .* high .*Port scan of one host \(x9\): 10\.0\.0\.7 tried/);
    const json = await run(alertsCommand(), '--store', store.path, '--json', '--severity', 'high');
    expect(JSON.parse(json)).toMatchObject({ sequence: 3, count: 9, technique: { id: 'T0846' } });
    expect(await run(alertsCommand(), '--store', store.path, '--since', '3')).toBe('');
    await expect(run(alertsCommand(), '--store', store.path, '--since', 'x')).rejects.toThrow(/--since/);
    store.close();
  });

  it('follows what another process stores, until it is stopped', async () => {
    const store = filledStore();
    const script = `const { alertsCommand } = await import(${JSON.stringify(new URL('./alerts-command.ts', import.meta.url).href)});
      await alertsCommand().parseAsync(['--follow', '--json', '--severity', 'high', '--store', ${JSON.stringify(store.path)}], { from: 'user' });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until(() => output.includes('"sequence":3'), 'what is there');
    store.put([sampleAlert(3), sampleAlert(4, { severity: 'info' }), sampleAlert(5)]);
    await until(() => output.includes('"sequence":6'), 'what comes');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect([...output.matchAll(/"sequence":(\d+)/g)].map(([, sequence]) => sequence)).toEqual(['3', '4', '6']); // prettier-ignore
    store.close();
  });
});

describe('label', () => {
  it('notes what a person says, and shows it', async () => {
    const store = filledStore();
    await run(labelCommand(), idOf(2), 'false', '--note', 'vendor', '--store', store.path);
    expect(store.labels()).toMatchObject([{ label: 'false', note: 'vendor', alert: { id: idOf(2) } }]);
    expect(await run(alertsCommand(), '--store', store.path, '--label', 'false')).toContain('[false]');
    await expect(run(labelCommand(), idOf(9), 'true', '--store', store.path)).rejects.toThrow(/no alert/);
    await expect(run(labelCommand(), idOf(2), 'perhaps', '--store', store.path)).rejects.toThrow(/choices|Allowed/); // prettier-ignore
    await expect(run(labelCommand(), idOf(2), 'true', '--store', '/no/such.db')).rejects.toThrow(/--store/);
    store.close();
  });
});

describe('bus-key', () => {
  it('makes pairs that fit, secret ones for the owner only, and never writes over one', async () => {
    const directory = join(temporaryDirectory(), 'bus');
    await run(busKeyCommand(), directory);
    const output = await run(busKeyCommand(), directory, '--client', 'siem');
    expect(output).toContain(join(directory, 'siem.key'));
    expect(readKeyPair(join(directory, 'server.key')).publicKey).toBe(readPublicKey(join(directory, 'server.pub'))); // prettier-ignore
    expect([...readClientKeys(join(directory, 'clients'))]).toEqual([[readKeyPair(join(directory, 'siem.key')).publicKey, 'siem']]); // prettier-ignore
    for (const name of ['server.key', 'siem.key'])
      expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
    const before = readFileSync(join(directory, 'server.key'), 'utf8');
    await expect(run(busKeyCommand(), directory)).rejects.toThrow(/EEXIST/);
    expect(readFileSync(join(directory, 'server.key'), 'utf8')).toBe(before);
    await expect(run(busKeyCommand(), directory, '--client', '../x')).rejects.toThrow(/--client/);
  });
});
