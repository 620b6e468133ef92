/**
 * The plant: who is in it, with addresses, vendors and stacks. A flat network, as too many plants are: 10.0.0.0/8, servers and
 * office in 10.0.0.0/24, cell c in 10.(1 + c / 250).(c mod 250).0/24. A production cell has an HMI, an engineering
 * station, a switch, controllers of several makes and their devices; cells are the scale of the simulation.
 *
 *   per cell   11 hosts that speak IP, 4 that speak PROFINET or GOOSE beside it, 1 switch
 *   per plant  directory (DNS, NTP), file server, historian, SCADA server, router, 3 office PCs
 */
import { assert } from '@tapline/shared/base/assert.ts';
import type { Prng } from '@tapline/shared/base/prng.ts';
import { CONTROLLER, Host, LINUX, WINDOWS, type Stack } from './host.ts';

/** 10.1.0.0 to 10.255.249.255; more cells would need a second network. */
export const CELLS_MAX = 250 * 255;
const CELLS_PER_BLOCK = 250;
const OFFICE_PCS = 3;

/** Organisationally unique identifiers (IEEE registration authority). */
const OUI = {
  siemens: [0x28, 0x63, 0x36],
  schneider: [0x00, 0x80, 0xf4],
  rockwell: [0x00, 0x1d, 0x9c],
  sel: [0x00, 0x30, 0xa7],
  abb: [0x00, 0x0c, 0x02],
  beckhoff: [0x00, 0x01, 0x05],
  hirschmann: [0x00, 0x80, 0x63],
  dell: [0xb8, 0xca, 0x3a],
  vmware: [0x00, 0x50, 0x56],
  cisco: [0x00, 0x00, 0x0c],
  raspberry: [0xb8, 0x27, 0xeb],
} as const;

type Vendor = keyof typeof OUI;

/** One production cell. */
export interface Cell {
  readonly index: number;
  readonly hmi: Host;
  readonly engineering: Host;
  readonly networkSwitch: Host;
  readonly modbusPlcs: readonly Host[];
  /** Also the PROFINET controller of `ioDevices`. */
  readonly s7Plc: Host;
  readonly ioDevices: readonly Host[];
  readonly logixPlc: Host;
  readonly logixIo: Host;
  readonly dnp3Rtu: Host;
  readonly iec104Rtu: Host;
  readonly opcuaServer: Host;
  readonly protectionRelays: readonly Host[];
}

export interface Plant {
  readonly directory: Host;
  readonly fileServer: Host;
  readonly historian: Host;
  readonly scada: Host;
  readonly router: Host;
  readonly officePcs: readonly Host[];
  readonly cells: readonly Cell[];
}

/** Builds the plant; the same `random` state gives the same plant. `cells` is 1 to CELLS_MAX. */
export function buildPlant(cells: number, random: Prng): Plant {
  assert(cells >= 1 && cells <= CELLS_MAX, 'the number of cells is checked where it comes in');
  const server = (name: string, last: number, stack: Stack): Host =>
    newHost(name, 'vmware', [10, 0, 0, last], stack, random);
  return {
    directory: server('dc1', 10, WINDOWS),
    fileServer: server('files1', 11, WINDOWS),
    historian: server('historian1', 12, LINUX),
    scada: server('scada1', 13, WINDOWS),
    router: newHost('router1', 'cisco', [10, 0, 0, 1], CONTROLLER, random),
    officePcs: Array.from({ length: OFFICE_PCS }, (_, index) =>
      newHost(`office${index + 1}`, 'dell', [10, 0, 0, 50 + index], WINDOWS, random),
    ),
    cells: Array.from({ length: cells }, (_, index) => buildCell(index, random)),
  };
}

/** A computer that was not there before: on the office's network, with an address no other host has. */
export function strangerHost(last: number, random: Prng): Host {
  return newHost(`stranger${last}`, 'raspberry', [10, 0, 0, last], LINUX, random);
}

function buildCell(index: number, random: Prng): Cell {
  const number = index + 1;
  const network = [10, 1 + Math.floor(index / CELLS_PER_BLOCK), index % CELLS_PER_BLOCK] as const;
  const host = (name: string, vendor: Vendor, last: number, stack: Stack): Host =>
    newHost(`c${number}-${name}`, vendor, [...network, last], stack, random);
  return {
    index,
    hmi: host('hmi', 'dell', 10, WINDOWS),
    engineering: host('eng', 'dell', 20, WINDOWS),
    networkSwitch: host('switch', 'hirschmann', 2, CONTROLLER),
    modbusPlcs: [host('plc-a', 'schneider', 101, CONTROLLER), host('plc-b', 'schneider', 102, CONTROLLER)],
    s7Plc: host('plc-s7', 'siemens', 110, CONTROLLER),
    ioDevices: [host('et200-1', 'siemens', 111, CONTROLLER), host('et200-2', 'siemens', 112, CONTROLLER)],
    logixPlc: host('plc-logix', 'rockwell', 120, CONTROLLER),
    logixIo: host('io-logix', 'rockwell', 121, CONTROLLER),
    dnp3Rtu: host('rtu-dnp3', 'sel', 130, CONTROLLER),
    iec104Rtu: host('rtu-104', 'abb', 140, LINUX),
    opcuaServer: host('opcua', 'beckhoff', 150, WINDOWS),
    protectionRelays: [host('ied1', 'abb', 161, CONTROLLER), host('ied2', 'abb', 162, CONTROLLER)],
  };
}

/** The last three bytes of the MAC are those of the address: unique where addresses are. */
function newHost(
  name: string,
  vendor: Vendor,
  ipv4: readonly [number, number, number, number],
  stack: Stack,
  random: Prng,
): Host {
  const mac = Uint8Array.from([...OUI[vendor], ...ipv4.slice(1)]);
  return new Host(name, mac, Uint8Array.from(ipv4), stack, random);
}
