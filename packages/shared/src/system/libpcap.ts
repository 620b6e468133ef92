/**
 * The one door to libpcap, which is the authority on what a filter expression means. Nothing else in Tapline parses
 * one. The library is loaded at the first call, so that who has no filter needs no libpcap.
 *
 * Two kinds of programs come out, and they are not interchangeable:
 * - `compileLive`: for attaching to a packet socket of that interface. The kernel takes the outer VLAN tag out of the
 *   frame before a socket sees it, so the program asks for it in the kernel's ancillary data, and looks for what lies
 *   behind the tag where the frame without the tag has it. Only the kernel can run it.
 * - `compileOffline`: for whole frames, tags in place, from files or pipes. Run by `bpf-interpreter.ts` in the
 *   forwarder, which its tests hold against `runFilter`, libpcap's own.
 *
 * A program is a Uint8Array of 8-byte instructions in the byte order of the machine, exactly `struct sock_filter[]`:
 *
 *   offset  size  field
 *        0     2  code   class, size, mode or operation
 *        2     1  jt     instructions to skip when true
 *        3     1  jf     instructions to skip when false
 *        4     4  k      operand; in `ret #k` how many bytes to keep, 0 = not wanted
 */
import koffi from 'koffi';
import { OperatingError, messageOf } from '../base/errors.ts';
import { LINKTYPE_RAW } from '../packet/link-type.ts';

/** Debian's name first, then upstream's (Fedora, Alpine, Arch), then the development link. */
const LIBRARY_NAMES = ['libpcap.so.0.8', 'libpcap.so.1', 'libpcap.so'];

/** PCAP_ERRBUF_SIZE. */
const ERROR_TEXT_BYTES = 256;
/** PCAP_NETMASK_UNKNOWN: `ip broadcast` is refused with a sentence; a mirror port has no address that could give a mask. */
const NETMASK_UNKNOWN = 0xffff_ffff;
/** pcap_activate needs a ring although nothing is read from it: the smallest that libpcap does not refuse. */
const ACTIVATION_RING_BYTES = 512 * 1024;
const INSTRUCTION_BYTES = 8;
/** Results of pcap_activate that need a word of their own. */
const ERROR_NO_SUCH_DEVICE = -5;
const ERROR_PERMISSION = -8;
const ERROR_INTERFACE_DOWN = -9;
const ERROR_PROMISC_PERMISSION = -11;

/** Where the number in files (LINKTYPE_) is not the one that libpcap uses on Linux (DLT_). */
const DLT_BY_LINK_TYPE: ReadonlyMap<number, number> = new Map([
  [LINKTYPE_RAW, 12],
  [100, 11], // ATM, RFC 1483
  [102, 15], // SLIP, BSD/OS
  [103, 16], // PPP, BSD/OS
  [106, 19], // ATM, classical IP
]);

/** Opaque; null where the library returns NULL. */
type Pointer = unknown;

interface ProgramHolder {
  bf_len?: number;
  bf_insns?: Pointer;
}

interface Functions {
  pcap_create(source: string, errorText: Uint8Array): Pointer;
  pcap_set_snaplen(handle: Pointer, bytes: number): number;
  pcap_set_promisc(handle: Pointer, on: number): number;
  pcap_set_buffer_size(handle: Pointer, bytes: number): number;
  pcap_activate(handle: Pointer): number;
  pcap_open_dead(dataLinkType: number, snapBytes: number): Pointer;
  pcap_compile(
    handle: Pointer,
    program: ProgramHolder,
    expression: string,
    optimize: number,
    netmask: number,
  ): number;
  pcap_freecode(program: ProgramHolder): void;
  pcap_geterr(handle: Pointer): string;
  pcap_statustostr(status: number): string;
  pcap_close(handle: Pointer): void;
  pcap_lib_version(): string;
  bpf_filter(program: Uint8Array, frame: Uint8Array, originalBytes: number, capturedBytes: number): number;
}

let loaded: Functions | null = null;

/** e.g. `libpcap version 1.10.3 (with TPACKET_V3)`. Throws SYSTEM_MISSING when there is no libpcap. */
export function libpcapVersion(): string {
  return library().pcap_lib_version();
}

/**
 * Compiles `expression` for a packet socket on `interfaceName`, which must exist and be up. Needs CAP_NET_RAW.
 * Throws FILTER_INVALID with libpcap's own message, CAPTURE_FAILED when the interface cannot be opened, SYSTEM_MISSING.
 */
export function compileLive(interfaceName: string, expression: string, snapBytes: number): Uint8Array {
  const pcap = library();
  const errorText = new Uint8Array(ERROR_TEXT_BYTES);
  const handle = pcap.pcap_create(interfaceName, errorText);
  if (handle === null) throw captureFailed(interfaceName, textIn(errorText), 0);
  try {
    pcap.pcap_set_snaplen(handle, snapBytes);
    pcap.pcap_set_promisc(handle, 0);
    pcap.pcap_set_buffer_size(handle, ACTIVATION_RING_BYTES);
    const status = pcap.pcap_activate(handle);
    if (status < 0) {
      throw captureFailed(interfaceName, pcap.pcap_geterr(handle) || pcap.pcap_statustostr(status), status);
    }
    return compile(pcap, handle, expression, { interface: interfaceName });
  } finally {
    pcap.pcap_close(handle);
  }
}

/**
 * Compiles `expression` for whole frames of a link type (LINKTYPE_ numbering).
 * Throws FILTER_INVALID with libpcap's own message, SYSTEM_MISSING.
 */
export function compileOffline(linkType: number, expression: string, snapBytes: number): Uint8Array {
  const pcap = library();
  const handle = pcap.pcap_open_dead(DLT_BY_LINK_TYPE.get(linkType) ?? linkType, snapBytes);
  if (handle === null) {
    throw new OperatingError('FILTER_INVALID', `libpcap does not know link type ${linkType}`, { linkType });
  }
  try {
    return compile(pcap, handle, expression, { linkType });
  } finally {
    pcap.pcap_close(handle);
  }
}

/**
 * libpcap's own `bpf_filter`: how many bytes of the frame to keep, 0 when it does not match. The obvious twin that the
 * interpreter must equal; slower only by its way through the foreign-function interface (65 ns a call).
 */
export function runFilter(program: Uint8Array, frame: Uint8Array, originalBytes: number): number {
  return library().bpf_filter(program, frame, originalBytes, frame.byteLength);
}

function compile(
  pcap: Functions,
  handle: Pointer,
  expression: string,
  context: Readonly<Record<string, unknown>>,
): Uint8Array {
  const program: ProgramHolder = {};
  if (pcap.pcap_compile(handle, program, expression, 1, NETMASK_UNKNOWN) !== 0) {
    const reason = pcap.pcap_geterr(handle);
    throw new OperatingError('FILTER_INVALID', `filter "${expression}": ${reason}`, {
      ...context,
      expression,
      reason,
    });
  }
  try {
    const { bf_len: instructionCount = 0, bf_insns: instructions } = program;
    return new Uint8Array(koffi.view(instructions, instructionCount * INSTRUCTION_BYTES)).slice();
  } finally {
    pcap.pcap_freecode(program);
  }
}

function captureFailed(interfaceName: string, reason: string, status: number): OperatingError {
  const remedies: Readonly<Record<number, string>> = {
    [ERROR_NO_SUCH_DEVICE]: 'there is no such interface; `ip link` lists them',
    [ERROR_PERMISSION]: 'not permitted; run as root or with CAP_NET_RAW',
    [ERROR_PROMISC_PERMISSION]: 'not permitted; run as root or with CAP_NET_RAW',
    [ERROR_INTERFACE_DOWN]: `the interface is down; \`ip link set ${interfaceName} up\``,
  };
  const message = `cannot open ${interfaceName}: ${remedies[status] ?? reason}`;
  return new OperatingError('CAPTURE_FAILED', message, { interface: interfaceName, reason, status });
}

function textIn(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? bytes.byteLength : end));
}

function library(): Functions {
  loaded ??= bindFunctions(loadLibrary());
  return loaded;
}

function loadLibrary(): ReturnType<typeof koffi.load> {
  let reason = '';
  for (const name of LIBRARY_NAMES) {
    try {
      return koffi.load(name);
    } catch (error) {
      reason ||= messageOf(error);
    }
  }
  throw new OperatingError(
    'SYSTEM_MISSING',
    'filters need libpcap, which is not installed; `apt-get install libpcap0.8` (Fedora, Alpine: libpcap)',
    { library: LIBRARY_NAMES[0], reason },
  );
}

function bindFunctions(pcap: ReturnType<typeof koffi.load>): Functions {
  const holder = koffi.struct({ bf_len: 'uint32', bf_insns: 'void *' });
  const outProgram = koffi.out(koffi.pointer(holder));
  const inProgram = koffi.inout(koffi.pointer(holder));
  return {
    pcap_create: pcap.func('pcap_create', 'void *', ['str', 'void *']) as Functions['pcap_create'],
    pcap_set_snaplen: pcap.func('pcap_set_snaplen', 'int', [
      'void *',
      'int',
    ]) as Functions['pcap_set_snaplen'],
    pcap_set_promisc: pcap.func('pcap_set_promisc', 'int', [
      'void *',
      'int',
    ]) as Functions['pcap_set_promisc'],
    pcap_set_buffer_size: pcap.func('pcap_set_buffer_size', 'int', [
      'void *',
      'int',
    ]) as Functions['pcap_set_buffer_size'],
    pcap_activate: pcap.func('pcap_activate', 'int', ['void *']) as Functions['pcap_activate'],
    pcap_open_dead: pcap.func('pcap_open_dead', 'void *', ['int', 'int']) as Functions['pcap_open_dead'],
    pcap_compile: pcap.func('pcap_compile', 'int', [
      'void *',
      outProgram,
      'str',
      'int',
      'uint32',
    ]) as Functions['pcap_compile'],
    pcap_freecode: pcap.func('pcap_freecode', 'void', [inProgram]) as Functions['pcap_freecode'],
    pcap_geterr: pcap.func('pcap_geterr', 'str', ['void *']) as Functions['pcap_geterr'],
    pcap_statustostr: pcap.func('pcap_statustostr', 'str', ['int']) as Functions['pcap_statustostr'],
    pcap_close: pcap.func('pcap_close', 'void', ['void *']) as Functions['pcap_close'],
    pcap_lib_version: pcap.func('pcap_lib_version', 'str', []) as Functions['pcap_lib_version'],
    bpf_filter: pcap.func('bpf_filter', 'uint32', [
      'void *',
      'void *',
      'uint32',
      'uint32',
    ]) as Functions['bpf_filter'],
  };
}
