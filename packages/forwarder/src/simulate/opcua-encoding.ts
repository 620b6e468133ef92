/**
 * OPC UA Binary (OPC 10000-6, 5.2): the built-in types that the simulated messages need, and the frame of a message.
 *
 *   message header (OPC 10000-6, 6.7.2)  type (3 letters) · chunk: F = final · size (4), all of the message
 *   OPN adds                             secure channel (4) · policy URI · sender certificate · receiver thumbprint
 *   MSG and CLO add                      secure channel (4) · token (4)
 *   all three then                       sequence number (4) · request (4) · NodeId of the body's type · body
 */
import { ByteWriter } from './byte-writer.ts';
import { fileTime } from './file-time.ts';

export class OpcUaWriter extends ByteWriter {
  /** UTF-8 with its length; null is a length of -1. */
  string(text: string | null): this {
    if (text === null) return this.u32le(0xffff_ffff);
    return this.u32le(text.length).ascii(text);
  }

  byteString(bytes: Uint8Array | null): this {
    if (bytes === null) return this.u32le(0xffff_ffff);
    return this.u32le(bytes.byteLength).raw(bytes);
  }

  /** An array that is absent. */
  noArray(): this {
    return this.u32le(0xffff_ffff);
  }

  /** NodeId, numeric in namespace 0, in four bytes. */
  nodeId(identifier: number): this {
    return this.u8(1).u8(0).u16le(identifier);
  }

  /** NodeId with a string in a namespace. */
  stringNodeId(namespace: number, identifier: string): this {
    return this.u8(3).u16le(namespace).string(identifier);
  }

  /** NodeId, numeric, in any namespace. */
  numericNodeId(namespace: number, identifier: number): this {
    return this.u8(2).u16le(namespace).u32le(identifier);
  }

  /** LocalizedText with a text and no locale. */
  localizedText(text: string): this {
    return this.u8(2).string(text);
  }

  /** DateTime: 100 ns ticks since 1601. */
  dateTime(epochMs: number): this {
    return this.u64le(fileTime(epochMs));
  }

  /** ExtensionObject without type or body. */
  noExtension(): this {
    return this.u8(0).u8(0).u8(0);
  }

  /** RequestHeader (OPC 10000-4, 7.33). */
  requestHeader(token: (fields: this) => unknown, epochMs: number, handle: number): this {
    token(this);
    return this.dateTime(epochMs).u32le(handle).u32le(0).string(null).u32le(10_000).noExtension();
  }

  /** ResponseHeader (OPC 10000-4, 7.34), good. */
  responseHeader(epochMs: number, handle: number): this {
    return this.dateTime(epochMs).u32le(handle).u32le(0).u8(0).noArray().noExtension();
  }
}
