/** The analyzer's configuration: every key with its unit, range and default. `config/analyzer.yaml` shows them all. */
import { duration, log, metrics, path } from '@tapline/shared/config/fields.ts';
import { z } from 'zod';

export const analyzerSchema = z.strictObject({
  input: z
    .strictObject({
      directory: path.default('/var/lib/tapline-collector/pcap'),
      poll_interval: duration(50, 60_000).default(1000),
    })
    .prefault({}),
  statistics_interval: duration(1000, 86_400_000).default(60_000),
  metrics,
  log,
});

export type AnalyzerConfig = z.infer<typeof analyzerSchema>;
