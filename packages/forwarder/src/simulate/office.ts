/**
 * Office noise: what workstations do beside their job. They ask for names and the time, fetch files from the server, look
 * at device pages, talk TLS to servers, and speak IPv6 because nobody switched it off.
 */
import type { Prng } from '@tapline/shared/base/prng.ts';
import { dnsLookup, mdnsQueries } from './dns.ts';
import type { Host } from './host.ts';
import { neighbourDiscovery } from './ipv6.ts';
import { ntpPolling } from './ntp.ts';
import { MINUTE, SECOND, MILLISECOND, type Process } from './scheduler.ts';
import { SmbClient } from './smb2.ts';
import { browse, tlsExchange } from './web.ts';
import type { World } from './world.ts';

/** Who a workstation talks to. */
export interface OfficeServices {
  readonly directory: Host;
  readonly fileServer: Host;
  readonly historian: Host;
}

const DOMAIN = 'plant.example';

/** Starts everything a workstation does in the background. `devices` have web pages it looks at. */
export function startWorkstation(
  world: World,
  host: Host,
  services: OfficeServices,
  devices: readonly Host[],
): void {
  const stream = (name: string): Prng => world.random(`${host.name} ${name}`);
  const delay = stream('start');
  const later = (process: Process): void => world.start(process, delay.below(8 * SECOND));
  later(nameLookups(world, host, services, stream('dns')));
  later(ntpPolling(world, host, services.directory, stream('ntp')));
  later(fileReading(world, host, services.fileServer, stream('smb')));
  later(tlsVisits(world, host, services, stream('tls')));
  later(neighbourDiscovery(world, host, services.fileServer, stream('nd')));
  later(mdnsQueries(world, host, stream('mdns')));
  if (devices.length > 0) later(browsing(world, host, devices, stream('http')));
}

function* nameLookups(world: World, client: Host, services: OfficeServices, random: Prng): Process {
  const server = services.directory;
  const named = [services.directory, services.fileServer, services.historian];
  for (;;) {
    const target = random.pick(named);
    const isUnknown = random.chance(0.2);
    const name = isUnknown ? `wpad.${DOMAIN}` : `${target.name}.${DOMAIN}`;
    yield* dnsLookup(world, { client, server, name, address: isUnknown ? null : target.ipv4 }, random);
    yield random.exponential(20 * SECOND);
  }
}

function* fileReading(world: World, client: Host, server: Host, random: Prng): Process {
  for (;;) {
    yield random.exponential(50 * SECOND);
    const smb = new SmbClient(world, client, server, 'operator', random);
    yield* smb.open();
    yield* smb.connectTree('recipes');
    for (let files = random.between(1, 3); files > 0; files--) {
      const fileBytes = random.between(2000, 40_000);
      yield* smb.openFile(`line\\recipe_${String(random.below(100))}.xml`, fileBytes, false);
      for (let offset = 0; offset < fileBytes; offset += 16_384)
        yield* smb.read(offset, Math.min(16_384, fileBytes - offset));
      yield* smb.closeFile();
      yield* smb.tcp.sleep(random.between(20 * MILLISECOND, 800 * MILLISECOND));
    }
    yield* smb.close();
  }
}

function* tlsVisits(world: World, client: Host, services: OfficeServices, random: Prng): Process {
  for (;;) {
    yield random.exponential(40 * SECOND);
    yield* tlsExchange(world, client, services.historian, `${services.historian.name}.${DOMAIN}`, random);
  }
}

function* browsing(world: World, client: Host, devices: readonly Host[], random: Prng): Process {
  for (;;) {
    yield random.exponential(1.5 * MINUTE);
    yield* browse(world, client, random.pick(devices), random);
  }
}
