import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { problemsOf } from '@tapline/shared/config/problem.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { parseConfig } from '@tapline/shared/config/load.ts';
import { z } from 'zod';
import { alertFields } from './publish-fields.ts';

const schema = z.strictObject({ alerts: alertFields });

function problems(text: string): string[] {
  try {
    parseConfig(schema, text, 'analyzer.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return problemsOf(error).map(({ key, message }) => `${key}: ${message}`);
  }
}

describe('the section alerts', () => {
  it('needs nothing: then alerts are stored, and nobody is told', () => {
    expect(alertFields.parse(undefined)).toEqual({
      store: { path: '/var/lib/tapline-analyzer/alerts.db', retention: 31_536_000_000, rows_max: 1_000_000 },
      heartbeat: { interval: 30_000, expect: [] },
    });
  });

  it.each([
    ['alerts: {syslog: {host: 10.0.0.1, transport: tcp}}', /^alerts\.syslog\.transport: is tcp/],
    ['alerts: {syslog: {host: siem, certificate: /c}}', /^alerts\.syslog\.certificate: and key go together/],
    ['alerts: {webhook: {url: "http://soc.example/x"}}', /^alerts\.webhook\.url: is not https/],
    ['alerts: {webhook: {url: "ftp://soc.example/x"}}', /^alerts\.webhook\.url: not a URL/],
    ['alerts: {bus: {listen: "0.0.0.0:9620"}}', /^alerts\.bus\.curve: is missing/],
    ['alerts: {bus: {listen: "127.0.0.1:9620", replay: "10.0.0.1:9621"}}', /^alerts\.bus\.curve: is missing/],
    ['alerts: {bus: {listen: here}}', /^alerts\.bus\.listen: not an address/],
    ['alerts: {eve: {path: /x, severity: loud}}', /^alerts\.eve\.severity/],
    ['alerts: {stduot: {}}', /unknown key/],
  ])('%s is a mistake', (text, expected) => {
    expect(problems(text)).toEqual([expect.stringMatching(expected)]);
  });

  it.each([
    'alerts: {syslog: {host: 127.0.0.1, transport: tcp}}',
    'alerts: {webhook: {url: "http://[::1]:80/x"}}',
    'alerts: {webhook: {url: "http://10.0.0.1/x", allow_plaintext: true}}',
    'alerts: {bus: {listen: "[::]:9620", curve: {key: /k, clients: /c}}}',
  ])('%s is none', (text) => {
    expect(problems(text)).toEqual([]);
  });

  it('is shown in config/alerts.yaml with every key, as it is valid', () => {
    const text = readFileSync(new URL('../../../../config/alerts.yaml', import.meta.url), 'utf8');
    const { value } = parseConfig(schema, text, 'alerts.yaml');
    const { store, heartbeat } = alertFields.parse({});
    expect(value.alerts.store).toEqual(store);
    expect(value.alerts.heartbeat.interval).toBe(heartbeat.interval);
    for (const key of keysOf(schema)) expect(text, key).toMatch(new RegExp(`^[#\\s]*${key}:`, 'm'));
  });
});

/** Names of all keys of a schema. */
function keysOf(type: unknown): string[] {
  const { def } = type as { def: { innerType?: unknown; in?: unknown; shape?: Record<string, unknown> } };
  if (def.shape !== undefined)
    return Object.entries(def.shape).flatMap(([key, value]) => [key, ...keysOf(value)]);
  const inner = def.innerType ?? def.in;
  return inner === undefined ? [] : keysOf(inner);
}
