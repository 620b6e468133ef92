/**
 * GOOSE (IEC 61850-8-1, clause 18 and annex A), EtherType 0x88b8: an IED multicasts the state of its breaker and repeats it.
 *
 *   APPID (2) · length (2), from APPID on · reserved 1 and 2 (4) · goosePdu: APPLICATION 1 in BER, its fields in context tags
 *
 * A change raises stNum, sets sqNum to 0 and is repeated after 2, 4, 8 … ms up to the heartbeat; each repetition raises sqNum.
 * Frames carry an 802.1Q tag with priority 4 and VLAN 0 (annex C).
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { integer, text, tlv } from './ber.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Host } from './host.ts';
import { MICROSECOND, MILLISECOND, SECOND, type Process } from './scheduler.ts';
import type { World } from './world.ts';

const ETHERTYPE_GOOSE = 0x88b8;
const GOOSE_PRIORITY = 4;
const HEARTBEAT_NS = SECOND;
const FIRST_REPEAT_NS = 2 * MILLISECOND;

/** Tags of the goosePdu. */
const GOOSE_PDU = 0x61;
const GOCB_REF = 0x80;
const TIME_ALLOWED_TO_LIVE = 0x81;
const DAT_SET = 0x82;
const GO_ID = 0x83;
const T = 0x84;
const ST_NUM = 0x85;
const SQ_NUM = 0x86;
const SIMULATION = 0x87;
const CONF_REV = 0x88;
const NDS_COM = 0x89;
const NUM_DAT_SET_ENTRIES = 0x8a;
const ALL_DATA = 0xab;
/** Tags of MMS data. */
const BOOLEAN = 0x83;
const BIT_STRING = 0x84;

/** Quality: 13 bits, all good; three unused bits in the last byte. */
const QUALITY_GOOD = tlv(BIT_STRING, [3, 0, 0]);

/** An IED that publishes, for ever. `appId` also numbers the multicast group, 01-0c-cd-01-xx-xx. */
export function* goosePublisher(world: World, ied: Host, appId: number, random: Prng): Process {
  const wire = world.wire('goose');
  const group = Uint8Array.of(0x01, 0x0c, 0xcd, 0x01, (appId >> 8) & 0x01, appId & 0xff);
  const message = new ByteWriter();
  const state = [true, false, false, true];
  let stNum = random.between(1, 20);
  let changeNs = world.nowNs + random.exponential(40 * SECOND);
  for (;;) {
    const changedAt = utcTime(world.epochMs);
    let repeatNs = FIRST_REPEAT_NS;
    let nextNs = world.nowNs;
    for (let sqNum = 0; world.nowNs < changeNs; sqNum++) {
      const livesMs = Math.round((2 * repeatNs) / MILLISECOND);
      const pdu = goosePdu({ name: ied.name, livesMs, changedAt, stNum, sqNum, state });
      message
        .start()
        .u16(appId)
        .u16(8 + pdu.byteLength)
        .u32(0)
        .raw(pdu);
      wire.sendTagged(ied.mac, group, GOOSE_PRIORITY, 0, ETHERTYPE_GOOSE, message.done());
      nextNs += repeatNs;
      const delayNs = nextNs - world.nowNs + random.below(20 * MICROSECOND);
      // A change does not wait for the heartbeat.
      yield Math.max(0, Math.min(delayNs, changeNs - world.nowNs));
      repeatNs = Math.min(HEARTBEAT_NS, 2 * repeatNs);
    }
    const changed = random.below(state.length);
    state[changed] = state[changed] !== true;
    stNum++;
    changeNs = world.nowNs + random.exponential(40 * SECOND);
  }
}

interface GooseState {
  readonly name: string;
  readonly livesMs: number;
  readonly changedAt: Uint8Array;
  readonly stNum: number;
  readonly sqNum: number;
  readonly state: readonly boolean[];
}

function goosePdu(goose: GooseState): Uint8Array {
  const data = goose.state.flatMap((value) => [tlv(BOOLEAN, [value ? 1 : 0]), QUALITY_GOOD]);
  return tlv(
    GOOSE_PDU,
    text(GOCB_REF, `${goose.name}LD0/LLN0$GO$gcbBreaker`),
    integer(TIME_ALLOWED_TO_LIVE, goose.livesMs),
    text(DAT_SET, `${goose.name}LD0/LLN0$Breaker`),
    text(GO_ID, `${goose.name}_breaker`),
    tlv(T, goose.changedAt),
    integer(ST_NUM, goose.stNum),
    integer(SQ_NUM, goose.sqNum),
    tlv(SIMULATION, [0]),
    integer(CONF_REV, 1),
    tlv(NDS_COM, [0]),
    integer(NUM_DAT_SET_ENTRIES, data.length),
    tlv(ALL_DATA, ...data),
  );
}

/** UtcTime (IEC 61850-8-1, 8.1.3.7): seconds (4), fraction in 2^-24 s (3), quality: 10 bits of accuracy. */
function utcTime(epochMs: number): Uint8Array {
  const seconds = Math.floor(epochMs / 1000);
  const fraction = Math.floor(((epochMs / 1000) % 1) * 2 ** 24);
  return new ByteWriter().u32(seconds).u24(fraction).u8(0x0a).copy();
}
