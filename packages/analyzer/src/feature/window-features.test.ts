/** What a host and a service did lately: decay, entropy and distinct peers computed by hand, and how much is kept. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  WINDOW_FEATURES,
  countEnd,
  countPacket,
  countStart,
  createWindowState,
  windowFeatures,
  type WindowFlow,
  type WindowState,
} from './window-features.ts';

const SECOND = 1_000_000;
/** The beginning of a window of 30 s. */
const T0 = 1_767_592_800 * SECOND;

function flow(client: string, server: string, serverPort = 445, protocol = 6): WindowFlow {
  return { client, server, serverPort, doorway: `${server} ${protocol} ${serverPort}` };
}

function read(state: WindowState, of: WindowFlow, nowUs: number): Record<string, number> {
  const out = new Float64Array(WINDOW_FEATURES.length);
  windowFeatures(state, of, nowUs, out, 0);
  return Object.fromEntries(WINDOW_FEATURES.map(({ name }, i) => [name, out[i] as number]));
}

describe('the windows of a client and of a service', () => {
  it('forget with exp(-age / 30 s)', () => {
    const state = createWindowState();
    const one = flow('10.0.0.1', '10.0.0.2');
    for (let i = 0; i < 60; i++) countStart(state, one, T0, true);
    expect(read(state, one, T0)['client_connection_rate']).toBeCloseTo(2, 12);
    expect(read(state, one, T0 + 30 * SECOND)['client_connection_rate']).toBeCloseTo(2 / Math.E, 12);
    countStart(state, one, T0 + 30 * SECOND, true);
    const later = read(state, one, T0 + 60 * SECOND);
    expect(later['client_connection_rate']).toBeCloseTo((60 / Math.E ** 2 + 1 / Math.E) / 30, 12);
    expect(later['service_connection_rate']).toBeCloseTo((60 / Math.E ** 2 + 1 / Math.E) / 30, 12);
  });

  it('decay in small steps as in one', () => {
    const [often, once] = [createWindowState(), createWindowState()];
    const one = flow('10.0.0.1', '10.0.0.2');
    for (const state of [often, once]) countStart(state, one, T0, true);
    for (let i = 1; i <= 600; i++) read(often, one, T0 + i * 50_000);
    expect(read(often, one, T0 + 30 * SECOND)['client_connection_rate']).toBeCloseTo(
      read(once, one, T0 + 30 * SECOND)['client_connection_rate'] as number,
      4,
    );
  });

  it('measure the entropy of packet lengths in classes of powers of two', () => {
    const state = createWindowState();
    const one = flow('10.0.0.1', '10.0.0.2');
    const bits = (lengths: readonly number[]): number | undefined => {
      for (const bytes of lengths) countPacket(state, one, T0, bytes, true, 0);
      return read(state, one, T0)['client_size_entropy'];
    };
    expect(read(state, one, T0)['client_size_entropy']).toBe(0);
    // 40 and 63 are below 64, 64 and 127 are one class: two classes of the same size are one bit.
    expect(bits([40, 40])).toBe(0);
    expect(bits([64, 127])).toBeCloseTo(1, 12);
    expect(bits([128, 255, 256, 511])).toBeCloseTo(2, 12);
    // From 4096 on everything is one class: 2, 2, 2, 2 and 4 of 12.
    expect(bits([4096, 9000, 65_535, 300_000])).toBeCloseTo(4 * (2 / 12) * Math.log2(6) + (4 / 12) * Math.log2(3), 12); // prettier-ignore
  });

  it('tell bytes out from bytes in, the client and the service the other way round', () => {
    const state = createWindowState();
    const one = flow('10.0.0.1', '10.0.0.2');
    countPacket(state, one, T0, 99, true, 0);
    countPacket(state, one, T0, 799, false, 0);
    const seen = read(state, one, T0);
    expect(seen['client_amplification']).toBeCloseTo(-3, 12);
    expect(seen['service_amplification']).toBeCloseTo(3, 12);
  });

  it('compare SYN with SYN+ACK, and ended with completed', () => {
    const state = createWindowState();
    const one = flow('10.0.0.1', '10.0.0.2');
    expect(read(state, one, T0)).toMatchObject({ client_syn_ack_ratio: 0, client_flow_completion: 1 });
    for (let i = 0; i < 3; i++) countPacket(state, one, T0, 40, true, 1);
    countPacket(state, one, T0, 40, false, 2);
    countEnd(state, one, T0, true);
    for (let i = 0; i < 3; i++) countEnd(state, one, T0, false);
    const seen = read(state, one, T0);
    expect(seen).toMatchObject({ client_syn_ack_ratio: 0.5, service_syn_ack_ratio: 0.5, client_flow_completion: 0.25 }); // prettier-ignore
  });

  it('count different peers and ports of this window and the last, and not of the one before', () => {
    const state = createWindowState();
    for (let i = 0; i < 8; i++)
      countStart(state, flow('10.0.0.1', `10.0.1.${i % 4}`, 100 + (i % 2)), T0, true);
    const one = flow('10.0.0.1', '10.0.1.0', 100);
    expect(read(state, one, T0)).toMatchObject({
      client_fan_out: 4,
      client_source_dispersion: 0.5,
      client_port_entropy: 0.25,
      service_fan_out: 1,
    });
    countStart(state, flow('10.0.0.1', '10.0.1.9', 100), T0 + 31 * SECOND, true);
    expect(read(state, one, T0 + 59 * SECOND)['client_fan_out']).toBe(5);
    expect(read(state, one, T0 + 61 * SECOND)['client_fan_out']).toBe(1);
    expect(read(state, one, T0 + 120 * SECOND)['client_fan_out']).toBe(0);
  });

  it('count different peers as plain sets of two windows do', () => {
    const step = fc.record({ gap: fc.nat(40 * SECOND), peer: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const state = createWindowState();
        const seen: { readonly window: number; readonly peer: number }[] = [];
        let nowUs = T0;
        for (const { gap, peer } of steps) {
          nowUs += gap;
          const window = Math.floor(nowUs / (30 * SECOND));
          seen.push({ window, peer });
          countStart(state, flow('10.0.0.1', `10.0.1.${peer}`), nowUs, true);
          const twin = new Set(seen.filter((one) => one.window >= window - 1).map((one) => one.peer));
          expect(read(state, flow('10.0.0.1', '10.0.1.0'), nowUs)['client_fan_out']).toBe(twin.size);
        }
      }),
    );
  });

  it('score lateral movement by the share of management ports inside', () => {
    const state = createWindowState();
    countStart(state, flow('10.0.0.1', '10.0.0.2', 445), T0, true);
    countStart(state, flow('10.0.0.1', '10.0.0.3', 3389), T0, true);
    countStart(state, flow('10.0.0.1', '10.0.0.4', 502), T0, true);
    countStart(state, flow('10.0.0.1', '8.8.8.8', 22), T0, false);
    expect(read(state, flow('10.0.0.1', '10.0.0.2', 445), T0)).toMatchObject({ client_lateral_score: 0.5, service_lateral_score: 1 }); // prettier-ignore
  });

  it('call a peer new once', () => {
    const state = createWindowState();
    for (let i = 0; i < 6; i++) countStart(state, flow('10.0.0.1', `10.0.0.${2 + (i % 3)}`), T0, true);
    expect(read(state, flow('10.0.0.1', '10.0.0.2'), T0)['client_new_peers']).toBeCloseTo(3 / 30, 12);
  });

  it('are bounded, and forget who was silent longest, not who talks all the time', () => {
    const state = createWindowState();
    const busy = flow('10.0.0.1', '10.0.0.2', 502);
    for (let i = 0; i < 40; i++) countStart(state, busy, T0, true);
    for (let i = 0; i < 100_000; i++) {
      const nowUs = T0 + i * 1000;
      countStart(state, flow(`10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, '10.0.0.3', i & 0xffff), nowUs, true); // prettier-ignore
      if (i % 1000 === 0) countPacket(state, busy, nowUs, 100, true, 0);
    }
    expect(state.hosts.size).toBeLessThanOrEqual(16_384);
    expect(state.services.size).toBeLessThanOrEqual(16_384);
    expect(state.hosts.has('10.0.0.1')).toBe(true);
    for (const window of state.hosts.values()) {
      expect(window.known?.size ?? 0).toBeLessThanOrEqual(256);
      expect((window.peers.current?.size ?? 0) + (window.peers.last?.size ?? 0)).toBeLessThanOrEqual(512);
    }
  });

  it('keep a small set of a host that talks to everybody', () => {
    const state = createWindowState();
    for (let i = 0; i < 5000; i++)
      countStart(state, flow('10.0.0.1', `10.9.${i >> 8}.${i & 255}`, i), T0 + i, true);
    const window = state.hosts.get('10.0.0.1');
    expect([window?.known?.size, window?.peers.current?.size, window?.ports.current?.size]).toEqual([256, 256, 256]); // prettier-ignore
  });
});
