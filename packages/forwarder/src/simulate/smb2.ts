/**
 * SMB2 (MS-SMB2) over TCP 445, dialect 3.0.2, little-endian: a client logs in, opens a share, reads, writes and renames files.
 *
 *   direct TCP header (2.1)  00 · length (3, big-endian)
 *   SMB2 header (2.2.1)      fe 'SMB' · size 64 (2) · credit charge (2) · status (4) · command (2) · credits (2) · flags (4)
 *                            · next command (4) · message identifier (8) · process (4) · tree (4) · session (8) · signature (16)
 *   then the structure of the command, which begins with its own size (2), an odd one when a variable part follows
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { ByteWriter } from './byte-writer.ts';
import { fileTime } from './file-time.ts';
import type { Host } from './host.ts';
import {
  acceptedToken,
  authenticateToken,
  challengeToken,
  negotiateToken,
  offeredMechanisms,
  type Login,
} from './ntlm.ts';
import { MICROSECOND, type Process } from './scheduler.ts';
import { TcpConversation } from './tcp-conversation.ts';
import type { World } from './world.ts';

export const SMB_PORT = 445;

const NEGOTIATE = 0;
const SESSION_SETUP = 1;
const LOGOFF = 2;
const TREE_CONNECT = 3;
const TREE_DISCONNECT = 4;
const CREATE = 5;
const CLOSE = 6;
const READ = 8;
const WRITE = 9;
const SET_INFO = 17;

const HEADER_BYTES = 64;
const DIALECTS = [0x0202, 0x0210, 0x0300, 0x0302];
const FLAG_RESPONSE = 1;
const SUCCESS = 0;
const MORE_PROCESSING_REQUIRED = 0xc000_0016;
/** FileRenameInformation (MS-FSCC, 2.4.37). */
const FILE_RENAME = 10;
/** Read data, read attributes, synchronise; and with write data, delete for what is to be changed. */
const ACCESS_READ = 0x0012_0089;
const ACCESS_CHANGE = 0x0013_019f;

type Part = (fields: ByteWriter) => unknown;

/** One SMB2 connection with one session and one share. */
export class SmbClient {
  readonly tcp: TcpConversation;
  readonly #world: World;
  readonly #random: Prng;
  readonly #login: Login;
  readonly #message = new ByteWriter();
  readonly #sessionId: number;
  #messageId = 0;
  #session = 0;
  #tree = 0;
  #file: Uint8Array = new Uint8Array(16);

  constructor(world: World, client: Host, server: Host, user: string, random: Prng) {
    this.tcp = new TcpConversation(world, 'smb2', client, server, SMB_PORT, random);
    this.#world = world;
    this.#random = random;
    this.#login = {
      domain: 'PLANT',
      user,
      workstation: client.name.toUpperCase(),
      server: server.name.toUpperCase(),
    };
    this.#sessionId = random.u32();
  }

  /** Connects, negotiates the dialect and logs in. */
  *open(): Process {
    yield* this.tcp.open();
    yield* this.#negotiate();
    yield* this.#sessionSetup(
      negotiateToken(),
      challengeToken(this.#login, this.#world.epochMs, this.#random),
      false,
    );
    yield* this.#sessionSetup(
      authenticateToken(this.#login, this.#world.epochMs, this.#random),
      acceptedToken(),
      true,
    );
  }

  *connectTree(share: string): Process {
    const path = `\\\\${this.tcp.server.host.address}\\${share}`;
    yield* this.#request(TREE_CONNECT, (fields) => {
      fields
        .u16le(9)
        .u16le(0)
        .u16le(HEADER_BYTES + 8)
        .u16le(2 * path.length)
        .utf16le(path);
    });
    this.#tree = 1;
    yield* this.#response(TREE_CONNECT, SUCCESS, (fields) => {
      fields.u16le(16).u8(1).u8(0).u32le(0).u32le(0).u32le(0x001f_01ff); // a disk, all access
    });
  }

  /** Opens a file that is there. */
  *openFile(name: string, fileBytes: number, change: boolean): Process {
    yield* this.#request(CREATE, (fields) => {
      fields.u16le(57).u8(0).u8(0).u32le(2).zeros(16); // impersonation
      fields
        .u32le(change ? ACCESS_CHANGE : ACCESS_READ)
        .u32le(0x80)
        .u32le(7)
        .u32le(1)
        .u32le(0x40);
      fields
        .u16le(HEADER_BYTES + 56)
        .u16le(2 * name.length)
        .u32le(0)
        .u32le(0)
        .utf16le(name);
    });
    this.#file = this.#random.bytes(16);
    yield* this.#response(CREATE, SUCCESS, (fields) => {
      fields.u16le(89).u8(0).u8(0).u32le(1); // opened
      this.#times(fields).u64le(fileBytes).u64le(fileBytes).u32le(0x80).u32le(0);
      fields.raw(this.#file).u32le(0).u32le(0);
    });
  }

  *read(offset: number, byteLength: number): Process {
    yield* this.#request(READ, (fields) => {
      fields.u16le(49).u8(80).u8(0).u32le(byteLength).u64le(offset).raw(this.#file).zeros(16).u8(0);
    });
    yield* this.#response(READ, SUCCESS, (fields) => {
      fields.u16le(17).u8(80).u8(0).u32le(byteLength).u32le(0).u32le(0);
      this.#content(fields, byteLength);
    });
  }

  *write(offset: number, byteLength: number): Process {
    yield* this.#request(WRITE, (fields) => {
      fields
        .u16le(49)
        .u16le(HEADER_BYTES + 48)
        .u32le(byteLength)
        .u64le(offset)
        .raw(this.#file)
        .zeros(16);
      this.#content(fields, byteLength);
    });
    yield* this.#response(WRITE, SUCCESS, (fields) => fields.u16le(17).u16le(0).u32le(byteLength).zeros(8));
  }

  *rename(name: string): Process {
    yield* this.#request(SET_INFO, (fields) => {
      fields
        .u16le(33)
        .u8(1)
        .u8(FILE_RENAME)
        .u32le(20 + 2 * name.length)
        .u16le(HEADER_BYTES + 32)
        .u16le(0);
      fields.u32le(0).raw(this.#file);
      fields
        .zeros(16)
        .u32le(2 * name.length)
        .utf16le(name);
    });
    yield* this.#response(SET_INFO, SUCCESS, (fields) => fields.u16le(2));
  }

  *closeFile(): Process {
    yield* this.#request(CLOSE, (fields) => fields.u16le(24).u16le(0).u32le(0).raw(this.#file));
    yield* this.#response(CLOSE, SUCCESS, (fields) => fields.u16le(60).zeros(58));
  }

  /** Leaves the share, logs off, closes the connection. */
  *close(): Process {
    for (const command of [TREE_DISCONNECT, LOGOFF]) {
      yield* this.#request(command, (fields) => fields.u16le(4).u16le(0));
      yield* this.#response(command, SUCCESS, (fields) => fields.u16le(4).u16le(0));
    }
    yield* this.tcp.close(this.tcp.client);
  }

  *#negotiate(): Process {
    yield* this.#request(NEGOTIATE, (fields) => {
      fields
        .u16le(36)
        .u16le(DIALECTS.length)
        .u16le(1)
        .u16le(0)
        .u32le(0x7f)
        .raw(this.#random.bytes(16))
        .zeros(8);
      for (const dialect of DIALECTS) fields.u16le(dialect);
    });
    yield* this.#response(NEGOTIATE, SUCCESS, (fields) => {
      const token = offeredMechanisms();
      fields.u16le(65).u16le(1).u16le(0x0302).u16le(0).raw(this.#random.bytes(16)).u32le(0x2f);
      fields
        .u32le(1 << 20)
        .u32le(1 << 20)
        .u32le(1 << 20); // transaction, read and write sizes
      fields
        .u64le(this.#ticks())
        .u64le(0)
        .u16le(HEADER_BYTES + 64)
        .u16le(token.byteLength)
        .u32le(0)
        .raw(token);
    });
  }

  *#sessionSetup(asked: Uint8Array, answered: Uint8Array, isLast: boolean): Process {
    yield* this.#request(SESSION_SETUP, (fields) => {
      fields.u16le(25).u8(0).u8(1).u32le(1).u32le(0);
      fields
        .u16le(HEADER_BYTES + 24)
        .u16le(asked.byteLength)
        .zeros(8)
        .raw(asked);
    });
    this.#session = this.#sessionId;
    yield* this.#response(SESSION_SETUP, isLast ? SUCCESS : MORE_PROCESSING_REQUIRED, (fields) => {
      fields
        .u16le(9)
        .u16le(0)
        .u16le(HEADER_BYTES + 8)
        .u16le(answered.byteLength)
        .raw(answered);
    });
  }

  *#request(command: number, body: Part): Process {
    yield* this.tcp.send(this.tcp.client, this.#framed(command, 0, 0, body));
    yield* this.tcp.think(this.#random.between(200 * MICROSECOND, 1800 * MICROSECOND));
  }

  *#response(command: number, status: number, body: Part): Process {
    yield* this.tcp.send(this.tcp.server, this.#framed(command, status, FLAG_RESPONSE, body));
    this.#messageId++;
    yield* this.tcp.sleep(this.#random.between(50 * MICROSECOND, 400 * MICROSECOND));
  }

  #framed(command: number, status: number, flags: number, body: Part): Uint8Array {
    const fields = this.#message.start().u32(0);
    fields.u32(0xfe53_4d42).u16le(HEADER_BYTES).u16le(1).u32le(status).u16le(command).u16le(1).u32le(flags);
    fields.u32le(0).u64le(this.#messageId).u32le(0xfeff).u32le(this.#tree).u64le(this.#session).zeros(16);
    body(fields);
    fields.bytes[1] = (fields.length - 4) >>> 16;
    return fields.patchU16(2, (fields.length - 4) & 0xffff).done();
  }

  #content(fields: ByteWriter, byteLength: number): void {
    fields.fill(0x20 + this.#random.below(64), byteLength);
  }

  /** Creation, last access, last write and change. */
  #times(fields: ByteWriter): ByteWriter {
    for (let i = 0; i < 4; i++) fields.u64le(this.#ticks() - i * 600_000_000);
    return fields;
  }

  #ticks(): number {
    return fileTime(this.#world.epochMs);
  }
}
