/**
 * The collector's row, and the only file that knows two of its stations:
 *
 *   TCP ─▶ listen ─┬─ "TAPL" ─▶ session (once, in order) ─▶ store ─▶ archive of the sensor ─▶ commit ─▶ acknowledge
 *                  └─ else ──▶ plain ─┐
 *   mirrors ─▶ unwrap ─▶ archive of the mirror
 *   UDP ─▶ listen ─┬─ else ──▶ plain ─┴─▶ archive of the sender
 *                  └─ "TAPD" ─▶ groups (repaired, in order) ─▶ the sensor's intake, as from a session
 *
 * What must stay true:
 * - a batch is acknowledged when its packets are on the disk, not before;
 * - a sensor that misbehaves costs itself its connection, and the others nothing;
 * - what was accepted always finds room in its sensor's buffers, also while the disk refuses: nothing acknowledged is lost;
 * - all archives together keep to one budget of descriptors.
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { joined, type ArchiveEvents, type ArchiveRule } from '@tapline/shared/archive/archive-options.ts';
import { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { OpenFiles } from '@tapline/shared/archive/open-files.ts';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { readKeyFile } from '@tapline/shared/config/key-file.ts';
import { archiveRules } from '@tapline/shared/config/archive-fields.ts';
import { archiveSetOf } from '@tapline/shared/config/archive-set-of.ts';
import { keeperOptions, placesOfSet } from '@tapline/shared/config/keep-fields.ts';
import { keeperEvents } from '@tapline/shared/daemon/keeper-events.ts';
import { Keeper } from '@tapline/shared/keep/keeper.ts';
import { KeptPlace, type Losses } from '@tapline/shared/keep/kept-place.ts';
import { placesOf } from '@tapline/shared/catalog/places.ts';
import { LOCK_NAME } from '@tapline/shared/archive/directory-lock.ts';
import { GAP_LIST_NAME } from './session/gap-list.ts';
import { RESUME_NAME } from './session/resume-point.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { EXIT_ARCHIVE, EXIT_CLEAN } from '@tapline/shared/daemon/exit-code.ts';
import { packageVersion, type DaemonContext, type RunningDaemon } from '@tapline/shared/daemon/run.ts';
import { Feeds } from '@tapline/shared/daemon/feeds.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';
import { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import { isLoopback } from '@tapline/shared/config/fields.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { collectorBooks } from './books.ts';
import { bindAddress, isKeyRequired, type CollectorConfig } from './config.ts';
import {
  archiveEvents,
  datagramEvents,
  fleetEvents,
  listenerEvents,
  mirrorEvents,
  sessionEvents,
  storeEvents,
  tlsEvents,
} from './events.ts';
import { ControlServer } from './control/control-server.ts';
import { FleetStatus } from './fleet/fleet-status.ts';
import { DatagramIntake, type DatagramKey } from './listen/datagram-intake.ts';
import { MirrorIntake } from './listen/mirror/mirror-intake.ts';
import { MirrorListener } from './listen/mirror/mirror-listener.ts';
import { PlainArchives } from './listen/plain-archives.ts';
import { PlainIntake } from './listen/plain-intake.ts';
import { TcpListener } from './listen/tcp-listener.ts';
import { UdpListener } from './listen/udp-listener.ts';
import { ArchiveSize } from './session/archive-size.ts';
import { DiskLimit } from './session/disk-limit.ts';
import { ArchiveStore } from './session/sensor-store.ts';
import { SessionTable } from './session/session-table.ts';

/** What a disk that does not answer may hold up a stop. */
const CLOSE_DEADLINE_MS = 15_000;
/** What a stop gives to finishing the last segments; what is left is finished at the next start. */
const KEEPER_DEADLINE_MS = 20_000;

/** Opens everything and starts to listen. Throws LISTEN_FAILED and ARCHIVE_FAILED. */
export async function startCollector(
  loaded: LoadedConfig<CollectorConfig>,
  context: DaemonContext,
): Promise<RunningDaemon> {
  const collector = new Collector(loaded.value, context);
  await collector.listen(loaded);
  return collector;
}

class Collector implements RunningDaemon {
  readonly finished: Promise<number>;
  readonly #context: DaemonContext;
  readonly #openFiles: OpenFiles;
  readonly #keeper: Keeper;
  readonly #feeds: Feeds;
  readonly #stores = new Map<string, ArchiveStore>();
  readonly #sessions: SessionTable;
  readonly #plain: PlainIntake;
  readonly #plainArchives: PlainArchives;
  /** Unwrapped frames, by the name of their mirror. */
  readonly #mirrored: PlainIntake;
  readonly #mirrors: MirrorListener[] = [];
  #tls: TlsIdentity | null = null;
  #config: CollectorConfig;
  #fleet: FleetStatus | null = null;
  #control: ControlServer | null = null;
  #tcp: TcpListener | null = null;
  #udp: UdpListener | null = null;
  #datagrams: DatagramIntake | null = null;

  constructor(config: CollectorConfig, context: DaemonContext) {
    this.#config = config;
    this.#context = context;
    this.#openFiles = new OpenFiles(systemFiles, config.archive.open_files_max);
    this.#keeper = new Keeper(
      keeperOptions(config, false, `tapline-collector ${packageVersion()}`),
      keeperEvents(context.log),
    );
    this.#feeds = new Feeds(
      config.pcap_over_ip,
      {
        root: config.output_directories.pcap_raw_output_path,
        isSinglePlace: false,
        flush: () => {
          for (const [, archives] of this.#allArchives()) archives.flush();
        },
      },
      context.log,
    );
    this.#sessions = new SessionTable(
      {
        collector: hostname(),
        software: `tapline-collector ${packageVersion()}`,
        helloTimeoutMs: config.limits.hello_timeout,
        idleTimeoutMs: config.limits.idle_timeout,
        intervalMs: config.limits.commit_interval,
        uncommittedBytesMax: config.limits.uncommitted_size,
        sensorsMax: config.limits.sensors_max,
        bytesPerSecondMax: config.limits.sensor_rate,
        uncommittedTotalMax: config.limits.uncommitted_total,
      },
      { openStore: (sensor) => this.#openStore(sensor), events: sessionEvents(context.log) },
    );
    this.#plainArchives = new PlainArchives(rulesOf(config), config.default_output_prefix, {
      openArchive: (name, rules, defaultPrefix) => this.#openArchives(name, rules, defaultPrefix),
      openFailed: (name, error) =>
        context.log.error(
          { sender: name, problem: messageOf(error) },
          'The archive of a plain sender cannot be opened.',
        ),
      limitOf: (sensor, archive) => {
        const events = sessionEvents(context.log);
        const size = new ArchiveSize(archive, systemFiles, this.#config.limits.sensor_disk ?? Infinity);
        return new DiskLimit(size, systemTunnelClock, {
          reached: (bytesMax) => events.diskLimitReached?.({ sensor, bytesMax }),
          left: (bytes) => events.diskLimitLeft?.({ sensor, bytes }),
        });
      },
    });
    this.#plain = new PlainIntake(config.plain.payload, {
      clock: systemTunnelClock,
      deliver: (peer, batch) => {
        this.#plainArchives.write(peer, batch);
        this.#feeds.offer(peer, batch);
      },
    });
    this.#mirrored = new PlainIntake('auto', {
      clock: systemTunnelClock,
      deliver: (name, batch) => {
        this.#plainArchives.write(name, batch);
        this.#feeds.offer(name, batch);
      },
    });
    this.finished = aborted(context.stop).then(() => this.#close());
  }

  async listen(loaded: LoadedConfig<CollectorConfig>): Promise<void> {
    const { log } = this.#context;
    const { address: host, isLegacy } = bindAddress(this.#config, loaded.keys);
    const { port, protocol, limits, plain } = this.#config;
    systemFiles.makeDirectory(this.#config.output_directories.pcap_raw_output_path);
    await this.#finishEarlierRuns();
    const events = listenerEvents(log);
    if (protocol === 'udp') this.#udp = this.#createUdpListener(loaded, host);
    else
      this.#tcp = new TcpListener(
        {
          host,
          port,
          protocol: plain.enable ? 'auto' : 'tunnel',
          plainTcp: plain.tcp,
          connectionsMax: limits.connections_max,
          connectionsPerAddress: limits.connections_per_address,
          greetingTimeoutMs: limits.hello_timeout,
          tls: await this.#openTls(),
        },
        { clock: systemTunnelClock, sessions: this.#sessions, plain: this.#plain, events },
      );
    const address = await (this.#tcp ?? (this.#udp as UdpListener)).open();
    // Not before the port is open: its timer would keep a failed start alive.
    this.#fleet = new FleetStatus(this.#config.output_directories.pcap_raw_output_path, {
      files: systemFiles,
      clock: systemTunnelClock,
      sensors: () => this.#sessions.sensors,
      events: fleetEvents(log),
    });
    if (isLegacy)
      log.warn(
        { address: host, port },
        'This configuration names no address to bind: as SecureOT did, every address is listened on, without encryption. Set bind.',
      );
    else if (this.#tls === null && !isLoopback(host))
      log.warn(
        { address: host, port },
        'Packets are taken from other machines without encryption or authentication.',
      );
    await this.#openMirrors();
    await this.#feeds.open();
    await this.#openControl();
    log.info(
      { address: address.address, port: address.port, protocol, tls: this.#tls !== null },
      'Listening for sensors.',
    );
  }

  async #openControl(): Promise<void> {
    const root = this.#config.output_directories.pcap_raw_output_path;
    this.#control = new ControlServer(root, {
      sensors: () =>
        this.#sessions.sensors.map(({ sensor, isConnected }) => ({ sensor, connected: isConnected })),
      stream: (request, socket) => {
        this.#feeds.serve(request, socket);
      },
      edge: (sensor) => this.#sessions.sensors.find((intake) => intake.sensor === sensor)?.edge ?? null,
    });
    try {
      await this.#control.open();
    } catch (error) {
      this.#context.log.warn(
        { archive: root, problem: messageOf(error) },
        'The control socket cannot be opened: `export --edge` and Wireshark’s interfaces will not work.',
      );
    }
  }

  async #openMirrors(): Promise<void> {
    const { log } = this.#context;
    for (const { protocol, bind, port, names } of this.#config.mirrors) {
      const intake = new MirrorIntake(
        { protocol, names },
        { packets: this.#mirrored, clock: systemTunnelClock, events: mirrorEvents(log) },
      );
      const listener = new MirrorListener({ protocol, host: bind, port }, intake, listenerEvents(log));
      const opened = await listener.open();
      this.#mirrors.push(listener);
      log.info({ protocol, address: bind, port: opened }, 'Listening for a mirror.');
    }
  }

  #createUdpListener(loaded: LoadedConfig<CollectorConfig>, host: string): UdpListener {
    const { log } = this.#context;
    const { port, plain, udp, limits } = this.#config;
    const keyRequired = isKeyRequired(this.#config, host);
    if (!keyRequired && udp.allow_unauthenticated === true)
      log.warn(
        { address: host },
        'Tunnel datagrams without a seal are taken: whoever reaches the port can speak for a sensor.',
      );
    this.#datagrams = new DatagramIntake(
      {
        keys: readKeys(loaded),
        isKeyRequired: keyRequired,
        reorderMs: udp.reorder_window,
        bytesMax: udp.buffer_size,
        idleTimeoutMs: limits.idle_timeout,
      },
      {
        clock: systemTunnelClock,
        openIntake: (hello) => this.#sessions.intakeOf(hello),
        events: datagramEvents(log),
      },
    );
    return new UdpListener(
      { host, port, ...(udp.multicast === undefined ? {} : { multicast: udp.multicast }) },
      {
        plain: plain.enable ? this.#plain : null,
        tunnel: this.#datagrams,
        events: listenerEvents(log),
      },
    );
  }

  books(): Books {
    return collectorBooks({
      tcp: this.#tcp,
      udp: this.#udp,
      tls: this.#tls,
      plain: this.#plain,
      plainArchives: this.#plainArchives,
      mirrors: this.#mirrors,
      datagrams: this.#datagrams,
      sensors: this.#sessions.sensors,
      archives: [...this.#allArchives()].map(([, archive]) => archive),
      keeper: this.#keeper,
      feeds: this.#feeds,
    });
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as CollectorConfig;
    if (this.#tls?.renew() === true)
      this.#tcp?.renewTls(this.#tls.files, await revokedSerials(this.#tls.files));
    const rules = rulesOf(config);
    for (const store of this.#stores.values()) store.archives.setRules(rules, config.default_output_prefix);
    this.#plainArchives.setRules(rules, config.default_output_prefix);
    for (const [, archive] of this.#allArchives()) archive.rotate();
    const fixed = [
      'mirrors',
      'bind',
      'port',
      'protocol',
      'plain',
      'udp',
      'output_directories',
      'archive',
      'archives',
      'retention',
      'on_close',
      'custody',
      'object_store',
      'pcap_over_ip',
      'limits',
      'metrics',
    ] as const;
    const changed = fixed.filter((key) => JSON.stringify(config[key]) !== JSON.stringify(this.#config[key]));
    // What needs a restart keeps its running value: half of a new configuration must not work with half of the old.
    const { routing_rules, default_output_prefix } = config;
    this.#config = { ...this.#config, routing_rules, default_output_prefix };
    return changed;
  }

  /** Intake first, then everything that was accepted is made durable and acknowledged. */
  async #close(): Promise<number> {
    this.#tcp?.stop();
    await this.#udp?.close();
    for (const mirror of this.#mirrors) await mirror.close();
    this.#plain.flush();
    this.#mirrored.flush();
    await this.#sessions.close(CLOSE_DEADLINE_MS);
    this.#fleet?.close();
    this.#tcp?.close();
    await this.#plainArchives.close();
    await this.#feeds.close();
    this.#control?.close();
    await this.#keeper.close(KEEPER_DEADLINE_MS);
    const dropped = [...this.#allArchives()].reduce(
      (total, [, archives]) => total + archives.packetsDropped,
      0,
    );
    return dropped > 0 ? EXIT_ARCHIVE : EXIT_CLEAN;
  }

  async #openTls(): Promise<{ files: TlsFiles; revoked: ReadonlySet<string> } | undefined> {
    const { tls } = this.#config;
    if (tls === undefined) return undefined;
    this.#tls = new TlsIdentity(tls, tlsEvents(this.#context.log));
    const { files } = this.#tls;
    return { files, revoked: await revokedSerials(files) };
  }

  #openStore(sensor: string): Promise<ArchiveStore> {
    return this.#openStoreOf(sensor).then((store) => {
      this.#stores.set(sensor, store);
      return store;
    });
  }

  #openStoreOf(sensor: string): Promise<ArchiveStore> {
    const { log } = this.#context;
    const kept = this.#keptPlace(sensor, () => store.archives);
    const store: { archives: ArchiveSet } = { archives: new ArchiveSet([]) };
    return ArchiveStore.open(
      { directory: this.#directoryOf(sensor), bytesMax: this.#config.limits.sensor_disk },
      {
        files: systemFiles,
        written: (batch) => {
          this.#feeds.offer(sensor, batch);
        },
        events: {
          ...storeEvents(log, sensor),
          finished: (name) => {
            kept.finished(name);
          },
        },
        createArchives: (storeEventsOfArchive) =>
          (store.archives = this.#createArchives(
            sensor,
            rulesOf(this.#config),
            this.#config.default_output_prefix,
            joined(archiveEvents(log, sensor), kept.events(), storeEventsOfArchive),
          )),
      },
    );
  }

  #openArchives(name: string, rules: readonly ArchiveRule[], defaultPrefix: string | undefined): ArchiveSet {
    const kept = this.#keptPlace(name, () => archives);
    const events = joined(archiveEvents(this.#context.log, name), kept.events(), {
      segmentClosed: (segment) => {
        kept.finished(segment.name);
      },
    });
    const archives = this.#createArchives(name, rules, defaultPrefix, events);
    archives.open();
    return archives;
  }

  #createArchives(
    name: string,
    rules: readonly ArchiveRule[],
    defaultPrefix: string | undefined,
    events: ArchiveEvents,
  ): ArchiveSet {
    return archiveSetOf(
      { ...this.#config, default_output_prefix: defaultPrefix },
      { directory: name, rules },
      { files: systemFiles, openFiles: this.#openFiles, events },
    );
  }

  #keptPlace(name: string, archives: () => ArchiveSet): KeptPlace {
    return new KeptPlace(
      this.#keeper,
      () => this.#placesOf(name, archives()),
      () => this.#lossesOf(name, archives()),
    );
  }

  #placesOf(name: string, archives: ArchiveSet): ReturnType<typeof placesOfSet> {
    const intake = this.#sessions.sensors.find(({ sensor }) => sensor === name);
    return placesOfSet(archives, this.#config, {
      sensor: name,
      interfaces: intake?.interfaces ?? [],
      filter: '',
      gapList: join(this.#directoryOf(name), GAP_LIST_NAME),
    });
  }

  /** Packets of a sensor that were lost anywhere on their way, as far as is known here. */
  #lossesOf(name: string, archives: ArchiveSet): Losses {
    const intake = this.#sessions.sensors.find(({ sensor }) => sensor === name);
    const reported = intake?.report?.counters ?? {};
    return {
      'sensor-kernel': reported['capture_kernel_dropped_packets'] ?? 0,
      'sensor-interface': reported['capture_interface_dropped_packets'] ?? 0,
      'sensor-tunnel': intake?.counters.gapPackets ?? 0,
      'one-way-link': intake?.counters.lostPackets ?? 0,
      archive: archives.packetsDropped,
    };
  }

  /** Repairs what a crash left, of every place there is, and has finished what runs before this one did not finish. */
  async #finishEarlierRuns(): Promise<void> {
    const root = this.#config.output_directories.pcap_raw_output_path;
    for (const { sensor } of placesOf(root, false)) {
      const directory = this.#directoryOf(sensor);
      try {
        if (!systemFiles.exists(join(directory, LOCK_NAME))) continue;
        // Opening repairs; nobody has connected yet who could open it besides.
        const isSensor = systemFiles.exists(join(directory, RESUME_NAME));
        const store = isSensor ? await this.#openStoreOf(sensor) : null;
        const archives =
          store?.archives ?? this.#openArchives(sensor, [], this.#config.default_output_prefix);
        const places = this.#placesOf(sensor, archives);
        await (store ?? archives).close();
        for (const place of places.values()) this.#keeper.adopt(place);
      } catch (error) {
        this.#context.log.error(
          { sensor, problem: messageOf(error) },
          'The archive of a sensor cannot be opened; what an earlier run left there stays unfinished.',
        );
      }
    }
  }

  #directoryOf(name: string): string {
    return join(this.#config.output_directories.pcap_raw_output_path, name);
  }

  *#allArchives(): Iterable<readonly [string, ArchiveSet]> {
    for (const [sensor, store] of this.#stores) yield [sensor, store.archives];
    yield* this.#plainArchives.archives;
  }
}

/** Resolves when the signal aborts, or has. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

/** The library that reads the list is large, and most collectors start without a list. */
async function revokedSerials({ crl }: TlsFiles): Promise<ReadonlySet<string>> {
  if (crl === null) return new Set();
  const { revokedSerials: serialsOf } = await import('./pki/certificates.ts');
  return serialsOf(crl);
}

/** The keys of the configuration, from their files. Throws CONFIG_INVALID. */
function readKeys(loaded: LoadedConfig<CollectorConfig>): DatagramKey[] {
  return loaded.value.udp.keys.map(({ id, sensor, key_file }, index) => {
    try {
      return { id, sensor, secret: readKeyFile(key_file) };
    } catch (error) {
      const remedy = 'tapline-collector udp-key makes one';
      throw loaded.problem(['udp', 'keys', index, 'key_file'], messageOf(error), remedy);
    }
  });
}

function rulesOf(config: CollectorConfig): readonly ArchiveRule[] {
  return archiveRules(config.routing_rules);
}
