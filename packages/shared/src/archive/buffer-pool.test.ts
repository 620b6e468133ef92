import { describe, expect, it } from 'vitest';
import { BUFFER_BYTES_MIN, BufferPool } from './buffer-pool.ts';

describe('buffer pool', () => {
  it('says no at its budget, and yes again when something came back', () => {
    const pool = new BufferPool(4 * BUFFER_BYTES_MIN);
    const first = pool.take(1);
    const second = pool.take(3 * BUFFER_BYTES_MIN);
    expect(first?.byteLength).toBe(BUFFER_BYTES_MIN);
    expect(second).toBeNull();
    expect(pool.take(BUFFER_BYTES_MIN + 1)?.byteLength).toBe(2 * BUFFER_BYTES_MIN);
    expect(pool.take(BUFFER_BYTES_MIN + 1)).toBeNull();
    if (first !== null) pool.give(first);
    expect(pool.take(BUFFER_BYTES_MIN + 1)).not.toBeNull();
    expect(pool.bytesUsed).toBe(pool.bytesMax);
  });

  it('lends the same memory again, and breaks the budget only when forced', () => {
    const pool = new BufferPool(16 * BUFFER_BYTES_MIN);
    const buffer = pool.take(5000);
    expect(buffer).not.toBeNull();
    if (buffer === null) return;
    pool.give(buffer);
    expect(pool.take(8000)).toBe(buffer);
    expect(pool.take(300_000)).toBeNull();
    const forced = pool.take(300_000, true);
    expect(forced?.byteLength).toBe(512 * 1024);
    expect(pool.isShort).toBe(true);
  });
});
