/**
 * The units in `systemd/`: accepted by systemd's own checker, in step with what the daemons expect, and no tighter than
 * the daemons can live in; and the daemons as a service manager sees them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { serviceManager } from '@tapline/shared/system/sd-notify.ts';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { Program } from './support/child.ts';
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

const CONFIGS: Record<(typeof NAMES)[number], string> = {
  forwarder: `capture: {driver: afpacket, interface: lo, bpf_filter: udp port 1}\noutput_directories: {pcap_raw_output_path: ${directory}/edge}\n`,
  collector: `port: 0\nprotocol: tcp\nbind: 127.0.0.1\noutput_directories: {pcap_raw_output_path: ${directory}/soc}\n`,
  // With its bus and store: ZeroMQ and SQLite make calls of their own.
  analyzer: `input: {directory: ${directory}}\nalerts: {store: {path: ${directory}/alerts.db}, bus: {listen: '127.0.0.1:0', replay: '127.0.0.1:0'}}\n`,
};

function configOf(name: (typeof NAMES)[number], more = ''): string {
  const file = join(directory, `${name}${more === '' ? '' : '-more'}.yaml`);
  writeFileSync(file, CONFIGS[name] + more);
  return file;
}

const programs: Program[] = [];
function start(...words: ConstructorParameters<typeof Program>): Program {
  const program = new Program(...words);
  programs.push(program);
  return program;
}
afterEach(() => {
  for (const { child } of programs.splice(0)) child.kill('SIGKILL');
});

const isRoot = process.getuid?.() === 0;
const hasSeccomp = ['x86_64', 'aarch64'].some((machine) =>
  existsSync(`/usr/lib/${machine}-linux-gnu/libseccomp.so.2`),
);

describe.runIf(isRoot && hasSeccomp)('inside its SystemCallFilter (as root, with libseccomp)', () => {
  it.each(NAMES)('tapline-%s starts, reloads and stops cleanly', async (name) => {
    const wrapper = [
      process.execPath,
      join(projectRoot, 'tests/support/under-unit-filter.ts'),
      join(projectRoot, 'systemd', `tapline-${name}.service`),
    ];
    const program = start(name, ['-c', configOf(name)], { wrapper });
    await program.line('Started.');
    program.child.kill('SIGHUP');
    await program.line('Reloaded.');
    expect(await program.stop()).toBe(0);
    expect(program.log.filter((line) => Number(line['level']) > 30)).toEqual([]);
  });

  it('the filter bites: what is not allowed fails', () => {
    const wrapper = join(projectRoot, 'tests/support/under-unit-filter.ts');
    const unitFile = join(projectRoot, 'systemd/tapline-collector.service');
    const run = (...words: string[]): number | null =>
      spawnSync(process.execPath, [wrapper, unitFile, ...words]).status;
    expect(run('/bin/true')).toBe(0);
    expect(run('/usr/sbin/chroot', '/', '/bin/true')).not.toBe(0);
  });
});

describe('a daemon and its service manager', () => {
  it('ready, alive, reloading, ready again, stopping: each is told when it is so', async () => {
    const name = `@tapline-daemon-${process.pid}`;
    const socket = listen(name);
    const wrapper = ['env', `NOTIFY_SOCKET=${name}`, 'WATCHDOG_USEC=200000'];
    const collector = start('collector', ['-c', configOf('collector')], { wrapper });
    await collector.line('Started.');
    expect(socket.read()).toBe('READY=1\nSTATUS=running');
    await sleep(300);
    expect(socket.read()).toBe('WATCHDOG=1');
    collector.child.kill('SIGHUP');
    await collector.line('Reloaded.');
    expect(await collector.stop()).toBe(0);
    const told: string[] = [];
    for (let text = socket.read(); text !== ''; text = socket.read())
      if (text !== 'WATCHDOG=1') told.push(text.split('\n')[0] ?? '');
    expect([...new Set(told)]).toEqual(['RELOADING=1', 'READY=1', 'STOPPING=1']);
    socket.close();
  });

  it('a new configuration with a mistake is refused with its place, and the old one stays', async () => {
    const file = configOf('collector', 'log: {level: info}\n');
    const collector = start('collector', ['-c', file]);
    await collector.line('Started.');
    writeFileSync(file, 'prt: 1\n');
    collector.child.kill('SIGHUP');
    const line = await collector.line('The new configuration is not usable; the old one stays in force.');
    expect(line['problem']).toContain('did you mean port?');
    expect(await collector.stop()).toBe(0);
  });

  it('a scraper that sent half a request does not hold up the end', async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    const file = configOf('collector', `metrics: {listen: "127.0.0.1:${port}"}\n`);
    const collector = start('collector', ['-c', file]);
    await collector.line('Started.');
    const scraper = connect(port, '127.0.0.1');
    const cut = new Promise((resolve) => scraper.on('close', resolve));
    scraper.on('error', () => undefined).write('GET /met');
    await sleep(100);
    expect(await collector.stop()).toBe(0);
    await cut;
  });

  it('SIGUSR1 during the start waits for its end, and opens no debugger', async () => {
    const collector = start('collector', ['-c', configOf('collector')]);
    await collector.line('Listening for sensors.');
    collector.child.kill('SIGUSR1');
    await collector.line('Books.');
    expect(await collector.stop()).toBe(0);
    expect(collector.noise).toEqual([]);
  });
});
