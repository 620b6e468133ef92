/**
 * Set-up and hand-over: what `npm start`, `npm test`, `npm run check`, `npm run bench` and `npm run
 * chaos` call.
 *
 * Plain JavaScript that any Node ≥ 18 runs. It brings along, into `.tapline/` beside this file and from the npm registry
 * alone, the Node and the pnpm that Tapline is developed with; installs the workspace from its lockfile; for tests also
 * installs Debian's packet tools, which serve as peers; then hands over. Everything is skipped once it is in place.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_VERSION = '24.21.0';
const NODE_MAJOR = 24;
const PNPM_VERSION = '12.21.0';

/** The Node that everything after the first step runs under. */
let nodePath = process.execPath;
const root = dirname(fileURLToPath(import.meta.url));
const home = join(root, '.tapline');

/** A Debian package and a file or command by which its presence is seen. */
const PEERS = [
  { name: 'tshark', command: 'tshark' },
  { name: 'tcpdump', command: 'tcpdump' },
  { name: 'tcpreplay', command: 'tcpreplay' },
  { name: 'iproute2', command: 'ip' },
  { name: 'systemd', command: 'systemd-analyze' },
  { name: 'lz4', command: 'lz4' },
  { name: 'zstd', command: 'zstd' },
  { name: 'python3', command: 'python3' },
  // An S3 server.
  { name: 'swift-proxy', command: 'swift-proxy-server' },
  { name: 'swift-account', command: 'swift-account-server' },
  { name: 'swift-container', command: 'swift-container-server' },
  { name: 'swift-object', command: 'swift-object-server' },
  // For the portable capture driver, which npm ships as source.
  { name: 'make', command: 'make' },
  { name: 'g++', command: 'g++' },
  { name: 'libpcap-dev', file: '/usr/include/pcap/pcap.h' },
];
const LIBPCAP = { name: 'libpcap0.8', library: 'libpcap.so.0.8' };

const COMMANDS = {
  start: (args) => {
    // Only a live capture needs libpcap: its filter keeps the tunnel's own packets out.
    if (args.includes('--interface') || args.includes('-i')) needDebian([LIBPCAP]);
    return handOver(['tests/end-to-end/first-light.ts', ...args]);
  },
  test: (args) => {
    needDebian([LIBPCAP, ...PEERS]);
    buildPortableDriver();
    return test(args);
  },
  check: async () =>
    (await handOver([bin('prettier'), '--check', '.', '--log-level', 'warn'])) ||
    (await handOver([bin('eslint'), '.'])) ||
    (await handOver([bin('typescript', 'tsc'), '-p', '.'])),
  format: () => handOver([bin('prettier'), '--write', '.', '--log-level', 'warn']),
  bench: async (args) => {
    needDebian([LIBPCAP, ...PEERS]);
    let status = 0;
    for (const file of args.length > 0 ? args.map((name) => `${name}.bench.ts`) : benchmarks()) {
      status = (await handOver([join('tests/bench', file)])) || status;
    }
    return status;
  },
  chaos: async (args) => {
    needDebian([LIBPCAP, ...PEERS]);
    return handOver(['tests/chaos/chaos.ts', ...args]);
  },
};

const [name, ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined;
if (command === undefined) stop(`usage: node bootstrap.mjs ${Object.keys(COMMANDS).join('|')} [arguments]`);
if (process.platform !== 'linux')
  stop(`Tapline captures on Linux and is developed there; this machine runs ${process.platform}`);
nodePath = bringNode();
linkNode();
installWorkspace();
process.exit(await command(args));

// ---------------------------------------------------------------- Node, pnpm and the workspace

/** The Node to run with: this one when it is new enough, else the one that npm brings. */
function bringNode() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  const arch = { x64: 'x64', arm64: 'arm64' }[process.arch];
  if (arch === undefined)
    stop(`no Node ${NODE_MAJOR} for ${process.arch} on npm: install Node ≥ ${NODE_MAJOR} and try again`);
  const path = join(home, 'node_modules', `node-linux-${arch}`, 'bin', 'node');
  if (!existsSync(path)) bring(`Node ${NODE_VERSION}`, `node-linux-${arch}@${NODE_VERSION}`);
  return path;
}

/** `.tapline/node` is the Node to run with, whichever that is: the units in `systemd/` and the commands start it. */
function linkNode() {
  const link = join(home, 'node');
  mkdirSync(home, { recursive: true });
  if (existsSync(link) && realpathSync(link) === realpathSync(nodePath)) return;
  rmSync(link, { force: true });
  symlinkSync(nodePath, link);
}

/** Installs one exact package into `.tapline/`, without running any script of it. */
function bring(what, spec) {
  say(`fetching ${what} from npm`);
  mkdirSync(home, { recursive: true });
  if (!existsSync(join(home, 'package.json')))
    writeFileSync(join(home, 'package.json'), '{ "private": true }\n');
  const npm = process.env.npm_execpath?.endsWith('.js')
    ? [process.execPath, process.env.npm_execpath]
    : ['npm'];
  const words = [
    ...npm,
    'install',
    '--prefix',
    home,
    '--save-exact',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    spec,
  ];
  if (!quietly(words, home)) stop(`could not install ${spec}: is the npm registry reachable?`);
}

/** `pnpm install` from the lockfile, once per lockfile. */
function installWorkspace() {
  const stamp = createHash('sha256');
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json'])
    stamp.update(readFileSync(join(root, file)));
  const wanted = stamp.update(NODE_VERSION).digest('hex');
  const stampFile = join(root, 'node_modules', '.tapline-installed');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) return;
  const pnpm = join(home, 'node_modules', 'pnpm', 'bin', 'pnpm.mjs');
  if (!existsSync(pnpm)) bring(`pnpm ${PNPM_VERSION}`, `pnpm@${PNPM_VERSION}`);
  say('installing the workspace');
  if (!quietly([nodePath, pnpm, 'install', '--frozen-lockfile', '--reporter=append-only']))
    stop('pnpm install failed');
  writeFileSync(stampFile, wanted);
}

/** Compiles `cap` against libpcap where it does not load yet. Without it Tapline works; `capture.driver: cap` does not. */
function buildPortableDriver() {
  const cap = join(root, 'packages/forwarder/node_modules/cap');
  const loads = () =>
    spawnSync(nodePath, ['-e', 'require(process.argv[1])', cap], { stdio: 'ignore' }).status === 0;
  if (!existsSync(cap) || loads()) return;
  say('compiling the portable capture driver');
  const gyp = join(root, 'packages/forwarder/node_modules/node-gyp/bin/node-gyp.js');
  // The headers come with the Node from npm; without them node-gyp would want to download some.
  const headers = dirname(dirname(nodePath));
  if (!existsSync(join(headers, 'include/node/node.h')))
    return say('  skipped: this Node came without its headers');
  // As variable, too: an npm that is configured for another Node's headers passes its own on, and node-gyp prefers it.
  const built = quietly([nodePath, gyp, 'rebuild', '-C', cap, `--nodedir=${headers}`], root, {
    npm_config_nodedir: headers,
  });
  if (!built || !loads()) say('  it did not compile; its tests will be skipped');
}

// ---------------------------------------------------------------- Debian packages

/** Installs what is missing where it may, otherwise says exactly what to type and stops. */
function needDebian(packages) {
  const missing = packages.filter((item) => !present(item)).map((item) => item.name);
  if (missing.length === 0) return;
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  const sudo = process.getuid() === 0 ? [] : ['sudo'];
  const may =
    has('apt-get') &&
    (process.getuid() === 0 || (has('sudo') && (process.stdin.isTTY || quietly(['sudo', '-n', 'true']))));
  if (!may) stop(`missing Debian packages. Type: sudo ${install.join(' ')}`);
  say(`installing Debian packages: ${missing.join(' ')}`);
  // `env` carries the variable through sudo, which would drop it: a package's question must not hold up a machine.
  const apt = (words) => quietly([...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', ...words]);
  apt(['apt-get', 'update']);
  if (!apt(install)) stop(`apt-get failed. Type: sudo apt-get update && sudo ${install.join(' ')}`);
}

function present({ command: program, file, library }) {
  if (program !== undefined) return has(program);
  if (file !== undefined) return existsSync(file);
  const folders = [
    '/lib',
    '/usr/lib',
    '/usr/lib64',
    '/lib64',
    ...['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu`),
  ];
  return folders.some((folder) => existsSync(join(folder, library)));
}

function has(program) {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  return path.split(':').some((folder) => folder !== '' && existsSync(join(folder, program)));
}

// ---------------------------------------------------------------- running

/** Runs the tests and closes with a plain count, whatever reporter was shown. */
async function test(words) {
  const results = join(home, 'test-results.json');
  mkdirSync(home, { recursive: true });
  rmSync(results, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  const status = await handOver([bin('vitest'), 'run', ...reporters, ...words]);
  if (existsSync(results)) {
    const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(results, 'utf8'));
    console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`);
  }
  return status;
}

function benchmarks() {
  return readdirSync(join(root, 'tests/bench')).filter((file) => file.endsWith('.bench.ts'));
}

/** The script behind a command of an installed package. */
function bin(packageName, commandName = packageName) {
  const folder = join(root, 'node_modules', packageName);
  const entry = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).bin;
  return join(folder, typeof entry === 'string' ? entry : entry[commandName]);
}

/** Runs a script under the right Node, at this terminal, to its end. Resolves with its exit status. */
function handOver(words) {
  return new Promise((resolve) => {
    const child = spawn(nodePath, words, { cwd: root, env: environment(), stdio: 'inherit' });
    // Ctrl-C reaches the child through the terminal's process group; a second copy would mean "hurry". What a service
    // manager sends reaches only this process and is passed on.
    process.on('SIGINT', () => {});
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    child.on('error', (error) => stop(error.message));
    child.on('exit', (status) => resolve(status ?? 1));
  });
}

/** A step of the set-up: its output is shown only when it fails. */
function quietly([program, ...words], cwd = root, variables = {}) {
  const result = spawnSync(program, words, {
    cwd,
    env: { ...environment(), ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 26,
  });
  if (result.status !== 0)
    process.stderr.write(`${String(result.stdout ?? '')}${String(result.stderr ?? '')}`);
  return result.status === 0;
}

/** This environment with the right Node first and the system's tools findable. */
function environment() {
  return { ...process.env, PATH: `${dirname(nodePath)}:${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
}

function say(text) {
  console.error(`tapline: ${text}`);
}

function stop(text) {
  say(text);
  process.exit(1);
}
