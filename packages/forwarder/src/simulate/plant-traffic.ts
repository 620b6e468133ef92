/** Who talks to whom in the plant, by which protocol and how often: the one place that knows all conversations. */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { arpHousekeeping } from './arp.ts';
import { dnp3Polling } from './dnp3.ts';
import { enipIo, enipPolling } from './enip.ts';
import { goosePublisher } from './goose.ts';
import { iec104Telecontrol } from './iec104.ts';
import { lldpAnnouncements } from './lldp.ts';
import { modbusPolling } from './modbus.ts';
import { startWorkstation } from './office.ts';
import { opcuaReading } from './opcua.ts';
import type { Cell, Plant } from './plant.ts';
import { profinetLine } from './profinet.ts';
import { s7Engineering, s7Polling } from './s7comm.ts';
import { MILLISECOND, SECOND, type Process } from './scheduler.ts';
import { spanningTree } from './stp.ts';
import type { World } from './world.ts';

/** Everything begins within the first seconds, so that a short capture has it all; no two conversations in step. */
const BEGIN_NS = 2 * SECOND;

/** Starts the conversations of the whole plant. */
export function startPlant(world: World, plant: Plant): void {
  for (const pc of plant.officePcs) startWorkstation(world, pc, plant, []);
  for (const host of [plant.directory, plant.fileServer, plant.historian, plant.scada, ...plant.officePcs])
    startLater(world, `${host.name} arp`, (random) => arpHousekeeping(world, host, random));
  for (const cell of plant.cells) startCell(world, plant, cell);
}

function startCell(world: World, plant: Plant, cell: Cell): void {
  const { hmi, engineering } = cell;
  const begin = (name: string, process: (random: Prng) => Process): void =>
    startLater(world, `cell ${cell.index} ${name}`, process);

  cell.modbusPlcs.forEach((server, index) => {
    const polling = { client: hmi, server, unit: 1, periodNs: (index + 1) * 500 * MILLISECOND };
    begin(`modbus ${index}`, (random) => modbusPolling(world, polling, random));
  });
  begin('s7', (random) => s7Polling(world, hmi, cell.s7Plc, 500 * MILLISECOND, random));
  begin('s7 engineering', (random) => s7Engineering(world, engineering, cell.s7Plc, random));
  begin('logix', (random) => enipPolling(world, hmi, cell.logixPlc, SECOND, random));
  begin('logix io', (random) => enipIo(world, cell.logixPlc, cell.logixIo, 50 * MILLISECOND, random));
  begin('opcua', (random) => opcuaReading(world, plant.historian, cell.opcuaServer, SECOND, random));

  const outstation = { master: plant.scada, outstation: cell.dnp3Rtu, address: 10 + cell.index };
  begin('dnp3', (random) => dnp3Polling(world, { ...outstation, periodNs: 5 * SECOND }, random));
  const rtu = { centre: plant.scada, rtu: cell.iec104Rtu, address: 1 + cell.index };
  begin('iec104', (random) => iec104Telecontrol(world, rtu, random));

  const line = { controller: cell.s7Plc, devices: cell.ioDevices, engineering, cycleNs: 64 * MILLISECOND };
  begin('profinet', (random) => profinetLine(world, line, random));
  cell.protectionRelays.forEach((ied, index) => {
    // APPIDs 0x0001 to 0x3fff are GOOSE's (IEC 61850-8-1, annex C).
    const appId = 1 + ((2 * cell.index + index) % 0x3fff);
    begin(`goose ${index}`, (random) => goosePublisher(world, ied, appId, random));
  });
  startNetworkManagement(world, cell, begin);

  startWorkstation(world, hmi, plant, [cell.networkSwitch, ...cell.modbusPlcs]);
  startWorkstation(world, engineering, plant, [cell.networkSwitch, cell.s7Plc]);
}

function startNetworkManagement(
  world: World,
  cell: Cell,
  begin: (name: string, process: (random: Prng) => Process) => void,
): void {
  const bridge = { host: cell.networkSwitch, description: 'Hirschmann BOBCAT', port: '1/5', isBridge: true };
  begin('lldp switch', (random) => lldpAnnouncements(world, { ...bridge, periodNs: 30 * SECOND }, random));
  for (const host of [cell.s7Plc, ...cell.ioDevices]) {
    // PROFINET devices announce themselves every five seconds.
    const station = { host, description: 'SIMATIC', port: 'port-001', isBridge: false, periodNs: 5 * SECOND };
    begin(`lldp ${host.name}`, (random) => lldpAnnouncements(world, station, random));
  }
  begin('stp', (random) => spanningTree(world, cell.networkSwitch, random));
  const hosts = [cell.hmi, cell.engineering, cell.networkSwitch, ...cell.modbusPlcs, cell.s7Plc];
  hosts.push(...cell.ioDevices, cell.logixPlc, cell.logixIo, cell.dnp3Rtu, cell.iec104Rtu, cell.opcuaServer);
  for (const host of [...hosts, ...cell.protectionRelays])
    begin(`arp ${host.name}`, (random) => arpHousekeeping(world, host, random));
}

function startLater(world: World, name: string, process: (random: Prng) => Process): void {
  const random = world.random(name);
  world.start(process(random), random.below(BEGIN_NS));
}
