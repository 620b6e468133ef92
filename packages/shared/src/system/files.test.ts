import {
  linkSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errnoOf, systemFiles } from './files.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-files-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function thrownBy(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return errnoOf(error);
  }
  return 'nothing';
}

describe('the real disk', () => {
  it('publishes a file under a free name, and leaves a taken one alone', () => {
    const [hidden, visible] = [join(directory, '.new'), join(directory, 'a.pcap')];
    writeFileSync(hidden, 'first');
    expect(systemFiles.publish(hidden, visible)).toBe(true);
    writeFileSync(hidden, 'second');
    expect(systemFiles.publish(hidden, visible)).toBe(false);
    expect(readFileSync(visible, 'utf8')).toBe('first');
    expect(readdirSync(directory).sort()).toEqual(['.new', 'a.pcap']);
  });

  it('gives a lock to one holder at a time, and again after it is closed', () => {
    const path = join(directory, 'lock');
    const first = systemFiles.lock(path);
    expect(first).toBeGreaterThanOrEqual(0);
    expect(systemFiles.lock(path)).toBe(-1);
    systemFiles.close(first);
    const second = systemFiles.lock(path);
    expect(second).toBeGreaterThanOrEqual(0);
    systemFiles.close(second);
  });

  it('does not follow a symbolic link out of the directory', () => {
    writeFileSync(join(directory, 'secret'), 'x');
    symlinkSync(join(directory, 'secret'), join(directory, 'a.pcap'));
    expect(thrownBy(() => systemFiles.open(join(directory, 'a.pcap')))).toBe('ELOOP');
    expect(thrownBy(() => systemFiles.lock(join(directory, 'a.pcap')))).toBe('ELOOP');
    linkSync(join(directory, 'secret'), join(directory, 'b.pcap'));
    expect(thrownBy(() => systemFiles.create(join(directory, 'b.pcap')))).toBe('EEXIST');
  });

  it('has nothing to sync where there is nothing', async () => {
    await systemFiles.sync(join(directory, 'gone'));
    await systemFiles.syncDirectory(directory);
    expect(systemFiles.status(join(directory, 'gone'))).toBeNull();
    expect(systemFiles.descriptorsMax()).toBeGreaterThan(0);
  });
});
