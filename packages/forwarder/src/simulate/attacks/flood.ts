/**
 * Floods on a controller. SYN flood: spoofed sources come through the router; the controller answers until its backlog is
 * full, then no more. UDP flood: one host inside sends as fast as it can; the controller complains by ICMP, a few times a
 * second (RFC 1812, 4.3.2.8: error messages are limited).
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { resolve } from '../arp.ts';
import { ByteWriter } from '../byte-writer.ts';
import { Host, LINUX } from '../host.ts';
import { sendIcmp, sendTcp, sendUdp, type TcpHeader } from '../ip-builder.ts';
import { MODBUS_PORT } from '../modbus.ts';
import { strangerHost } from '../plant.ts';
import { MICROSECOND, MILLISECOND, type Process } from '../scheduler.ts';
import { note, type Attack, type AttackStage } from './attack.ts';

/** Packets of a flood, the answers not counted: bounds its label and the capture. */
const FLOOD_PACKETS_MAX = 20_000;
const SYN_GAP_NS = 250 * MICROSECOND;
const UDP_GAP_NS = 300 * MICROSECOND;
const BACKLOG = 128;
/** Discard (RFC 863), from one port nobody has registered: random ones would be taken for other protocols. */
const UDP_FLOOD_PORT = 9;
const UDP_FLOOD_SOURCE_PORT = 40_404;
const UDP_FLOOD_BYTES = 512;
const ICMP_GAP_NS = 200 * MILLISECOND;

/** Addresses for documentation (RFC 5737): nobody is there. */
const SPOOFED = [
  [192, 0, 2],
  [198, 51, 100],
  [203, 0, 113],
] as const;
const SYN = 0x02;
const SYN_ACK = 0x12;
/** Maximum segment size 1460. */
const MSS_OPTION = Uint8Array.of(2, 4, 0x05, 0xb4);
const NO_BYTES: Uint8Array = new Uint8Array(0);

export function synFlood(random: Prng): Attack {
  const identity = {
    attack: 'syn-flood' as const,
    variant: 'spoofed',
    attackers: SPOOFED.map((prefix) => `${prefix.join('.')}.0/24`),
    victims: [] as string[],
    ports: [String(MODBUS_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const victim = random.pick(plant.cells).modbusPlcs[0] as Host;
      note(identity.victims, victim.address);
      const wire = world.wire('tcp');
      yield* resolve(world, plant.router, victim);
      for (let sent = 0; sent < FLOOD_PACKETS_MAX && world.nowNs < untilNs; sent++) {
        const spoofed = spoofedHost(plant.router, random);
        const header: TcpHeader = {
          sourcePort: random.between(1024, 65_535),
          destinationPort: MODBUS_PORT,
          sequence: random.u32(),
          acknowledgment: 0,
          flags: SYN,
          window: 512,
          options: NO_BYTES,
        };
        sendTcp(wire, spoofed, victim, header, NO_BYTES, 0, 0);
        if (sent < BACKLOG) {
          yield random.between(150 * MICROSECOND, 220 * MICROSECOND);
          sendTcp(wire, victim, spoofed, synAck(header, random), NO_BYTES, 0, 0);
        }
        yield random.jitter(SYN_GAP_NS, 0.6);
      }
    },
  };
}

export function udpFlood(random: Prng): Attack {
  const attacker = strangerHost(233, random);
  const identity = {
    attack: 'udp-flood' as const,
    variant: 'direct',
    attackers: [attacker.address],
    victims: [] as string[],
    ports: [String(UDP_FLOOD_PORT)],
  };
  return {
    identity,
    *run({ world, plant, untilNs }: AttackStage): Process {
      const victim = random.pick(plant.cells).logixPlc;
      note(identity.victims, victim.address);
      const payload = new Uint8Array(UDP_FLOOD_BYTES).fill(0x58);
      const wire = world.wire('udp');
      yield* resolve(world, attacker, victim);
      let complainsAtNs = world.nowNs;
      for (let sent = 0; sent < FLOOD_PACKETS_MAX && world.nowNs < untilNs; sent++) {
        sendUdp(wire, attacker, UDP_FLOOD_SOURCE_PORT, victim, UDP_FLOOD_PORT, payload);
        if (world.nowNs >= complainsAtNs) {
          complainsAtNs = world.nowNs + ICMP_GAP_NS;
          const packet = wire.frame.slice(14, 14 + 28); // the IP header and eight bytes (RFC 792)
          yield random.between(60 * MICROSECOND, 120 * MICROSECOND);
          const message = new ByteWriter().u8(3).u8(3).u16(0).u32(0).raw(packet); // port unreachable
          sendIcmp(world.wire('icmp'), victim, attacker, message.done());
        }
        yield random.jitter(UDP_GAP_NS, 0.3);
      }
    },
  };
}

function spoofedHost(router: Host, random: Prng): Host {
  const ipv4 = Uint8Array.of(...random.pick(SPOOFED), random.between(1, 254));
  return new Host('spoofed', router.mac, ipv4, LINUX, random);
}

function synAck(syn: TcpHeader, random: Prng): TcpHeader {
  return {
    sourcePort: syn.destinationPort,
    destinationPort: syn.sourcePort,
    sequence: random.u32(),
    acknowledgment: (syn.sequence + 1) >>> 0,
    flags: SYN_ACK,
    window: 8192,
    options: MSS_OPTION,
  };
}
