/** The units in `systemd/`: accepted by systemd's own checker, and in step with what the daemons expect. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import koffi from 'koffi';
import { serviceManager } from '@tapline/shared/system/sd-notify.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { projectRoot } from './support/project.ts';

const NAMES = ['forwarder', 'collector', 'analyzer'] as const;
const directory = mkdtempSync(join(tmpdir(), 'tapline-units-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function unit(name: string): string {
  return readFileSync(join(projectRoot, 'systemd', `tapline-${name}.service`), 'utf8');
}

describe.each(NAMES)('tapline-%s.service', (name) => {
  it('passes systemd-analyze verify', () => {
    // The program's place and its user are those of a probe: here, a file to find and a user that exists.
    const file = join(directory, `tapline-${name}.service`);
    writeFileSync(
      file,
      unit(name)
        .replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`)
        .replace(/^(User|Group)=.*$/gm, '$1=root')
        .replace(/^SupplementaryGroups=.*$/m, '')
        .replace(/^Documentation=.*$/m, ''),
    );
    const result = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], {
      encoding: 'utf8',
    });
    // On a machine that systemd did not boot, verify mentions what it cannot reach; what concerns the unit names the unit.
    expect(result.stderr.split('\n').filter((line) => line.includes(`tapline-${name}`))).toEqual([]);
    expect(result.status).toBe(0);
  });

  it('is tight: systemd-analyze security rates its exposure as OK', () => {
    const root = join(directory, 'root');
    const path = join(root, 'etc/systemd/system', `tapline-${name}.service`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, unit(name));
    const report = execFileSync(
      'systemd-analyze',
      ['security', '--offline=yes', `--root=${root}`, `tapline-${name}.service`],
      { encoding: 'utf8' },
    );
    const exposure = Number(/exposure level[^:]*: (\d+\.\d)/.exec(report)?.[1]);
    expect(exposure).toBeLessThan(3);
  });

  it('starts the entry of the package with the configuration in /etc/tapline', () => {
    expect(unit(name)).toContain(`/opt/tapline/packages/${name}/src/main.ts -c /etc/tapline/${name}.yaml`);
    expect(unit(name)).toMatch(/^Type=notify$/m);
    expect(unit(name)).toMatch(new RegExp(`^User=tapline-${name}$`, 'm'));
    const config = readFileSync(join(projectRoot, 'config', `${name}.yaml`), 'utf8');
    if (name !== 'analyzer') expect(config).toContain(`/var/lib/tapline-${name}/`);
    expect(readFileSync(join(projectRoot, 'systemd/tapline.sysusers.conf'), 'utf8')).toContain(
      `u tapline-${name} `,
    );
  });
});

it('only the forwarder has a capability, and it has one', () => {
  expect(unit('forwarder')).toMatch(/^CapabilityBoundingSet=CAP_NET_RAW$/m);
  for (const name of ['collector', 'analyzer']) expect(unit(name)).toMatch(/^CapabilityBoundingSet=$/m);
});

/** A datagram socket as systemd has one; Node has none of its own. */
function listen(path: string): { read: () => string; close: () => void } {
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int, int, int)');
  const bind = libc.func('int bind(int, const void *, uint32_t)');
  const receive = libc.func('long recv(int, _Out_ uint8_t *, size_t, int)');
  const close = libc.func('int close(int)');
  const descriptor = socket(1, 2, 0) as number;
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  const address = Buffer.concat([Buffer.from([1, 0]), name]);
  expect(bind(descriptor, address, address.byteLength)).toBe(0);
  return {
    read: () => {
      const bytes = Buffer.alloc(4096);
      const byteCount = Number(receive(descriptor, bytes, bytes.byteLength, 0x40));
      return bytes.toString('utf8', 0, Math.max(byteCount, 0));
    },
    close: () => void close(descriptor),
  };
}

describe('the service manager is told', () => {
  it.each(['path', 'abstract'])('over a socket with a %s name', (kind) => {
    const name = kind === 'path' ? join(directory, 'notify') : `@tapline-test-${process.pid}`;
    const socket = listen(name);
    const manager = serviceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '30000000' });
    manager.ready('all\nwell');
    expect(socket.read()).toBe('READY=1\nSTATUS=all well');
    manager.reloading();
    expect(socket.read()).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    manager.alive();
    expect(socket.read()).toBe('WATCHDOG=1');
    manager.stopping();
    expect(socket.read()).toBe('STOPPING=1');
    expect(manager.watchdogMs).toBe(15_000);
    socket.close();
  });

  it('nothing where there is none', () => {
    const manager = serviceManager({});
    manager.ready('');
    expect(manager.watchdogMs).toBeNull();
  });
});
