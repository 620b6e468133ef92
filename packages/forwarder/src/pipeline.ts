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
import type { ArchiveSet } from '@tapline/shared/archive/archive-set.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { archiveRules } from '@tapline/shared/config/archive-fields.ts';
import type { Keeper } from '@tapline/shared/keep/keeper.ts';
import type { LoadedConfig } from '@tapline/shared/config/load.ts';
import { changedKeys } from '@tapline/shared/config/reload.ts';
import { EXIT_ARCHIVE, EXIT_CLEAN, EXIT_NOT_DRAINED } from '@tapline/shared/daemon/exit-code.ts';
import { systemTunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import type { DaemonContext, RunningDaemon } from '@tapline/shared/daemon/run.ts';
import { Feeds } from '@tapline/shared/daemon/feeds.ts';
import type { Books } from '@tapline/shared/observe/books.ts';
import { TlsIdentity } from '@tapline/shared/system/tls-identity.ts';
import { systemFiles } from '@tapline/shared/system/files.ts';
import { openArchives } from './archives.ts';
import { forwarderBooks, reportedCounters, type CountedStations } from './books.ts';
import { openCaptureSource, type CaptureSource } from './capture/capture-source.ts';
import { captureOptions, isReplay } from './capture-options.ts';
import { plaintextOf, type ForwarderConfig } from './config.ts';
import { captureEvents, edgeEvents, spoolEvents, tlsEvents, uplinkEvents } from './events.ts';
import { EdgeResponder } from './edge/edge-responder.ts';
import { DuplicateFilter } from './dedupe/duplicate-filter.ts';
import type { ForwardSelection } from './filter/forward-selection.ts';
import { createSelection, spoolOptions, udpOptions, uplinkOptions } from './forward-options.ts';
import { Spool } from './spool/spool.ts';
import { dialTls } from './tunnel/dial-tls.ts';
import type { UdpTunnelOptions } from './tunnel/udp/udp-tunnel-options.ts';
import { createUplink, type Uplink } from './tunnel/uplink.ts';

/** How often a finished replay looks whether the collector has everything. */
const DRAIN_POLL_MS = 20;
/** What a stop gives to finishing the last segments; what is left is finished at the next start. */
const KEEPER_DEADLINE_MS = 20_000;

/** Read at the start only. */
const NEED_RESTART = [
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
    return forwarderBooks(this.#counted);
  }

  async reload(loaded: LoadedConfig<unknown>): Promise<readonly string[]> {
    const config = loaded.value as ForwarderConfig;
    this.#tls?.renew();
    this.#archive?.setRules(archiveRules(config.routing_rules), config.default_output_prefix);
    this.#archive?.rotate();
    const changed = changedKeys(this.#config, config, NEED_RESTART);
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
    const options = uplinkOptions(this.#config, udp);
    if (options === null) return null;
    const { log } = this.#context;
    const identity = this.#tls;
    const serverName = this.#config.forward?.tls?.server_name;
    return createUplink(options, {
      events: uplinkEvents(log),
      spool: this.#createSpool(),
      ...(this.#edge === null ? {} : { edge: this.#edge }),
      ...(identity === null ? {} : { dial: dialTls(() => identity.files, serverName) }),
      interfaces: () => this.#capture.interfaces.map(({ name, linkType }, id) => ({ id, name, linkType })),
      report: () => reportedCounters(this.#counted, this.#config.forward?.spool?.max_bytes ?? 0),
    });
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
    const options = spoolOptions(this.#config);
    if (options === null) return null;
    const events = spoolEvents(this.#context.log);
    return new Spool(options, { files: systemFiles, clock: systemTunnelClock, events });
  }

  get #counted(): CountedStations {
    return {
      capture: this.#capture,
      archive: this.#archive,
      keeper: this.#keeper,
      feeds: this.#feeds,
      edge: this.#edge,
      duplicates: this.#duplicates,
      selection: this.#selection,
      uplink: this.#uplink,
      isPlaintext: this.#isPlaintext,
      tls: this.#tls,
    };
  }
}
