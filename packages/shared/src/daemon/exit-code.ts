/**
 * Exit codes, the same for all programs. Scripts and units rely on them; `docs/troubleshooting.md` says what to do.
 */
import { OperatingError, type ErrorCode } from '../base/errors.ts';

/** Stopped cleanly: everything that came in was stored, sent or counted. */
export const EXIT_CLEAN = 0;
/** A bug in Tapline. */
export const EXIT_BUG = 1;
/** The configuration or a filter is wrong: starting again will not help. */
export const EXIT_CONFIG = 2;
/** Nothing to capture from: no such interface, no permission, no such file. */
export const EXIT_CAPTURE = 3;
/** The archive or the spool cannot be opened or written. */
export const EXIT_ARCHIVE = 4;
/** A port cannot be opened. */
export const EXIT_LISTEN = 5;
/** Stopped, but not everything could be handed over in time; what is missing was counted and logged. */
export const EXIT_NOT_DRAINED = 6;
/** Some input was damaged; everything before the damage was taken. */
export const EXIT_DAMAGED_INPUT = 7;
/** A library or program is missing. */
export const EXIT_MISSING = 8;
/** Wrong use of the command line (sysexits.h: EX_USAGE). */
export const EXIT_USAGE = 64;

const BY_CODE: Readonly<Record<ErrorCode, number>> = {
  CONFIG_INVALID: EXIT_CONFIG,
  FILTER_INVALID: EXIT_CONFIG,
  OBJECT_STORE_FAILED: EXIT_ARCHIVE,
  CAPTURE_FAILED: EXIT_CAPTURE,
  PCAP_INVALID: EXIT_DAMAGED_INPUT,
  ARCHIVE_FAILED: EXIT_ARCHIVE,
  SPOOL_FAILED: EXIT_ARCHIVE,
  LISTEN_FAILED: EXIT_LISTEN,
  TUNNEL_PROTOCOL: EXIT_NOT_DRAINED,
  TUNNEL_REFUSED: EXIT_NOT_DRAINED,
  TUNNEL_UNREACHABLE: EXIT_NOT_DRAINED,
  SYSTEM_MISSING: EXIT_MISSING,
};

/** The exit code for whatever ended the program. */
export function exitCodeOf(error: unknown): number {
  return error instanceof OperatingError ? BY_CODE[error.code] : EXIT_BUG;
}
