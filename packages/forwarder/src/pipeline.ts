/**
 * The forwarder's row, and the only file that knows two of its stations:
 *
 *   NIC ─ring─▶ capture ─┬─▶ archive              hourly PCAP per source, on this box
 *                        └─▶ dedupe ─▶ select ─▶ uplink     batch, compress ─▶ spool ─▶ TCP ─▶ collector
 *
 * What must stay true:
 * - a batch goes to the archive before it is offered to the uplink: the link may drop, the disk should not;
 * - a live capture never waits for the link: what the full queue cannot take is dropped, counted and reported as a gap;
 * - a replay waits instead: a file does not run away;
 * - stopping empties the row in its own order: capture, uplink, archive. What is left at the deadline is counted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Archive } from '@tapline/shared/archive/archive.ts';
import { droppedPackets, joined } from '@tapline/shared/archive/archive-options.ts';
import { FIRST_ARCHIVE, type ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { OpenFiles } from '@tapline/shared/archive/open-files.ts';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { archiveRules } from '@tapline/shared/config/archive-fields.ts';
import { archiveSetOf } from '@tapline/shared/config/archive-set-of.ts';
import { keeperOptions, placesOfSet } from '@tapline/shared/config/keep-fields.ts';
import { keeperEvents } from '@tapline/shared/daemon/keeper-events.ts';
import { Keeper } from '@tapline/shared/keep/keeper.ts';
import { KeptPlace } from '@tapline/shared/keep/kept-place.ts';
import { readKeyFile } from '@tapline/shared/config/key-file.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { EXIT_ARCHIVE, EXIT_CLEAN, EXIT_NOT_DRAINED } from '@tapline/shared/daemon/exit-code.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { packageVersion, type DaemonContext, type RunningDaemon } from '@tapline/shared/daemon/run.ts';
import { Feeds } from '@tapline/shared/daemon/feeds.ts';
import { archiveBooks } from '@tapline/shared/daemon/archive-books.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { openCaptureSource, type CaptureCounters, type CaptureSource } from './capture/capture-source.ts';
import { captureOptions, isReplay } from './capture-options.ts';
import { plaintextOf, type ForwarderConfig } from './config.ts';
import { archiveEvents, captureEvents, edgeEvents, spoolEvents, tlsEvents, uplinkEvents } from './events.ts';
import { EdgeResponder } from './edge/edge-responder.ts';
import { DuplicateFilter } from './dedupe/duplicate-filter.ts';
import { ForwardSelection } from './filter/forward-selection.ts';
import { Spool } from './spool/spool.ts';
import { dialTls } from './tunnel/dial-tls.ts';
import { UDP_BYTES_PER_SECOND, type UdpTunnelOptions } from './tunnel/udp/udp-tunnel-uplink.ts';
import { createUplink, type Uplink } from './tunnel/uplink.ts';

/** How often a finished replay looks whether the collector has everything. */
const DRAIN_POLL_MS = 20;
/** What a stop gives to finishing the last segments; what is left is finished at the next start. */
const KEEPER_DEADLINE_MS = 20_000;

/** Opens every station and sets the row going. Throws CONFIG_INVALID, CAPTURE_FAILED, FILTER_INVALID, ARCHIVE_FAILED, SPOOL_FAILED. */
export async function startForwarder(
  loaded: LoadedConfig<ForwarderConfig>,
  context: DaemonContext,
): Promise<RunningDaemon> {
  const { value: config } = loaded;
  const { log } = context;
  const udp = udpOptions(loaded);
  const capture = openCaptureSource(await captureOptions(config), { events: captureEvents(log) });
  const selection = createSelection(loaded);
  const { archive, keeper, adopt } = openArchives(config, context, () => capture.counters());
  let row;
  try {
    row = new Forwarder(loaded, context, { capture, archive, keeper, selection, udp });
  } catch (error) {
    await archive?.close();
    await keeper?.close(0);
    throw error;
  }
  try {
    await row.openFeeds();
    await capture.open();
  } catch (error) {
    await row.abandon();
    if (error instanceof OperatingError && error.code === 'FILTER_INVALID')
      throw loaded.problem(
        ['capture', 'bpf_filter'],
        error.message,
        'the language is that of pcap-filter(7)',
      );
    throw error;
  }
  log.info(
    {
      driver: config.capture.driver,
      interfaces: capture.interfaces,
      archive: archive?.directory ?? null,
    },
    'Capturing.',
  );
  // Not before the capture is open: what comes meanwhile waits in its ring.
  adopt();
  return row.start();
}

interface Stations {
  readonly capture: CaptureSource;
  readonly archive: ArchiveSet | null;
  readonly keeper: Keeper | null;
  readonly selection: ForwardSelection;
  /** What the one-way tunnel needs besides; null for every other protocol. */
  readonly udp: UdpTunnelOptions | null;
}

class Forwarder implements RunningDaemon {
  finished: Promise<number> = Promise.resolve(EXIT_CLEAN);
  readonly #context: DaemonContext;
  readonly #capture: CaptureSource;
  readonly #archive: ArchiveSet | null;
  readonly #keeper: Keeper | null;
  readonly #feeds: Feeds;
  readonly #edge: EdgeResponder | null;
  readonly #uplink: Uplink | null;
  readonly #selection: ForwardSelection;
  readonly #duplicates: DuplicateFilter | null;
  readonly #isPlaintext: boolean;
  readonly #tls: TlsIdentity | null;
  #config: ForwarderConfig;

  constructor(
    loaded: LoadedConfig<ForwarderConfig>,
    context: DaemonContext,
    { capture, archive, keeper, selection, udp }: Stations,
  ) {
    const { value: config } = loaded;
    this.#config = config;
    this.#isPlaintext = plaintextOf(loaded).isPlaintext;
    if (this.#isPlaintext)
      context.log.warn('Packets leave this machine without encryption, to whoever answers there.');
    const { tls } = config.forward ?? {};
    this.#tls = tls === undefined ? null : new TlsIdentity(tls, tlsEvents(context.log));
    this.#selection = selection;
    const { dedupe } = config.forward ?? {};
    this.#duplicates =
      dedupe === undefined ? null : new DuplicateFilter({ windowMs: dedupe.window, ignore: dedupe.ignore });
    this.#context = context;
    this.#capture = capture;
    this.#archive = archive;
    this.#keeper = keeper;
    this.#feeds = new Feeds(
      config.pcap_over_ip,
      {
        root: config.output_directories.pcap_raw_output_path,
        isSinglePlace: true,
        flush: () => {
          this.#archive?.flush();
        },
      },
      context.log,
    );
    this.#edge = this.#createEdge();
    this.#uplink = this.#createUplink(udp);
  }

  /** The capture is open: sets the row going. */
  start(): this {
    this.#uplink?.start();
    this.finished = this.#run();
    return this;
  }

  openFeeds(): Promise<void> {
    return this.#feeds.open();
  }

  /** The capture could not be opened. */
  async abandon(): Promise<void> {
    await this.#feeds.close();
    await this.#uplink?.drain(0);
    await this.#archive?.close();
    await this.#keeper?.close(0);
  }

  books(): Books {
    const first = this.#firstArchive;
    const further = this.#archive?.members.filter(({ name }) => name !== FIRST_ARCHIVE) ?? [];
    const uplink = this.#uplink?.counters;
    return {
      capture: { ...this.#capture.counters() },
      archive: first === null ? null : archiveBooks(first),
      keeper: this.#keeper?.books() ?? null,
      feeds: this.#feeds.books(),
      edge: this.#edge === null ? null : { ...this.#edge.counters },
      archives: further.map(({ name, archive }) => ({ archive: name, ...archiveBooks(archive) })),
      uplink:
        uplink === undefined
          ? null
          : {
              duplicatePackets: this.#duplicates?.counters.duplicatePackets ?? 0,
              duplicateBytes: this.#duplicates?.counters.duplicateBytes ?? 0,
              filteredPackets: this.#selection.filteredPackets,
              offeredPackets: uplink.offeredPackets,
              recoveredPackets: uplink.recoveredPackets,
              acknowledgedPackets: uplink.acknowledgedPackets,
              queuedPacketsNow: uplink.queuedPackets,
              queuedBytesNow: uplink.queuedBytes,
              spooledBytesNow: uplink.spooledBytes,
              droppedPackets: Object.values(uplink.dropped).reduce((sum, packets) => sum + packets, 0),
              resentPackets: uplink.resentPackets,
              offeredBytes: uplink.offeredBytes,
              sentBytes: uplink.sentBytes,
              connections: uplink.connections,
              clockOffsetMsNow: uplink.clockOffsetMs,
              plaintextNow: this.#isPlaintext ? 1 : 0,
              ...(this.#tls === null ? {} : { certificateDaysLeftNow: this.#tls.daysLeft }),
              droppedByReason: { ...uplink.dropped },
            },
    };
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as ForwarderConfig;
    this.#tls?.renew();
    this.#archive?.setRules(archiveRules(config.routing_rules), config.default_output_prefix);
    this.#archive?.rotate();
    const fixed = [
      'sensor',
      'capture',
      'output_directories',
      'archive',
      'archives',
      'retention',
      'on_close',
      'custody',
      'pcap_over_ip',
      'edge',
      'forward',
      'metrics',
    ] as const;
    const changed = fixed.filter((key) => JSON.stringify(config[key]) !== JSON.stringify(this.#config[key]));
    // What needs a restart keeps its running value: half of a new configuration must not work with half of the old.
    const { routing_rules, default_output_prefix } = config;
    this.#config = { ...this.#config, routing_rules, default_output_prefix };
    return changed;
  }

  /** What ends the row early (a damaged file, a filter that fits no link type) is told after everything was emptied. */
  async #run(): Promise<number> {
    try {
      await this.#pump();
    } catch (error) {
      await this.#close();
      throw error;
    }
    return this.#close();
  }

  async #pump(): Promise<void> {
    const isPatient = isReplay(this.#config);
    const archive = this.#archive;
    const uplink = this.#uplink;
    for await (const batch of this.#capture.batches(this.#context.stop)) {
      archive?.write(batch);
      this.#feeds.offer(this.#config.sensor, batch);
      if (uplink === null) continue;
      const wanted = this.#duplicates === null ? batch : this.#duplicates.apply(batch);
      if (wanted !== null) this.#selection.offer(wanted, uplink);
      if (isPatient && !uplink.hasRoom()) await this.#waitForRoom(uplink);
    }
  }

  /** Room in the queue, or the order to stop: a collector that is away must not hold up a stop. */
  async #waitForRoom(uplink: Uplink): Promise<void> {
    const { stop } = this.#context;
    if (stop.aborted) return;
    let wake: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      wake = resolve;
      stop.addEventListener('abort', wake, { once: true });
    });
    await Promise.race([uplink.waitForRoom(), stopped]);
    stop.removeEventListener('abort', wake);
  }

  async #close(): Promise<number> {
    await this.#capture.close();
    await this.#feeds.close();
    this.#archive?.flush();
    const abandoned = this.#uplink === null ? 0 : await this.#drain(this.#uplink);
    await this.#archive?.close();
    await this.#keeper?.close(KEEPER_DEADLINE_MS);
    if (this.#archive !== null && this.#archive.packetsDropped > 0) return EXIT_ARCHIVE;
    return abandoned > 0 ? EXIT_NOT_DRAINED : EXIT_CLEAN;
  }

  /** A replay waits for its collector as long as it takes; a stop, only until its deadline, and a hurried one not at all. */
  async #drain(uplink: Uplink): Promise<number> {
    const { stop, hurry } = this.#context;
    while (!stop.aborted && uplink.counters.queuedPackets > 0)
      await sleep(DRAIN_POLL_MS, undefined, { signal: stop }).catch(() => undefined);
    return uplink.drain(this.#config.forward?.drain_timeout ?? 0, hurry);
  }

  #createUplink(udp: UdpTunnelOptions | null): Uplink | null {
    const { forward, sensor } = this.#config;
    if (forward?.enable !== true) return null;
    return createUplink(
      {
        protocol: forward.protocol === 'tcp' ? 'tunnel' : forward.protocol,
        collectors: [{ host: forward.host, port: forward.port }, ...forward.failover],
        returnAfterMs: forward.return_after,
        sensor,
        compression: forward.compression,
        queueBytesMax: forward.queue_size,
        order: forward.order,
        rate: {
          // One way nobody can say that it is too fast.
          bytesPerSecond: forward.max_rate ?? (udp === null ? Infinity : UDP_BYTES_PER_SECOND),
          windows: forward.schedule.map(({ from, to, days, max_rate: bytesPerSecond }) => ({
            fromMinute: from,
            toMinute: to,
            days,
            bytesPerSecond,
          })),
        },
        onFull: isReplay(this.#config) ? 'wait' : 'drop-newest',
        software: `tapline-forwarder ${packageVersion()}`,
        ...(udp === null ? {} : { udp }),
      },
      {
        events: uplinkEvents(this.#context.log),
        spool: this.#createSpool(),
        ...(this.#edge === null ? {} : { edge: this.#edge }),
        ...(this.#tls === null
          ? {}
          : { dial: dialTls(() => (this.#tls as TlsIdentity).files, forward.tls?.server_name) }),
        interfaces: () => this.#capture.interfaces.map(({ name, linkType }, id) => ({ id, name, linkType })),
        report: () => this.#reported(),
      },
    );
  }

  #createEdge(): EdgeResponder | null {
    const { edge, output_directories: directories } = this.#config;
    if (!edge.enable) return null;
    return new EdgeResponder(
      { root: directories.pcap_raw_output_path, bytesPerSecond: Math.max(1, edge.max_rate) },
      systemTunnelClock,
      () => {
        this.#archive?.flush();
      },
      edgeEvents(this.#context.log),
    );
  }

  #createSpool(): Spool | null {
    const { spool } = this.#config.forward ?? {};
    if (spool === undefined) return null;
    const { path: directory, max_bytes: bytesMax, mode, on_full: onFull } = spool;
    return new Spool(
      { directory, bytesMax, mode, onFull },
      { files: systemFiles, clock: systemTunnelClock, events: spoolEvents(this.#context.log) },
    );
  }

  get #firstArchive(): Archive | null {
    return this.#archive?.members.find(({ name }) => name === FIRST_ARCHIVE)?.archive ?? null;
  }

  /** What the collector is told of this side: so that loss on the probe is known in the SOC. */
  #reported(): Record<string, number> {
    const capture = this.#capture.counters();
    const counters = this.#firstArchive?.counters;
    return {
      uptime_seconds: Math.round(process.uptime()),
      spool_bytes_max: this.#config.forward?.spool?.max_bytes ?? 0,
      captured_packets: capture.packets,
      capture_kernel_dropped_packets: capture.kernelDroppedPackets,
      capture_kernel_freezes: capture.kernelFreezes,
      capture_interface_dropped_packets: capture.interfaceDroppedPackets,
      capture_filtered_packets: capture.filteredPackets,
      archive_stored_packets: counters?.packetsStored ?? 0,
      archive_dropped_packets: counters === undefined ? 0 : droppedPackets(counters),
      forward_filtered_packets: this.#selection.filteredPackets,
      ...(this.#duplicates === null
        ? {}
        : {
            forward_seen_packets: this.#duplicates.counters.seenPackets,
            forward_duplicate_packets: this.#duplicates.counters.duplicatePackets,
          }),
    };
  }
}

/** Of the one-way tunnel, its key read; null for every other protocol. Throws CONFIG_INVALID. */
function udpOptions(loaded: LoadedConfig<ForwarderConfig>): UdpTunnelOptions | null {
  const { forward } = loaded.value;
  const udp = forward?.udp;
  if (forward?.enable !== true || forward.protocol !== 'udp-tunnel' || udp === undefined) return null;
  const { mtu, data, parity, interleave, cipher, key_id, key_file, ttl, multicast_interface } = udp;
  let seal: UdpTunnelOptions['seal'] = null;
  if (cipher !== 'none' && key_id !== undefined && key_file !== undefined)
    try {
      seal = { cipher, keyId: key_id, secret: readKeyFile(key_file) };
    } catch (error) {
      throw loaded.problem(
        ['forward', 'udp', 'key_file'],
        messageOf(error),
        'tapline-collector udp-key makes one',
      );
    }
  return {
    mtu,
    data,
    parity,
    interleave,
    seal,
    ...(ttl === undefined ? {} : { ttl }),
    ...(multicast_interface === undefined ? {} : { multicastInterface: multicast_interface }),
  };
}

/** Throws CONFIG_INVALID with the place of a filter that libpcap does not understand. */
function createSelection(loaded: LoadedConfig<ForwarderConfig>): ForwardSelection {
  const { forward } = loaded.value;
  const selection = new ForwardSelection({
    filter: forward?.filter ?? '',
    snapBytes: forward?.snaplen ?? PACKET_BYTES_MAX,
    classes: forward?.priority ?? [],
  });
  selection.check((index, message) =>
    loaded.problem(
      index === null ? ['forward', 'filter'] : ['forward', 'priority', index],
      message,
      'the language is that of pcap-filter(7)',
    ),
  );
  return selection;
}

interface OpenedArchives {
  readonly archive: ArchiveSet | null;
  readonly keeper: Keeper | null;
  /** Has finished what runs before this one left; before anything is written. */
  readonly adopt: () => void;
}

/** The archives that are kept here, and who looks after their segments; all `null` when nothing is stored. */
function openArchives(
  config: ForwarderConfig,
  context: DaemonContext,
  captured: () => CaptureCounters,
): OpenedArchives {
  if (!config.archive.enable && config.archives.length === 0)
    return { archive: null, keeper: null, adopt: () => undefined };
  const { log } = context;
  const keeper = new Keeper(
    keeperOptions(config, true, `tapline-forwarder ${packageVersion()}`),
    keeperEvents(log),
  );
  const kept = new KeptPlace(
    keeper,
    () => places,
    () => {
      const { kernelDroppedPackets, interfaceDroppedPackets } = captured();
      return {
        kernel: kernelDroppedPackets,
        interface: interfaceDroppedPackets,
        archive: archive.packetsDropped,
      };
    },
  );
  const archive = archiveSetOf(
    config,
    { directory: '', isFirstKept: config.archive.enable },
    {
      files: systemFiles,
      openFiles: new OpenFiles(systemFiles, config.archive.open_files_max),
      events: joined(archiveEvents(log), kept.events(), {
        segmentClosed: ({ name }) => {
          kept.finished(name);
        },
      }),
    },
  );
  const { interface: names } = config.capture;
  const places = placesOfSet(archive, config, {
    sensor: config.sensor,
    interfaces: names === undefined ? [config.capture.driver] : [names].flat(),
    filter: config.capture.bpf_filter ?? '',
    gapList: '',
  });
  try {
    archive.open();
  } catch (error) {
    void keeper.close(0);
    throw error;
  }
  return {
    archive,
    keeper,
    adopt: () => {
      for (const place of places.values()) keeper.adopt(place);
    },
  };
}
