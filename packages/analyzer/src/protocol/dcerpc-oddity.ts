/**
 * Arguments of RPC calls that only exploits send, in UTF-16:
 *
 *   srvsvc:31, :32      a path that climbs twice in a row, `\..\..` (MS08-067): canonical paths are what these procedures make
 *   IActivation:0, ISystemActivator:3, :4      a host's name behind `\\` with characters that no name has (MS03-026)
 */
import { le16 } from './byte-reader.ts';
import type { Sink } from './dissector.ts';

const BACKSLASH = 0x5c;
const CLIMB: readonly number[] = [BACKSLASH, 0x2e, 0x2e, BACKSLASH, 0x2e, 0x2e];
const NAME_CHARACTERS_MAX = 64;
const STUB_BYTES_MAX = 4096;

const PATHS: ReadonlySet<string> = new Set(['srvsvc:31', 'srvsvc:32']);
const ACTIVATIONS: ReadonlySet<string> = new Set(['IActivation:0', 'ISystemActivator:3', 'ISystemActivator:4']); // prettier-ignore

/** Looks into the arguments `bytes[at, end)` of the procedure; tells `climbing-path` or `odd-host`. */
export function tellOddArguments(
  procedure: string,
  bytes: Uint8Array,
  at: number,
  end: number,
  sink: Sink,
): void {
  const isPath = PATHS.has(procedure);
  if (!isPath && !ACTIVATIONS.has(procedure)) return;
  const last = Math.min(end, at + STUB_BYTES_MAX);
  for (let i = at; i + 2 * CLIMB.length <= last; i++) {
    if (bytes[i] !== BACKSLASH || bytes[i + 1] !== 0) continue;
    if (isPath) {
      if (!CLIMB.every((unit, k) => le16(bytes, i + 2 * k) === unit)) continue;
      sink.fact('climbing-path', procedure);
      return;
    }
    if (le16(bytes, i + 2) !== BACKSLASH) continue;
    if (isOddName(bytes, i + 4, last)) {
      sink.fact('odd-host', procedure);
      return;
    }
  }
}

/** Letters first, so that it is a name; then one that is none, before the name ends. */
function isOddName(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = 0; i < NAME_CHARACTERS_MAX && at + 2 * i + 2 <= end; i++) {
    const unit = le16(bytes, at + 2 * i);
    if (unit === BACKSLASH || unit < 0x20) return false;
    if (unit >= 0x80) return i >= 8;
  }
  return false;
}
