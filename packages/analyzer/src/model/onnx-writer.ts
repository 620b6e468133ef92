/**
 * Writes models as ONNX (onnx.ai, IR version 8): the few messages of onnx.proto that graphs of matrices and trees need, by their field numbers. What is
 * written here any ONNX runtime reads; nothing in Tapline scores a model in any other way.
 *
 *   ModelProto     1 ir_version | 2 producer_name | 3 producer_version | 7 graph | 8 opset_import (1 domain, 2 version)
 *   GraphProto     1 node | 2 name | 5 initializer | 11 input | 12 output
 *   NodeProto      1 input | 2 output | 3 name | 4 op_type | 5 attribute | 7 domain
 *   Attribute      1 name | 2 f | 3 i | 4 s | 7 floats | 8 ints | 9 strings | 20 type
 *   TensorProto    1 dims | 2 data_type | 8 name | 9 raw_data (little-endian)
 *   ValueInfo      1 name | 2 type { 1 tensor_type { 1 elem_type | 2 shape { 1 dim { 1 value | 2 param } } } }
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

const IR_VERSION = 8;
const OPSET_VERSION = 17;
const ML_OPSET_VERSION = 3;
const ML_DOMAIN = 'ai.onnx.ml';
const FLOAT = 1;

export type AttributeValue = number | string | { readonly int: number } | readonly number[] | { readonly ints: readonly number[] } | { readonly strings: readonly string[] }; // prettier-ignore

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Numbers are floats; integers say so. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Of the operators for machine learning, `ai.onnx.ml`. */
  readonly isMl?: boolean;
}

export interface OnnxTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly values: readonly number[] | Float32Array | Float64Array;
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  /** `[N, width]` floats. */
  readonly input: { readonly name: string; readonly width: number };
  readonly output: { readonly name: string; readonly width: number };
}

/** The bytes of an .onnx file. */
export function encodeOnnx(graph: OnnxGraph): Uint8Array {
  const model = new BinaryWriter();
  int(model, 1, IR_VERSION);
  text(model, 2, 'tapline');
  text(model, 3, '1');
  message(model, 7, (w) => {
    for (const node of graph.nodes) message(w, 1, (n) => writeNode(n, node));
    text(w, 2, graph.name);
    for (const tensor of graph.initializers) message(w, 5, (t) => writeTensor(t, tensor));
    message(w, 11, (v) => writeValueInfo(v, graph.input));
    message(w, 12, (v) => writeValueInfo(v, graph.output));
  });
  message(model, 8, (w) => {
    text(w, 1, '');
    int(w, 2, OPSET_VERSION);
  });
  message(model, 8, (w) => {
    text(w, 1, ML_DOMAIN);
    int(w, 2, ML_OPSET_VERSION);
  });
  return model.finish();
}

function writeNode(w: BinaryWriter, node: OnnxNode): void {
  for (const input of node.inputs) text(w, 1, input);
  for (const output of node.outputs) text(w, 2, output);
  text(w, 3, node.outputs[0] ?? node.op);
  text(w, 4, node.op);
  for (const [name, value] of Object.entries(node.attributes ?? {}))
    message(w, 5, (a) => writeAttribute(a, name, value));
  if (node.isMl === true) text(w, 7, ML_DOMAIN);
}

function writeAttribute(w: BinaryWriter, name: string, value: AttributeValue): void {
  text(w, 1, name);
  let type: number;
  if (typeof value === 'number') {
    w.tag(2, WireType.Bit32).float(value);
    type = 1;
  } else if (typeof value === 'string') {
    w.tag(4, WireType.LengthDelimited).bytes(new TextEncoder().encode(value));
    type = 3;
  } else if ('int' in value) {
    int(w, 3, value.int);
    type = 2;
  } else if ('ints' in value) {
    for (const one of value.ints) int(w, 8, one);
    type = 7;
  } else if ('strings' in value) {
    for (const one of value.strings) w.tag(9, WireType.LengthDelimited).bytes(new TextEncoder().encode(one));
    type = 8;
  } else {
    for (const one of value) w.tag(7, WireType.Bit32).float(one);
    type = 6;
  }
  int(w, 20, type);
}

function writeTensor(w: BinaryWriter, tensor: OnnxTensor): void {
  for (const dim of tensor.dims) int(w, 1, dim);
  int(w, 2, FLOAT);
  text(w, 8, tensor.name);
  const raw = new Uint8Array(tensor.values.length * 4);
  const view = new DataView(raw.buffer);
  tensor.values.forEach((value, index) => {
    view.setFloat32(index * 4, value, true);
  });
  w.tag(9, WireType.LengthDelimited).bytes(raw);
}

function writeValueInfo(w: BinaryWriter, value: { readonly name: string; readonly width: number }): void {
  text(w, 1, value.name);
  message(w, 2, (type) =>
    message(type, 1, (tensor) => {
      int(tensor, 1, FLOAT);
      message(tensor, 2, (shape) => {
        message(shape, 1, (dim) => text(dim, 2, 'N'));
        message(shape, 1, (dim) => int(dim, 1, value.width));
      });
    }),
  );
}

function message(w: BinaryWriter, field: number, write: (writer: BinaryWriter) => unknown): void {
  w.tag(field, WireType.LengthDelimited).fork();
  write(w);
  w.join();
}

function text(w: BinaryWriter, field: number, value: string): void {
  w.tag(field, WireType.LengthDelimited).string(value);
}

function int(w: BinaryWriter, field: number, value: number): void {
  w.tag(field, WireType.Varint).int64(value);
}
