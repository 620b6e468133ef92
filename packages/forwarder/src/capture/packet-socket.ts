/**
 * The one door to Linux packet sockets (packet(7)): what makes, fills and ends a mapped ring, through the C library's
 * calls (`libc.ts`). Works with glibc and musl, on x86-64 and arm64, whose option numbers and structures are the same.
 *
 * What must stay true: nothing reaches the ring that did not pass the filter. The socket is created with protocol 0, for
 * which the kernel hooks it to nothing; version, ring, filter are set up in peace, and only `bind` with ETH_P_ALL connects
 * it to the interface. (libpcap's way, to bind first and to drain what came before the filter, is not needed.)
 *
 * Only `open` needs CAP_NET_RAW. An interface that vanished and came back is bound again on the same socket, with the
 * same ring and filter, which asks for no privilege: a daemon may drop the capability once it runs.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';
import { assert } from '@tapline/shared/base/assert.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '@tapline/shared/packet/link-type.ts';
import { keepProgram } from '@tapline/shared/filter/batch-filter.ts';
import { bindLibc, type Libc } from './libc.ts';
import { RING_BLOCK_BYTES, RING_RETIRE_MS } from './ring-format.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ALL = 0x0003;

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_ATTACH_FILTER = 26;
/** sizeof(struct sock_fprog). */
const FILTER_BYTES = 16;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const TPACKET_V3 = 2;
/** The kernel checks it against the ring's size but does not use it: with TPACKET_V3 packets lie back to back. */
const NOMINAL_FRAME_BYTES = 2048;

const SIOCGIFFLAGS = 0x8913;
const SIOCGIFHWADDR = 0x8927;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFNAMSIZ = 16;

const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_SHARED = 0x01;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const POLLIN = 0x001;

/** ARPHRD_ values (/sys/class/net/X/type) whose frames a SOCK_RAW socket gives in a form that a link type names. */
const LINK_TYPE_BY_ARPHRD: ReadonlyMap<number, number> = new Map([
  [1, LINKTYPE_ETHERNET], // ARPHRD_ETHER
  [772, LINKTYPE_ETHERNET], // ARPHRD_LOOPBACK
  [519, LINKTYPE_RAW], // ARPHRD_RAWIP: LTE modems
  [768, LINKTYPE_RAW], // ARPHRD_TUNNEL: IPIP
  [776, LINKTYPE_RAW], // ARPHRD_SIT
  [65534, LINKTYPE_RAW], // ARPHRD_NONE: tun, WireGuard
]);

export interface PacketSocketOptions {
  readonly interfaceName: string;
  readonly ringBytes: number;
  readonly promiscuous: boolean;
  readonly ignoreOutgoing: boolean;
  /** Instructions as `libpcap.ts` describes them; their result cuts the packet in the kernel. */
  readonly program: Uint8Array;
}

/** What the kernel counted since it was last asked. `received` includes `dropped`. */
export interface SocketStatistics {
  received: number;
  dropped: number;
  freezes: number;
}

/** What `poll` saw. */
export type Readiness = 'nothing' | 'block' | 'error';

export class PacketSocket {
  readonly linkType: number;
  /** The ring, mapped: reads and writes go to the kernel's memory. Dead after `close()`. */
  readonly ring: ArrayBuffer;

  readonly #options: PacketSocketOptions;
  readonly #libc: Libc;
  readonly #descriptor: number;
  readonly #ringAddress: unknown;
  readonly #pollSet: Uint8Array;
  readonly #scratch = new Uint8Array(12);
  readonly #scratchLength = new Uint32Array(1);
  #closed = false;

  private constructor(options: PacketSocketOptions, libc: Libc, descriptor: number) {
    this.#options = options;
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#pollSet = new Uint8Array(8);
    new Int32Array(this.#pollSet.buffer)[0] = descriptor;
    new Int16Array(this.#pollSet.buffer)[2] = POLLIN;
    const { flags, arphrd } = this.#describeInterface();
    if ((flags & IFF_UP) === 0) {
      throw this.#refusal(`the interface is down; \`ip link set ${options.interfaceName} up\``, 'ENETDOWN');
    }
    this.linkType = this.#linkTypeOf(arphrd);
    this.#set(SOL_PACKET, PACKET_VERSION, Uint32Array.of(TPACKET_V3), 'TPACKET_V3 is not available');
    // Sent packets pass a loopback interface twice, once in each direction.
    if (options.ignoreOutgoing || (flags & IFF_LOOPBACK) !== 0) {
      this.#set(SOL_PACKET, PACKET_IGNORE_OUTGOING, Uint32Array.of(1), 'this needs Linux 4.20 or newer');
    }
    this.#set(
      SOL_PACKET,
      PACKET_RX_RING,
      ringRequest(options.ringBytes),
      'no memory for the ring; set a smaller one',
    );
    this.attachFilter(options.program);
    this.#ringAddress = this.#map(options.ringBytes);
    this.ring = koffi.view(this.#ringAddress, options.ringBytes);
  }

  /** Throws CAPTURE_FAILED with what to do about it. `ringBytes` is a multiple of RING_BLOCK_BYTES. */
  static open(options: PacketSocketOptions): PacketSocket {
    assert(endianness() === 'LE', 'the ring is read as little-endian');
    assert(options.ringBytes % RING_BLOCK_BYTES === 0, 'the ring must be whole blocks');
    const libc = bindLibc();
    const descriptor = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
      const reason = errnoName();
      const remedy =
        reason === 'EPERM' ? 'not permitted; run as root or with CAP_NET_RAW' : 'no packet sockets here';
      throw refusal(options.interfaceName, remedy, reason);
    }
    let socket: PacketSocket | null = null;
    try {
      socket = new PacketSocket(options, libc, descriptor);
      socket.bind();
      return socket;
    } catch (error) {
      if (socket !== null) socket.close();
      else libc.close(descriptor);
      throw error;
    }
  }

  /**
   * Connects to the interface of our name as it is now. Again, after it was gone: the ring and the filter stay.
   * Throws CAPTURE_FAILED when it is not there or is not what it was.
   */
  bind(): void {
    const index = this.#libc.if_nametoindex(this.#options.interfaceName);
    if (index === 0) throw this.#refusal('there is no such interface; `ip link` lists them', 'ENODEV');
    const { arphrd } = this.#describeInterface();
    if (this.#linkTypeOf(arphrd) !== this.linkType) {
      throw this.#refusal('it came back as another kind of interface', 'link type');
    }
    const address = new DataView(new ArrayBuffer(20));
    address.setUint16(0, AF_PACKET, true);
    address.setUint16(2, ETH_P_ALL, false);
    address.setInt32(4, index, true);
    const bytes = new Uint8Array(address.buffer);
    if (this.#libc.bind(this.#descriptor, bytes, bytes.byteLength) !== 0) throw this.#refusal('bind failed');
    if (!this.#options.promiscuous) return;
    // Counted by the kernel: adding it again for the same interface does no harm, closing gives it back.
    const membership = new DataView(new ArrayBuffer(16));
    membership.setInt32(0, index, true);
    membership.setUint16(4, PACKET_MR_PROMISC, true);
    this.#set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, new Uint8Array(membership.buffer), 'no promiscuous mode');
  }

  /** Replaces the filter; packets already in the ring stay there. */
  attachFilter(program: Uint8Array): void {
    const filter = { len: program.byteLength / 8, filter: program };
    const status = this.#libc.setFilter(this.#descriptor, SOL_SOCKET, SO_ATTACH_FILTER, filter, FILTER_BYTES);
    if (status !== 0) throw this.#refusal('the kernel refuses the filter');
  }

  /** From here on nothing new enters the ring. */
  rejectAll(): void {
    this.attachFilter(keepProgram(0));
  }

  /** Whether the interface of our name exists and is up. */
  isUp(): boolean {
    try {
      return (this.#describeInterface().flags & IFF_UP) !== 0;
    } catch {
      return false;
    }
  }

  /** Blocks this thread until a block is ready, the socket has an error, or the time has passed. */
  poll(timeoutMs: number): Readiness {
    if (this.#libc.poll(this.#pollSet, 1, timeoutMs) <= 0) return 'nothing';
    const events = (this.#pollSet[6] as number) | ((this.#pollSet[7] as number) << 8);
    return (events & ~POLLIN) !== 0 ? 'error' : 'block';
  }

  /** The socket's pending error as errno name, e.g. ENETDOWN, which this clears; empty when there is none. */
  takeError(): string {
    this.#get(SOL_SOCKET, SO_ERROR, 4);
    const number = this.#scratch[0] as number;
    return number === 0 ? '' : errnoName(number);
  }

  /** Reads and clears the kernel's counters. */
  takeStatistics(into: SocketStatistics): void {
    this.#get(SOL_PACKET, PACKET_STATISTICS, 12);
    const words = new Uint32Array(this.#scratch.buffer);
    into.received = words[0] as number;
    into.dropped = words[1] as number;
    into.freezes = words[2] as number;
  }

  /** Unmaps the ring and closes the socket; `ring` must not be touched afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.munmap(this.#ringAddress, this.#options.ringBytes);
    this.#libc.close(this.#descriptor);
  }

  #describeInterface(): { flags: number; arphrd: number } {
    // struct ifreq: 16 bytes of name, then the answer; asked of the socket, so it is the socket's network namespace.
    const { interfaceName } = this.#options;
    if (Buffer.byteLength(interfaceName) >= IFNAMSIZ) {
      throw this.#refusal('no interface has a name that long', 'ENODEV');
    }
    const request = new Uint8Array(40);
    request.set(Buffer.from(interfaceName));
    const answer = new DataView(request.buffer);
    if (this.#libc.ioctl(this.#descriptor, SIOCGIFFLAGS, request) !== 0) {
      throw this.#refusal('there is no such interface; `ip link` lists them');
    }
    const flags = answer.getUint16(IFNAMSIZ, true);
    if (this.#libc.ioctl(this.#descriptor, SIOCGIFHWADDR, request) !== 0)
      throw this.#refusal('it has no type');
    return { flags, arphrd: answer.getUint16(IFNAMSIZ, true) };
  }

  #linkTypeOf(arphrd: number): number {
    const linkType = LINK_TYPE_BY_ARPHRD.get(arphrd);
    if (linkType === undefined) {
      throw this.#refusal(`it is neither Ethernet nor plain IP (type ${arphrd})`, 'link type');
    }
    return linkType;
  }

  #map(byteLength: number): unknown {
    const address: unknown = this.#libc.mmap(
      null,
      byteLength,
      PROT_READ_WRITE,
      MAP_SHARED,
      this.#descriptor,
      0,
    );
    if (BigInt.asUintN(64, koffi.address(address)) === MAP_FAILED) throw this.#refusal('cannot map the ring');
    return address;
  }

  #set(level: number, option: number, value: Uint8Array | Uint32Array, remedy: string): void {
    if (this.#libc.setsockopt(this.#descriptor, level, option, value, value.byteLength) !== 0) {
      throw this.#refusal(remedy);
    }
  }

  #get(level: number, option: number, byteLength: number): void {
    this.#scratchLength[0] = byteLength;
    const status = this.#libc.getsockopt(this.#descriptor, level, option, this.#scratch, this.#scratchLength);
    assert(status === 0, 'a packet socket always tells its state');
  }

  #refusal(remedy: string, reason = errnoName()): OperatingError {
    return refusal(this.#options.interfaceName, remedy, reason);
  }
}

function refusal(interfaceName: string, remedy: string, reason: string): OperatingError {
  return new OperatingError('CAPTURE_FAILED', `cannot capture on ${interfaceName}: ${remedy} (${reason})`, {
    interface: interfaceName,
    reason,
  });
}

/** struct tpacket_req3. */
function ringRequest(ringBytes: number): Uint32Array {
  const blockCount = ringBytes / RING_BLOCK_BYTES;
  const frameCount = ringBytes / NOMINAL_FRAME_BYTES;
  return Uint32Array.of(RING_BLOCK_BYTES, blockCount, NOMINAL_FRAME_BYTES, frameCount, RING_RETIRE_MS, 0, 0);
}

function errnoName(number = koffi.errno()): string {
  const known = Object.entries(koffi.os.errno).find(([, value]) => value === number);
  return known?.[0] ?? `errno ${number}`;
}
