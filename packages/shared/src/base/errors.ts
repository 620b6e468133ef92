/**
 * What the world does to us: a bad file, a full disk, a peer that lies. Such an error has a closed code, a sentence
 * that says what was attempted, the facts and the cause. It is counted and survived, or ends the program with the exit
 * code that `docs/troubleshooting.md` lists. A bug is never one of these: see `assert.ts`.
 */
export type ErrorCode =
  | 'CONFIG_INVALID' // a configuration file or option is wrong
  | 'CAPTURE_FAILED' // an interface, a capture library or a socket refused
  | 'FILTER_INVALID' // libpcap does not accept the BPF expression
  | 'PCAP_INVALID' // a capture file is damaged or not one
  | 'ARCHIVE_FAILED' // the archive's disk refused
  | 'OBJECT_STORE_FAILED' // an object store refused, or cannot be reached
  | 'SPOOL_FAILED' // the spool's disk refused, or what it holds is damaged
  | 'TUNNEL_PROTOCOL' // the peer broke the wire protocol
  | 'TUNNEL_REFUSED' // the peer said no
  | 'TUNNEL_UNREACHABLE' // no connection could be made
  | 'LISTEN_FAILED' // a port could not be opened
  | 'SYSTEM_MISSING'; // a library or program that must be installed

/** An error the world caused. `context` holds the facts (file, offset, key) for logs and tests. */
export class OperatingError extends Error {
  readonly code: ErrorCode;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    context: Readonly<Record<string, unknown>> = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'OperatingError';
    this.code = code;
    this.context = context;
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
