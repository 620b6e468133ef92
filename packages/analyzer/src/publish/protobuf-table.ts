/**
 * Protocol Buffers by tables: a message is a table of its fields, and one encoder and one decoder serve them all. So the schema stands in one place
 * beside `docs/alerts.proto`, and a test holds the two together; generated code would be a third.
 *
 * The decoder is total: bytes of a stranger give a value or a reason, within the limits, and never an exception.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { messageOf } from '@tapline/shared/base/errors.ts';

type ScalarType = 'string' | 'uint32' | 'uint64' | 'int64' | 'double';

export interface FieldRow {
  readonly number: number;
  readonly type: ScalarType | MessageTable;
  readonly isRepeated?: true;
}

export interface MessageTable {
  readonly [name: string]: FieldRow;
}

type One<R extends FieldRow> = R['type'] extends 'string' ? string : R['type'] extends ScalarType ? number : R['type'] extends MessageTable ? ValueOf<R['type']> : never; // prettier-ignore

/** A message as a plain value: lists may be empty, messages may be null, numbers and texts have 0 and ''. */
export type ValueOf<T extends MessageTable> = {
  readonly [K in keyof T]: T[K] extends { readonly isRepeated: true }
    ? readonly One<T[K]>[]
    : T[K]['type'] extends ScalarType
      ? One<T[K]>
      : One<T[K]> | null;
};

/** Entries of one list. 1,000 records of a replay are the most that a message has. */
const ENTRIES_MAX = 1000;

export type Decoded<V> =
  { readonly kind: 'message'; readonly value: V } | { readonly kind: 'malformed'; readonly reason: string };

export function encodeMessage<T extends MessageTable>(table: T, value: ValueOf<T>): Uint8Array {
  const writer = new BinaryWriter();
  writeMessage(writer, table, value);
  return writer.finish();
}

/** Takes what a peer sent. Unknown fields are skipped: a newer peer may have more to say. */
export function decodeMessage<T extends MessageTable>(
  table: T,
  bytes: Uint8Array,
  bytesMax: number,
): Decoded<ValueOf<T>> {
  if (bytes.byteLength > bytesMax) return { kind: 'malformed', reason: `${bytes.byteLength} bytes are more than the ${bytesMax} allowed` }; // prettier-ignore
  try {
    const reader = new BinaryReader(bytes);
    return { kind: 'message', value: readMessage(reader, table, reader.len) as ValueOf<T> };
  } catch (error) {
    // The reader of the library tells truncation and wrong varints so, and `readMessage` everything else.
    return { kind: 'malformed', reason: messageOf(error) };
  }
}

type Plain = Readonly<Record<string, unknown>>;

function writeMessage(writer: BinaryWriter, table: MessageTable, value: Plain): void {
  for (const [name, field] of Object.entries(table)) {
    const content = value[name];
    if (field.isRepeated === true)
      for (const entry of content as readonly unknown[]) writeField(writer, field, entry); // prettier-ignore
    // As proto3 has it: what has its default is left out.
    else if (content !== null && content !== '' && content !== 0) writeField(writer, field, content);
  }
}

function writeField(writer: BinaryWriter, { number, type }: FieldRow, value: unknown): void {
  writer.tag(number, wireTypeOf(type));
  if (typeof type === 'object') {
    writer.fork();
    writeMessage(writer, type, value as Plain);
    writer.join();
  } else if (type === 'string') writer.string(value as string);
  else writer[type](value as number);
}

function wireTypeOf(type: FieldRow['type']): WireType {
  if (typeof type === 'object' || type === 'string') return WireType.LengthDelimited;
  return type === 'double' ? WireType.Bit64 : WireType.Varint;
}

function readMessage(reader: BinaryReader, table: MessageTable, end: number): Plain {
  const value: Record<string, unknown> = {};
  const fields = new Map<number, [string, FieldRow]>();
  for (const [name, field] of Object.entries(table)) {
    fields.set(field.number, [name, field]);
    value[name] = defaultOf(field);
  }
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const known = fields.get(number);
    if (known === undefined || wireType !== wireTypeOf(known[1].type)) {
      reader.skip(wireType, number);
      continue;
    }
    const [name, field] = known;
    const content = readField(reader, field, end);
    if (field.isRepeated !== true) value[name] = content;
    else {
      const list = value[name] as unknown[];
      if (list.length >= ENTRIES_MAX) throw new Error(`${name} has more than ${ENTRIES_MAX} entries`);
      list.push(content);
    }
  }
  // A field that goes beyond its message belongs to nobody.
  if (reader.pos !== end) throw new Error('a field ends outside its message');
  return value;
}

function readField(reader: BinaryReader, { type }: FieldRow, end: number): unknown {
  if (typeof type === 'object') {
    const length = reader.uint32();
    if (length > end - reader.pos) throw new Error('a message is longer than what holds it');
    return readMessage(reader, type, reader.pos + length);
  }
  if (type === 'string') return reader.string();
  if (type === 'uint32' || type === 'double') return reader[type]();
  const number = Number(reader[type]());
  if (!Number.isSafeInteger(number)) throw new Error('a number is beyond 2^53');
  return number;
}

function defaultOf({ type, isRepeated }: FieldRow): unknown {
  if (isRepeated === true) return [];
  if (typeof type === 'object') return null;
  return type === 'string' ? '' : 0;
}
