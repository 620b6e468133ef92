/**
 * Writes the fields of a protocol message one after the other. Every conversation has one writer and reuses it: the view
 * that `done` returns is lent until the next `start`, which is long enough, as sending copies it into a frame.
 *
 * `u16` and `u32` are big-endian (network order); the `le` forms are little-endian, as DNP3, IEC 104, CIP, OPC UA and SMB
 * want them.
 */
const INITIAL_BYTES = 256;
const TWO_POW_32 = 0x1_0000_0000;
const float = new DataView(new ArrayBuffer(8));

export class ByteWriter {
  bytes = new Uint8Array(INITIAL_BYTES);
  length = 0;

  start(): this {
    this.length = 0;
    return this;
  }

  /** The message so far: a view, lent until the next `start`. */
  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** The message so far, for keeps. */
  copy(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  u8(value: number): this {
    this.#reserve(1);
    this.bytes[this.length++] = value;
    return this;
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value);
  }

  u24(value: number): this {
    return this.u8(value >>> 16).u16(value);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value);
  }

  u16le(value: number): this {
    return this.u8(value).u8(value >>> 8);
  }

  u24le(value: number): this {
    return this.u16le(value).u8(value >>> 16);
  }

  u32le(value: number): this {
    return this.u16le(value).u16le(value >>> 16);
  }

  /** 48 bits; `value` is a non-negative safe integer. */
  u48le(value: number): this {
    return this.u32le(value % TWO_POW_32).u16le(Math.floor(value / TWO_POW_32));
  }

  /** 64 bits; `value` is a non-negative number below 2^63, exact only as far as a double is. */
  u64le(value: number): this {
    return this.u32le(value % TWO_POW_32).u32le(Math.floor(value / TWO_POW_32));
  }

  f32le(value: number): this {
    float.setFloat32(0, value, true);
    return this.u32le(float.getUint32(0, true));
  }

  f64le(value: number): this {
    float.setFloat64(0, value, true);
    return this.u32le(float.getUint32(0, true)).u32le(float.getUint32(4, true));
  }

  raw(bytes: ArrayLike<number>): this {
    this.#reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  ascii(text: string): this {
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i));
    return this;
  }

  utf16le(text: string): this {
    for (let i = 0; i < text.length; i++) this.u16le(text.charCodeAt(i));
    return this;
  }

  fill(value: number, byteLength: number): this {
    this.#reserve(byteLength);
    this.bytes.fill(value, this.length, this.length + byteLength);
    this.length += byteLength;
    return this;
  }

  zeros(byteLength: number): this {
    return this.fill(0, byteLength);
  }

  /** Overwrites a big-endian u16 that was written before: a length known only now. */
  patchU16(offset: number, value: number): this {
    this.bytes[offset] = value >>> 8;
    this.bytes[offset + 1] = value;
    return this;
  }

  /** The same, little-endian. */
  patchU16le(offset: number, value: number): this {
    this.bytes[offset] = value;
    this.bytes[offset + 1] = value >>> 8;
    return this;
  }

  #reserve(byteLength: number): void {
    if (this.length + byteLength <= this.bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(2 * this.bytes.byteLength, this.length + byteLength));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
