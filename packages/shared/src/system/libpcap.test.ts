import { describe, expect, it } from 'vitest';
import { OperatingError } from '../base/errors.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../packet/link-type.ts';
import { compileLive, compileOffline, libpcapVersion, runFilter } from './libpcap.ts';

const isRoot = process.getuid?.() === 0;
const SNAP_BYTES = 262_144;

function failureOf(action: () => unknown): OperatingError {
  try {
    action();
  } catch (error) {
    if (error instanceof OperatingError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

/** Operands of the loads: where a program looks. */
function loadOffsets(program: Uint8Array): number[] {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const offsets: number[] = [];
  for (let at = 0; at < program.byteLength; at += 8) {
    if ((view.getUint16(at, true) & 0x07) === 0) offsets.push(view.getUint32(at + 4, true));
  }
  return offsets;
}

describe('libpcap', () => {
  it('is there and says which it is', () => {
    expect(libpcapVersion()).toMatch(/^libpcap version/);
  });

  it('compiles no expression to "keep the snapshot length"', () => {
    expect([...compileOffline(LINKTYPE_ETHERNET, '', 96)]).toEqual([0x06, 0, 0, 0, 96, 0, 0, 0]);
  });

  it('hands on its own message when an expression is wrong', () => {
    const error = failureOf(() => compileOffline(LINKTYPE_ETHERNET, 'tcp prt 502', SNAP_BYTES));
    expect(error.code).toBe('FILTER_INVALID');
    expect(error.message).toMatch(/^filter "tcp prt 502": .*syntax error/);
  });

  it('refuses what makes no sense for the link type', () => {
    expect(failureOf(() => compileOffline(LINKTYPE_RAW, 'ether host 1:2:3:4:5:6', SNAP_BYTES)).code).toBe(
      'FILTER_INVALID',
    );
  });

  it('takes the link type by the number that stands in files', () => {
    const ip = Uint8Array.of(0x45, 0, 0, 20);
    expect(runFilter(compileOffline(LINKTYPE_RAW, 'ip', SNAP_BYTES), ip, 20)).toBe(SNAP_BYTES);
    expect(runFilter(compileOffline(LINKTYPE_RAW, 'ip6', SNAP_BYTES), ip, 20)).toBe(0);
  });

  it.skipIf(!isRoot)(
    'asks the kernel for the VLAN tag in a live program, and the frame in an offline one',
    () => {
      const ancillary = (offset: number): boolean => offset >= 0xffff_f000;
      expect(loadOffsets(compileLive('lo', 'vlan 10', SNAP_BYTES)).some(ancillary)).toBe(true);
      expect(loadOffsets(compileOffline(LINKTYPE_ETHERNET, 'vlan 10', SNAP_BYTES)).some(ancillary)).toBe(
        false,
      );
    },
  );

  it.skipIf(!isRoot)('says what to do about an interface that is not there', () => {
    const error = failureOf(() => compileLive('nowhere0', 'tcp', SNAP_BYTES));
    expect(error.code).toBe('CAPTURE_FAILED');
    expect(error.message).toContain('no such interface');
  });
});
