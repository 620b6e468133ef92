/**
 * Tells systemd how the daemon is (sd_notify(3)): ready, reloading, stopping, still alive. Without NOTIFY_SOCKET, as on
 * a terminal, everything here does nothing.
 *
 * The protocol is one datagram of `KEY=value` lines to an AF_UNIX socket, which Node cannot send; koffi calls libc.
 */
import koffi from 'koffi';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of sockaddr_un. */
const PATH_BYTES_MAX = 108;

export interface ServiceManager {
  /** Start-up is over. */
  ready(status: string): void;
  /** One line for `systemctl status`. */
  status(text: string): void;
  reloading(): void;
  stopping(): void;
  /** Milliseconds between two signs of life, or null when none are asked for. */
  readonly watchdogMs: number | null;
  alive(): void;
}

/** The service manager named by the environment, or one that nobody listens to. */
export function serviceManager(environment: NodeJS.ProcessEnv = process.env): ServiceManager {
  const send = opener(environment['NOTIFY_SOCKET'] ?? '');
  const watchdogUs = Number(environment['WATCHDOG_USEC'] ?? 0);
  const isForUs = (environment['WATCHDOG_PID'] ?? String(process.pid)) === String(process.pid);
  return {
    ready: (status) => {
      send(`READY=1\nSTATUS=${oneLine(status)}`);
    },
    status: (text) => {
      send(`STATUS=${oneLine(text)}`);
    },
    reloading: () => {
      send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    },
    stopping: () => {
      send('STOPPING=1');
    },
    // Half the time-out, as sd_watchdog_enabled(3) advises.
    watchdogMs: watchdogUs > 0 && isForUs ? Math.max(watchdogUs / 2000, 1) : null,
    alive: () => {
      send('WATCHDOG=1');
    },
  };
}

function opener(path: string): (message: string) => void {
  const isAbstract = path.startsWith('@');
  if (!isAbstract && !path.startsWith('/')) return () => undefined;
  const name = Buffer.from(isAbstract ? `\0${path.slice(1)}` : path, 'utf8');
  if (name.byteLength >= PATH_BYTES_MAX) return () => undefined;
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int domain, int type, int protocol)') as unknown as (
    domain: number,
    type: number,
    protocol: number,
  ) => number;
  const sendto = libc.func(
    'long sendto(int fd, const void *data, size_t bytes, int flags, const void *address, uint32_t addressBytes)',
  ) as unknown as (
    fd: number,
    data: Uint8Array,
    bytes: number,
    flags: number,
    address: Uint8Array,
    addressBytes: number,
  ) => number;
  const descriptor = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  const address = Buffer.alloc(2 + name.byteLength + (isAbstract ? 0 : 1));
  // The family is in the machine's byte order, and both machines we run on are little-endian.
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  return (message) => {
    const bytes = Buffer.from(message, 'utf8');
    // A service manager that does not listen is no reason to fail.
    if (descriptor >= 0)
      sendto(descriptor, bytes, bytes.byteLength, MSG_NOSIGNAL, address, address.byteLength);
  };
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
