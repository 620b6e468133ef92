/**
 * Ports of fragmented packets: only the first fragment has them, and the others must find their flow. What comes before its first
 * fragment is a flow without ports. Bounded: FRAGMENTS_MAX packets under way, forgotten after LIFETIME_US (RFC 791 allows minutes; wires need
 * milliseconds).
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { FRAME_IPV4 } from '@tapline/shared/packet/frame-cursor.ts';
import type { PacketView } from '../packet/packet-view.ts';

const FRAGMENTS_MAX = 4096;
const LIFETIME_US = 30_000_000;

export interface FragmentState {
  /** Key of the packet → source port, destination port, time. */
  readonly ports: Map<string, readonly [number, number, number]>;
  evicted: number;
}

export function createFragmentState(): FragmentState {
  return { ports: new Map(), evicted: 0 };
}

/** For a fragment: learns its ports or fills them in. */
export function resolveFragment(state: FragmentState, view: PacketView): void {
  const { inner, bytes } = view;
  const key = fragmentKey(view);
  if (inner.transportOffset !== -1) {
    if (view.sourcePort === -1) return;
    if (state.ports.size >= FRAGMENTS_MAX) {
      const before = state.ports.size;
      dropOldest(state.ports);
      state.evicted += before - state.ports.size;
    }
    state.ports.delete(key);
    state.ports.set(key, [view.sourcePort, view.destinationPort, view.timeUs]);
    return;
  }
  const known = state.ports.get(key);
  if (known === undefined || Math.abs(view.timeUs - known[2]) > LIFETIME_US) return;
  view.sourcePort = known[0];
  view.destinationPort = known[1];

  function fragmentKey(view: PacketView): string {
    const network = inner.networkOffset;
    const addresses = Buffer.from(
      bytes.buffer,
      bytes.byteOffset + inner.sourceOffset,
      inner.addressBytes * 2,
    ).toString('latin1');
    let identification = 0;
    if (inner.kind === FRAME_IPV4) identification = readBe(network + 4, 2);
    // The fragment header is the last before the transport; its identification is 4 bytes before the payload it fragments.
    else
      identification = readBe((inner.transportOffset === -1 ? network + 48 : inner.transportOffset) - 4, 4);
    return `${view.protocol} ${identification} ${addresses}`;
  }

  function readBe(at: number, count: number): number {
    let value = 0;
    for (let i = at; i < at + count; i++) value = value * 256 + (bytes[i] ?? 0);
    return value;
  }
}
