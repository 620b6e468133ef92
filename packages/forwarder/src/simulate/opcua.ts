/**
 * OPC UA over TCP (OPC 10000-6, 7.1), port 4840, little-endian, security policy None: a historian says hello, opens a
 * secure channel and a session, reads a few nodes in a cycle, and in the end closes. The encoding is in `opcua-encoding.ts`.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import type { Host } from './host.ts';
import { OpcUaWriter } from './opcua-encoding.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const OPCUA_PORT = 4840;

const POLICY_NONE = 'http://opcfoundation.org/UA/SecurityPolicy#None';
const PROFILE_TCP = 'http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary';

/** Identifiers of the binary encodings of message bodies (namespace 0). */
const OPEN_CHANNEL_REQUEST = 446;
const OPEN_CHANNEL_RESPONSE = 449;
const CLOSE_CHANNEL_REQUEST = 452;
const CREATE_SESSION_REQUEST = 461;
const CREATE_SESSION_RESPONSE = 464;
const ACTIVATE_SESSION_REQUEST = 467;
const ACTIVATE_SESSION_RESPONSE = 470;
const CLOSE_SESSION_REQUEST = 473;
const CLOSE_SESSION_RESPONSE = 476;
const READ_REQUEST = 631;
const READ_RESPONSE = 634;
const ANONYMOUS_IDENTITY = 321;

const BUFFER_BYTES = 65_535;
const VALUE_ATTRIBUTE = 13;
const READS_PER_SESSION = 900;

type Part = (fields: OpcUaWriter) => unknown;

class OpcUaSession {
  readonly tcp: TcpConversation;
  readonly #world: World;
  readonly #random: Prng;
  readonly #message = new OpcUaWriter();
  readonly #url: string;
  readonly #clientName: string;
  readonly #channel: number;
  readonly #token: Uint8Array;
  readonly #nodes: readonly string[];
  /** Sequence numbers count messages per direction; client and server are in step here, as every request has one answer. */
  #sequence = 50;
  #request = 0;
  #isAuthenticated = false;

  constructor(world: World, client: Host, server: Host, random: Prng) {
    this.tcp = new TcpConversation(world, 'opcua', client, server, OPCUA_PORT, random);
    this.#world = world;
    this.#random = random;
    this.#url = `opc.tcp://${server.address}:${OPCUA_PORT}`;
    this.#clientName = client.name;
    this.#channel = random.between(1, 1000);
    this.#token = random.bytes(16);
    this.#nodes = ['Line.Speed', 'Line.State', 'Oven.Temperature', 'Oven.Setpoint'];
  }

  *open(): Process {
    yield* this.tcp.open();
    yield* this.#hello();
    yield* this.#call('OPN', OPEN_CHANNEL_REQUEST, OPEN_CHANNEL_RESPONSE, {
      // Version 0, issue, mode None, no nonce, an hour.
      request: (fields) => fields.u32le(0).u32le(0).u32le(1).byteString(null).u32le(3_600_000),
      response: (fields) => {
        fields.u32le(0).u32le(this.#channel).u32le(1).dateTime(this.#world.epochMs);
        fields.u32le(3_600_000).byteString(null);
      },
    });
    yield* this.#createSession();
    this.#isAuthenticated = true;
    yield* this.#activateSession();
  }

  *read(): Process {
    yield* this.#call('MSG', READ_REQUEST, READ_RESPONSE, {
      request: (fields) => {
        fields.f64le(0).u32le(0).u32le(this.#nodes.length); // any age, source timestamps
        for (const node of this.#nodes)
          fields.stringNodeId(2, node).u32le(VALUE_ATTRIBUTE).string(null).u16le(0).string(null);
      },
      response: (fields) => {
        fields.u32le(this.#nodes.length);
        for (let i = 0; i < this.#nodes.length; i++) {
          // DataValue with value and source timestamp; Variant of type Double.
          fields
            .u8(0x05)
            .u8(11)
            .f64le(this.#random.between(0, 9999) / 10)
            .dateTime(this.#world.epochMs);
        }
        fields.noArray();
      },
    });
  }

  *close(): Process {
    yield* this.#call('MSG', CLOSE_SESSION_REQUEST, CLOSE_SESSION_RESPONSE, {
      request: (fields) => fields.u8(1),
      response: () => undefined,
    });
    this.#isAuthenticated = false;
    const fields = this.#begin('CLO', CLOSE_CHANNEL_REQUEST);
    this.#requestHeader(fields);
    yield* this.tcp.send(this.tcp.client, finished(fields));
    yield* this.tcp.think(300 * MICROSECOND);
    yield* this.tcp.close(this.tcp.server);
  }

  /** Hello and acknowledge (7.1.2.3, 7.1.2.4): version 0 and the sizes of buffers and messages. */
  *#hello(): Process {
    const hello = this.#header('HEL').u32le(0).u32le(BUFFER_BYTES).u32le(BUFFER_BYTES).u32le(0).u32le(0);
    yield* this.tcp.send(this.tcp.client, finished(hello.string(this.#url)));
    yield* this.#think();
    const acknowledge = this.#header('ACK').u32le(0).u32le(BUFFER_BYTES).u32le(BUFFER_BYTES);
    yield* this.tcp.send(this.tcp.server, finished(acknowledge.u32le(0).u32le(0)));
  }

  *#createSession(): Process {
    yield* this.#call('MSG', CREATE_SESSION_REQUEST, CREATE_SESSION_RESPONSE, {
      request: (fields) => {
        application(fields, `urn:${this.#clientName}`, 'Historian', 1);
        fields.string(null).string(this.#url).string('Historian session').byteString(this.#random.bytes(32));
        fields.byteString(null).f64le(1_200_000).u32le(0);
      },
      response: (fields) => {
        fields.numericNodeId(1, 4711);
        this.#authenticationToken(fields);
        fields.f64le(1_200_000).byteString(this.#random.bytes(32)).byteString(null);
        fields.u32le(1);
        this.#endpoint(fields);
        fields.noArray().string(null).byteString(null).u32le(0); // no software certificates, no signature
      },
    });
  }

  *#activateSession(): Process {
    yield* this.#call('MSG', ACTIVATE_SESSION_REQUEST, ACTIVATE_SESSION_RESPONSE, {
      request: (fields) => {
        fields.string(null).byteString(null).noArray().u32le(1).string('en');
        const policy = 'anonymous';
        fields
          .nodeId(ANONYMOUS_IDENTITY)
          .u8(1)
          .u32le(4 + policy.length)
          .string(policy);
        fields.string(null).byteString(null);
      },
      response: (fields) => fields.byteString(this.#random.bytes(32)).noArray().noArray(),
    });
  }

  /** EndpointDescription (OPC 10000-4, 7.14). */
  #endpoint(fields: OpcUaWriter): void {
    fields.string(this.#url);
    application(fields, 'urn:line-server', 'Line server', 0);
    fields.byteString(null).u32le(1).string(POLICY_NONE);
    fields.u32le(1).string('anonymous').u32le(0).string(null).string(null).string(null);
    fields.string(PROFILE_TCP).u8(0);
  }

  *#call(
    type: 'OPN' | 'MSG',
    requestId: number,
    responseId: number,
    parts: { request: Part; response: Part },
  ): Process {
    this.#request++;
    this.#sequence++;
    const asked = this.#begin(type, requestId);
    this.#requestHeader(asked);
    parts.request(asked);
    yield* this.tcp.send(this.tcp.client, finished(asked));
    yield* this.#think();
    const answered = this.#begin(type, responseId).responseHeader(this.#world.epochMs, this.#request);
    parts.response(answered);
    yield* this.tcp.send(this.tcp.server, finished(answered));
  }

  #header(type: string): OpcUaWriter {
    return this.#message.start().ascii(type).ascii('F').u32le(0);
  }

  #begin(type: 'OPN' | 'MSG' | 'CLO', bodyId: number): OpcUaWriter {
    const isFirst = type === 'OPN';
    const fields = this.#header(type).u32le(isFirst && bodyId === OPEN_CHANNEL_REQUEST ? 0 : this.#channel);
    if (isFirst) fields.string(POLICY_NONE).byteString(null).byteString(null);
    else fields.u32le(1);
    return fields.u32le(this.#sequence).u32le(this.#request).nodeId(bodyId);
  }

  #requestHeader(fields: OpcUaWriter): void {
    const token: Part = (to) => (this.#isAuthenticated ? this.#authenticationToken(to) : to.u8(0).u8(0));
    fields.requestHeader(token, this.#world.epochMs, this.#request);
  }

  /** An opaque NodeId that proves the session. */
  #authenticationToken(fields: OpcUaWriter): void {
    fields.u8(5).u16le(0).byteString(this.#token);
  }

  #think(): Process {
    return this.tcp.think(this.#random.between(600 * MICROSECOND, 3000 * MICROSECOND));
  }
}

/** A client that reads in a cycle; after some minutes it closes and connects anew. */
export function* opcuaReading(
  world: World,
  client: Host,
  server: Host,
  periodNs: number,
  random: Prng,
): Process {
  for (;;) {
    const opcua = new OpcUaSession(world, client, server, random);
    yield* opcua.open();
    let dueNs = world.nowNs;
    const reads = random.between(30, READS_PER_SESSION);
    for (let read = 0; read < reads; read++) {
      dueNs += periodNs;
      yield* opcua.tcp.sleepUntil(dueNs + random.below(6 * MILLISECOND));
      yield* opcua.read();
    }
    yield* opcua.close();
    yield random.between(2 * SECOND, 8 * SECOND);
  }
}

/** ApplicationDescription (OPC 10000-4, 7.2). */
function application(fields: OpcUaWriter, uri: string, name: string, type: number): void {
  fields.string(uri).string(`${uri}:product`).localizedText(name).u32le(type);
  fields.string(null).string(null).noArray();
}

function finished(message: OpcUaWriter): Uint8Array {
  // Sizes stay below 65,536: two bytes of the four are enough.
  return message.patchU16le(4, message.length).done();
}
