/** The analyzer's configuration: every key with its unit, range and default. `config/analyzer.yaml` shows them all. */
import { duration, host, log, metrics, path } from '@tapline/shared/config/fields.ts';
import { z } from 'zod';
import { FLOW_LOG_FORMATS } from './flow-log.ts';
import { alertFields } from './publish/publish-fields.ts';

/** `collector.example:57012`, `[2001:db8::7]:57012`. */
const server = z
  .string()
  .transform((text, context) => {
    const match = /^(?:tcp:\/\/)?(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
    const name = host.safeParse(match?.[1] ?? match?.[2]);
    const number = Number(match?.[3]);
    if (name.success && number >= 1 && number <= 65_535) return { host: name.data, port: number };
    context.issues.push({ code: 'custom', message: 'not a host with a port', input: text });
    return z.NEVER;
  })
  .describe('write a host and a port, such as 127.0.0.1:57012');

const sensor = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'not a sensor name')
  .describe('write letters, digits, dots, dashes and underscores, at most 64');

const input = z
  .strictObject({
    directory: path.default('/var/lib/tapline-collector/pcap'),
    poll_interval: duration(50, 60_000).default(250),
    reorder_window: duration(0, 60_000).default(1000),
    files: z.array(path).min(1).max(10_000).optional(),
    stdin: z.boolean().default(false),
    tcp: server.optional(),
    sensor: sensor.default('.'),
  })
  .superRefine(({ files, stdin, tcp }, context) => {
    const others = [files !== undefined && 'files', stdin && 'stdin', tcp !== undefined && 'tcp'].filter((key) => key !== false); // prettier-ignore
    if (others.length > 1)
      context.addIssue({ code: 'custom', message: `is one of ${others.join(', ')}, not more`, path: [others[1] as string] }); // prettier-ignore
  })
  .prefault({});

export const analyzerSchema = z.strictObject({
  input,
  rules: path.optional(),
  state_directory: path.optional(),
  checkpoint_interval: duration(1000, 3_600_000).default(10_000),
  alerts_file: path.optional(),
  alerts: alertFields.optional(),
  baseline: path.optional(),
  models: z
    .strictObject({
      enabled: z.boolean().default(true).describe('write true or false'),
      directory: path.optional(),
      shadow: path.optional(),
    })
    .prefault({}),
  flows: z.strictObject({ format: z.enum(FLOW_LOG_FORMATS).default('zeek'), file: path }).optional(),
  statistics_interval: duration(1000, 86_400_000).default(60_000),
  metrics,
  log,
});

export type AnalyzerConfig = z.infer<typeof analyzerSchema>;
