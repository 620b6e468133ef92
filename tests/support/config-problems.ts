/** The daemons' configurations, and what is wrong with one, in lines that tests can compare. */
import { analyzerSchema } from '@tapline/analyzer/src/config.ts';
import { collectorSchema } from '@tapline/collector/src/config.ts';
import { forwarderSchema } from '@tapline/forwarder/src/config.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { parseConfig } from '@tapline/shared/config/load.ts';
import { problemsOf } from '@tapline/shared/config/problem.ts';
import { expect } from 'vitest';
import type { z } from 'zod';

/** Of the three daemons. */
export const SCHEMAS: Record<'forwarder' | 'collector' | 'analyzer', z.ZodType> = {
  forwarder: forwarderSchema,
  collector: collectorSchema,
  analyzer: analyzerSchema,
};

/** `line:column key: message` of every problem in a text. */
export function problems(schema: z.ZodType, text: string): string[] {
  try {
    parseConfig(schema, text, 'x.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    return problemsOf(error).map(({ line, column, key, message }) => `${line}:${column} ${key}: ${message}`);
  }
}
