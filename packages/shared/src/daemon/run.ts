/**
 * What the three programs have in common: command line, configuration, signals, the service manager, and an end with a
 * documented exit code. Each `main.ts` is one call to `runProgram`.
 *
 *   SIGTERM, SIGINT   stop: intake first, then everything downstream is emptied; a second one hurries
 *   SIGHUP            close the open segments, read the configuration again, take over what can change while running
 *   SIGUSR1           write the books to the log
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import type { z } from 'zod';
import { OperatingError, messageOf } from '../base/errors.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import type { Books, Sample } from '../observe/books.ts';
import { createLog, type Log, type LogLevel } from '../observe/log.ts';
import { serveMetrics, type MetricsAddress } from '../observe/metrics-server.ts';
import { serviceManager, type ServiceManager } from '../system/sd-notify.ts';
import { checkCommand } from './check-command.ts';
import { EXIT_BUG, EXIT_CLEAN, EXIT_USAGE, exitCodeOf } from './exit-code.ts';

/** What every configuration has, whatever else it has. */
export interface CommonConfig {
  readonly log: { readonly level: LogLevel };
  readonly metrics?: { readonly listen: MetricsAddress } | undefined;
}

/** A daemon that runs. */
export interface RunningDaemon {
  /** Resolves when the daemon has stopped by itself or after the signal, with its exit code. */
  readonly finished: Promise<number>;
  books(): Books;
  /** Metrics beside the books, under names of their own: those that others' dashboards know. */
  samples?(): readonly Sample[];
  /** SIGHUP: takes over what can change and returns the keys that need a restart. */
  reload(config: LoadedConfig<unknown>): Promise<readonly string[]>;
}

export interface DaemonContext {
  readonly log: Log;
  /** Aborts when the daemon shall stop. */
  readonly stop: AbortSignal;
  /** Aborts when it shall stop now, whatever is still under way. */
  readonly hurry: AbortSignal;
}

export interface Program<T extends CommonConfig> {
  /** `tapline-forwarder`. */
  readonly name: string;
  readonly summary: string;
  readonly schema: z.ZodType<T>;
  /** What a schema cannot say. Throws CONFIG_INVALID. */
  readonly verify?: (config: LoadedConfig<T>) => void;
  readonly defaultConfig: string;
  /** Lines shown below the help. */
  readonly examples: readonly string[];
  /** Loaded when no daemon is wanted: a start should not wait for them. */
  readonly commands: () => Promise<readonly Command[]>;
  start(config: LoadedConfig<T>, context: DaemonContext): Promise<RunningDaemon>;
}

/** Runs a program with the process's arguments to its end, and sets the exit code. */
export async function runProgram<T extends CommonConfig>(program: Program<T>): Promise<void> {
  // `… | head` closes the pipe early: that is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Anything else is told by whoever wrote.
    if (error.code === 'EPIPE') process.exit(EXIT_CLEAN);
  });
  const command = new Command(program.name)
    .description(program.summary)
    .version(packageVersion(), '-V, --version')
    .argument('[config]', 'the configuration, as with --config')
    .addOption(
      new Option('-c, --config <file>', 'the configuration').default(undefined, program.defaultConfig),
    )
    .addHelpText(
      'after',
      `\nSignals:\n  SIGTERM stops cleanly · SIGHUP rotates and reloads · SIGUSR1 logs the books\n\nExamples:\n${program.examples.map((line) => `  ${line}`).join('\n')}\n`,
    )
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .action(async (positional: string | undefined, options: { config?: string }) => {
      process.exitCode = await runDaemon(program, options.config ?? positional ?? program.defaultConfig);
    });
  command.addCommand(checkCommand(program.schema, program.verify));
  const wantsDaemon = /^(-c|--config)/.test(process.argv[2] ?? '');
  for (const subcommand of wantsDaemon ? [] : await program.commands())
    command.addCommand(subcommand.exitOverride());
  try {
    await command.parseAsync();
  } catch (error) {
    process.exitCode = reportFailure(program.name, error);
  }
}

/** The version in the workspace's package.json files, which are released together. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function runDaemon<T extends CommonConfig>(program: Program<T>, file: string): Promise<number> {
  const config = loadConfig(program.schema, file);
  program.verify?.(config);
  const log = createLog(program.name, config.value.log.level);
  const manager = serviceManager();
  const stop = new AbortController();
  const hurry = new AbortController();
  dieOnBugs(log);
  // Before anything is opened: an order to stop that comes during the start is obeyed as soon as the start is over.
  stopOnSignals(log, manager, stop, hurry);
  const started = Promise.withResolvers<Control>();
  listenToSignals(program, log, started.promise, stop.signal);
  try {
    let books = (): Books => ({});
    let samples = (): readonly Sample[] => [];
    // First, because a port that is taken must not leave a daemon running that nobody waits for.
    const { metrics } = config.value;
    const metricsPrefix = program.name.replaceAll('-', '_');
    const closeMetrics =
      metrics === undefined
        ? null
        : await serveMetrics(
            metricsPrefix,
            metrics.listen,
            () => books(),
            () => samples(),
          );
    const daemon = await program.start(config, { log, stop: stop.signal, hurry: hurry.signal });
    books = () => daemon.books();
    samples = () => daemon.samples?.() ?? [];
    started.resolve({ file, daemon, log, manager });
    const watchdog = startWatchdog(manager);
    manager.ready('running');
    log.info({ config: file, version: packageVersion(), node: process.versions.node }, 'Started.');
    const code = await outcomeOf(daemon, log);
    clearInterval(watchdog);
    manager.stopping();
    closeMetrics?.();
    log[code === EXIT_CLEAN ? 'info' : 'error']({ exitCode: code, books: daemon.books() }, 'Stopped.');
    return code;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.error(
      { code: error.code, context: error.code === 'CONFIG_INVALID' ? undefined : error.context },
      error.message,
    );
    return exitCodeOf(error);
  }
}

/** How the daemon ended: also one that emptied everything and then told what the world had done to it. */
async function outcomeOf(daemon: RunningDaemon, log: Log): Promise<number> {
  try {
    return await daemon.finished;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.error({ code: error.code, context: error.context }, error.message);
    return exitCodeOf(error);
  }
}

/** The first one stops, a second one hurries. */
function stopOnSignals(
  log: Log,
  manager: ServiceManager,
  stop: AbortController,
  hurry: AbortController,
): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      const isSecond = stop.signal.aborted;
      log.info({ signal }, isSecond ? 'Stopping at once.' : 'Stopping.');
      manager.stopping();
      (isSecond ? hurry : stop).abort();
    });
}

interface Control {
  readonly file: string;
  readonly daemon: RunningDaemon;
  readonly log: Log;
  readonly manager: ServiceManager;
}

/**
 * SIGUSR1 and SIGHUP, from the first moment too: what Node does with a SIGUSR1 that nobody handles is to open a debugger's
 * port, and a SIGHUP ends the process. During the start they wait for its end.
 */
function listenToSignals<T extends CommonConfig>(
  program: Program<T>,
  log: Log,
  started: Promise<Control>,
  stop: AbortSignal,
): void {
  process.on('SIGUSR1', () => {
    void started.then(({ daemon }) => {
      log.info({ books: daemon.books() }, 'Books.');
    });
  });
  // One reload after the other: two at once could leave half of each.
  let reloading: Promise<unknown> = started;
  process.on('SIGHUP', () => {
    reloading = reloading.then(async () => {
      const control = await started;
      if (!stop.aborted) await reload(program, control);
    });
  });
}

/** A configuration with a mistake leaves the old one in force. */
async function reload<T extends CommonConfig>(program: Program<T>, control: Control): Promise<void> {
  const { file, daemon, log, manager } = control;
  manager.reloading();
  try {
    const config = loadConfig(program.schema, file);
    program.verify?.(config);
    const needRestart = await daemon.reload(config);
    log.level = config.value.log.level;
    if (needRestart.length > 0) log.warn({ keys: needRestart }, 'These keys take effect after a restart.');
    log.info({ config: file }, 'Reloaded.');
  } catch (error) {
    // A bug ends the daemon here as anywhere: half a reload is no state to go on from.
    if (!(error instanceof OperatingError)) throw error;
    log.error({ problem: error.message }, 'The new configuration is not usable; the old one stays in force.');
  }
  manager.ready('running');
}

function startWatchdog(manager: ServiceManager): NodeJS.Timeout | undefined {
  if (manager.watchdogMs === null) return undefined;
  // On the event loop on purpose: when it hangs, systemd shall know.
  return setInterval(() => {
    manager.alive();
  }, manager.watchdogMs).unref();
}

/** What nobody caught is a bug: said once, then systemd starts a process that has not lost its mind. */
function dieOnBugs(log: Log): void {
  const die = (error: unknown): void => {
    log.fatal({ stack: error instanceof Error ? error.stack : undefined }, messageOf(error));
    process.exit(EXIT_BUG);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}

/** Failures before or beside a running daemon: said on standard error, as a sentence. */
function reportFailure(name: string, error: unknown): number {
  // Commander has printed its own message, help and version included.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CLEAN : EXIT_USAGE;
  if (error instanceof OperatingError) console.error(`${name}: ${error.message}`);
  else console.error(error);
  return exitCodeOf(error);
}
