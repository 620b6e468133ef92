/**
 * Replaces itself by a command that may make only the system calls a unit's SystemCallFilter leaves it:
 *
 *   node under-unit-filter.ts UNIT COMMAND WORD…
 *
 * systemd expands the filter (`systemd-analyze syscall-filter`), libseccomp loads it; what it refuses fails with EPERM, as
 * SystemCallErrorNumber says. A machine without a running systemd can so prove that a daemon lives inside its unit.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import koffi from 'koffi';

const SCMP_ACT_ALLOW = 0x7fff_0000;
const SCMP_ACT_ERRNO = 0x0005_0000;
const EPERM = 1;
const F_SETFD = 2;

const [unit = '', ...command] = process.argv.slice(2);
loadFilter(allowedCalls(readFileSync(unit, 'utf8')));
const libc = koffi.load(null);
// Node marks its standard streams to be closed at an exec; the command needs them.
const fcntl = libc.func('int fcntl(int descriptor, int command, int value)');
for (const descriptor of [0, 1, 2]) fcntl(descriptor, F_SETFD, 0);
libc.func('int execv(const char *path, const char **words)')(command[0], [...command, null]);
throw new Error(`cannot start ${command.join(' ')}`);

/** The first list says what is allowed, later ones with `~` take away from it. */
function allowedCalls(text: string): Set<string> {
  const calls = expand('@default');
  for (const [, list = ''] of text.matchAll(/^SystemCallFilter=(.*)$/gm))
    for (const name of list.replace('~', '').split(' '))
      for (const call of expand(name)) {
        if (list.startsWith('~')) calls.delete(call);
        else calls.add(call);
      }
  return calls;
}

function expand(name: string): Set<string> {
  if (!name.startsWith('@')) return new Set([name]);
  const list = execFileSync('systemd-analyze', ['syscall-filter', name], { encoding: 'utf8' });
  const names = list
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
  return new Set(names.filter((line) => /^@?[\w-]+$/.test(line)).flatMap((line) => [...expand(line)]));
}

function loadFilter(calls: ReadonlySet<string>): void {
  const seccomp = koffi.load('libseccomp.so.2');
  const init = seccomp.func('void *seccomp_init(uint32_t action)');
  const resolve = seccomp.func('int seccomp_syscall_resolve_name(const char *name)');
  const add = seccomp.func('int seccomp_rule_add_array(void *, uint32_t, int, unsigned int, const void *)');
  const load = seccomp.func('int seccomp_load(void *)');
  const filter: unknown = init(SCMP_ACT_ERRNO + EPERM);
  for (const name of calls) {
    const number = Number(resolve(name));
    // Names of other architectures have no number here.
    if (number >= 0) add(filter, SCMP_ACT_ALLOW, number, 0, null);
  }
  if (load(filter) !== 0) throw new Error('the kernel does not take the filter');
}
