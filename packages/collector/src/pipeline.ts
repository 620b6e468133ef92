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
import type { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { keeperOptions } from '@tapline/shared/config/keep-fields.ts';
import { keeperEvents } from '@tapline/shared/daemon/keeper-events.ts';
import { Keeper } from '@tapline/shared/keep/keeper.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { changedKeys } from '@tapline/shared/config/reload.ts';
import { EXIT_ARCHIVE, EXIT_CLEAN } from '@tapline/shared/daemon/exit-code.ts';
import { packageVersion, type DaemonContext, type RunningDaemon } from '@tapline/shared/daemon/run.ts';
import { Feeds } from '@tapline/shared/daemon/feeds.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';
import { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import { isLoopback } from '@tapline/shared/config/fields.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { collectorBooks } from './books.ts';
import { bindAddress, isKeyRequired, type CollectorConfig } from './config.ts';
import {
  datagramEvents,
  fleetEvents,
  listenerEvents,
  mirrorEvents,
  sessionEvents,
  tlsEvents,
} from './events.ts';
import { ControlServer } from './control/control-server.ts';
import { FleetStatus } from './fleet/fleet-status.ts';
import { DatagramIntake } from './listen/datagram-intake.ts';
import { MirrorIntake } from './listen/mirror/mirror-intake.ts';
import { MirrorListener } from './listen/mirror/mirror-listener.ts';
import { PlainArchives } from './listen/plain-archives.ts';
import { PlainIntake } from './listen/plain-intake.ts';
import { TcpListener } from './listen/tcp-listener.ts';
import { UdpListener } from './listen/udp-listener.ts';
import { datagramOptions, sessionOptions, tcpOptions, udpOptions } from './listen-options.ts';
import { Places, rulesOf } from './places.ts';
import { revokedSerials } from './pki/revocation.ts';
import type { SensorIntake } from './session/sensor-intake.ts';
import { SessionTable } from './session/session-table.ts';

/** What a disk that does not answer may hold up a stop. */
const CLOSE_DEADLINE_MS = 15_000;
/** What a stop gives to finishing the last segments; what is left is finished at the next start. */
const KEEPER_DEADLINE_MS = 20_000;

/** Read at the start only. */
const NEED_RESTART = [
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
  readonly #keeper: Keeper;
  readonly #feeds: Feeds;
  readonly #places: Places;
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
          for (const archive of this.#archives) archive.flush();
        },
      },
      context.log,
    );
    this.#places = new Places(config, {
      log: context.log,
      keeper: this.#keeper,
      written: (sensor, batch) => {
        this.#feeds.offer(sensor, batch);
      },
      intakeOf: (sensor) => this.#intakeOf(sensor),
    });
    this.#sessions = new SessionTable(sessionOptions(config), {
      openStore: (sensor) => this.#places.openStore(sensor),
      events: sessionEvents(context.log),
    });
    this.#plainArchives = new PlainArchives(rulesOf(config), config.default_output_prefix, {
      openArchive: (name, rules, defaultPrefix) => this.#places.openArchives(name, rules, defaultPrefix),
      openFailed: (name, error) =>
        context.log.error(
          { sender: name, problem: messageOf(error) },
          'The archive of a plain sender cannot be opened.',
        ),
      limitOf: (sender, archives) => this.#places.limitOf(sender, archives),
    });
    const deliver = (sender: string, batch: Batch): void => {
      this.#plainArchives.write(sender, batch);
      this.#feeds.offer(sender, batch);
    };
    this.#plain = new PlainIntake(config.plain.payload, { clock: systemTunnelClock, deliver });
    this.#mirrored = new PlainIntake('auto', { clock: systemTunnelClock, deliver });
    this.finished = aborted(context.stop).then(() => this.#close());
  }

  async listen(loaded: LoadedConfig<CollectorConfig>): Promise<void> {
    const { log } = this.#context;
    const { address: host, isLegacy } = bindAddress(this.#config, loaded.keys);
    const { port, protocol } = this.#config;
    systemFiles.makeDirectory(this.#config.output_directories.pcap_raw_output_path);
    await this.#places.finishEarlierRuns();
    const events = listenerEvents(log);
    if (protocol === 'udp') this.#udp = this.#createUdpListener(loaded, host);
    else
      this.#tcp = new TcpListener(tcpOptions(this.#config, host, await this.#openTls()), {
        clock: systemTunnelClock,
        sessions: this.#sessions,
        plain: this.#plain,
        events,
      });
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
      edge: (sensor) => this.#intakeOf(sensor)?.edge ?? null,
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
    const { plain, udp } = this.#config;
    const keyRequired = isKeyRequired(this.#config, host);
    if (!keyRequired && udp.allow_unauthenticated === true)
      log.warn(
        { address: host },
        'Tunnel datagrams without a seal are taken: whoever reaches the port can speak for a sensor.',
      );
    this.#datagrams = new DatagramIntake(datagramOptions(loaded, keyRequired), {
      clock: systemTunnelClock,
      openIntake: (hello) => this.#sessions.intakeOf(hello),
      events: datagramEvents(log),
    });
    return new UdpListener(udpOptions(this.#config, host), {
      plain: plain.enable ? this.#plain : null,
      tunnel: this.#datagrams,
      events: listenerEvents(log),
    });
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
      archives: this.#archives,
      keeper: this.#keeper,
      feeds: this.#feeds,
    });
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as CollectorConfig;
    if (this.#tls?.renew() === true)
      this.#tcp?.renewTls(this.#tls.files, await revokedSerials(this.#tls.files));
    this.#places.setRules(config);
    this.#plainArchives.setRules(rulesOf(config), config.default_output_prefix);
    for (const archive of this.#archives) archive.rotate();
    const changed = changedKeys(this.#config, config, NEED_RESTART);
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
    return this.#archives.some((archive) => archive.packetsDropped > 0) ? EXIT_ARCHIVE : EXIT_CLEAN;
  }

  async #openTls(): Promise<{ files: TlsFiles; revoked: ReadonlySet<string> } | undefined> {
    const { tls } = this.#config;
    if (tls === undefined) return undefined;
    this.#tls = new TlsIdentity(tls, tlsEvents(this.#context.log));
    const { files } = this.#tls;
    return { files, revoked: await revokedSerials(files) };
  }

  #intakeOf(sensor: string): SensorIntake | undefined {
    return this.#sessions.sensors.find((intake) => intake.sensor === sensor);
  }

  /** Of all sensors and senders. */
  get #archives(): readonly ArchiveSet[] {
    return [...this.#places.archives, ...this.#plainArchives.archives.map(([, archive]) => archive)];
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
