/**
 * Configurations as people write them: every mistake at its place, the examples complete, SecureOT's files unchanged.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { analyzerSchema } from '@tapline/analyzer/src/config.ts';
import { bindAddress, collectorSchema } from '@tapline/collector/src/config.ts';
import { forwarderSchema } from '@tapline/forwarder/src/config.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { parseConfig } from '@tapline/shared/config/load.ts';
import { problemsOf } from '@tapline/shared/config/problem.ts';
import { editDistance, suggest } from '@tapline/shared/config/suggest.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { Program } from './support/child.ts';
import { projectRoot } from './support/project.ts';

const SCHEMAS: Record<'forwarder' | 'collector' | 'analyzer', z.ZodType> = {
  forwarder: forwarderSchema,
  collector: collectorSchema,
  analyzer: analyzerSchema,
};

/** `line:column key: message` of every problem in a text. */
function problems(schema: z.ZodType, text: string): string[] {
  try {
    parseConfig(schema, text, 'x.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    return problemsOf(error).map(({ line, column, key, message }) => `${line}:${column} ${key}: ${message}`);
  }
}

describe('mistakes in a configuration', () => {
  it('are all told at once, each with line, column and key', () => {
    const text = [
      'sensor: "bad name"',
      'captur: {}',
      'capture:',
      '  interfce: eth0',
      '  snaplen: 5',
      '  ring_size: 12 apples',
      'routing_rules:',
      '  - ip: 10.0.0.0/8',
      '    output_prefix: ../x',
      'forward:',
      '  enable: yes please',
      '  port: 70000',
      '  protocol: sctp',
      'metrics: {listen: "0.0.0.0:80"}',
    ].join('\n');
    expect(problems(forwarderSchema, text)).toEqual([
      '1:9 sensor: not a sensor name',
      '2:1 captur: unknown key',
      '4:3 capture.interfce: unknown key',
      '4:3 capture.interface: is missing',
      '5:12 capture.snaplen: too small: expected number to be >=64',
      '6:14 capture.ring_size: not a size in range',
      '8:9 routing_rules[0].ip: not an IP address',
      '9:20 routing_rules[0].output_prefix: not the beginning of a file name',
      '11:3 forward.host: is missing',
      '11:11 forward.enable: invalid input: expected boolean, received string',
      '12:9 forward.port: too big: expected number to be <=65535',
      '13:13 forward.protocol: invalid option: expected one of "tcp"|"udp"|"udp-plain"|"tcp-plain"',
      '14:19 metrics.listen: not a loopback address with a port',
    ]);
  });

  it('come with a remedy: what was meant, or what to write', () => {
    try {
      parseConfig(forwarderSchema, 'capture: {interfce: eth0}\narchive: {flush_interval: 5}\n', 'x.yaml');
      expect.unreachable();
    } catch (error) {
      const text = (error as Error).message;
      expect(text).toContain('did you mean interface?');
      expect(text).toContain('write a duration from 10ms to 1m, such as 1s');
      expect(text).toContain('x.yaml:1:11');
      expect(text).toContain('         |           ^');
    }
  });

  it('of YAML itself are told with their place: syntax and duplicate keys', () => {
    expect(problems(analyzerSchema, 'log: {level: info}\nlog: {}\n')).toEqual([
      '2:1 : map keys must be unique',
    ]);
    expect(problems(analyzerSchema, 'input: [1\nlog: {}\n')[0]).toMatch(/^2:1 /);
  });

  it('of an alias bomb end in an error, not in memory', () => {
    const lines = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (let i = 0; i < 9; i++)
      lines.push(`${'bcdefghij'[i]}: &${'bcdefghij'[i]} [${`*${'abcdefghi'[i]},`.repeat(9)}]`);
    expect(problems(analyzerSchema, lines.join('\n')).length).toBeGreaterThan(0);
  });

  it('whatever the text, nothing but CONFIG_INVALID is thrown', () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom('capture:', '  interface: x', '- a', 'sensor: 1', '{', '&a *a', '? :', '  - ip: 1'),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        for (const schema of Object.values(SCHEMAS)) problems(schema, lines.join('\n'));
      }),
    );
  });
});

describe('suggestions', () => {
  it('name the nearest known word, and none when nothing is near', () => {
    expect(suggest('interfce', ['driver', 'interface'])).toBe('interface');
    expect(suggest('zzz', ['driver', 'interface'])).toBeNull();
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });
});

/** Dotted keys of a schema, leaves and maps. */
function keysOf(schema: z.ZodType, prefix = ''): string[] {
  const definition = schema.def as {
    innerType?: z.ZodType;
    in?: z.ZodType;
    element?: z.ZodType;
    shape?: Record<string, z.ZodType>;
  };
  if (definition.shape !== undefined)
    return Object.entries(definition.shape).flatMap(([key, value]) => [
      `${prefix}${key}`,
      ...keysOf(value, `${prefix}${key}.`),
    ]);
  const inner = definition.innerType ?? definition.in ?? definition.element;
  return inner === undefined ? [] : keysOf(inner, prefix);
}

describe.each(['forwarder', 'collector', 'analyzer'] as const)('config/%s.yaml', (name) => {
  const text = readFileSync(join(projectRoot, 'config', `${name}.yaml`), 'utf8');

  it('is valid as it stands', () => {
    expect(problems(SCHEMAS[name], text)).toEqual([]);
  });

  it('shows every key there is', () => {
    for (const key of keysOf(SCHEMAS[name])) {
      const leaf = key.slice(key.lastIndexOf('.') + 1);
      expect(text, key).toMatch(new RegExp(`^[#\\s-]*${leaf}:`, 'm'));
    }
  });

  it('shows the defaults: without its lines the value is the same', () => {
    const shown = parseConfig(SCHEMAS[name], text, name).value as Record<string, unknown>;
    const needed = {
      forwarder: 'capture: {interface: eth1}',
      collector: 'port: 5000\nprotocol: tcp',
      analyzer: '',
    }[name];
    const bare = parseConfig(SCHEMAS[name], needed, name).value as Record<string, unknown>;
    const sections = {
      forwarder: ['archive', 'output_directories', 'log'],
      collector: ['archive', 'limits', 'plain', 'output_directories', 'log'],
      analyzer: ['input', 'statistics_interval', 'log'],
    };
    for (const section of sections[name]) expect(shown[section], section).toEqual(bare[section]);
  });

  it('passes `check`, which exits with 0; a wrong one exits with 2', async () => {
    const good = new Program(name, ['check', join(projectRoot, 'config', `${name}.yaml`)]);
    expect((await good.exited).code).toBe(0);
    const bad = new Program(name, ['check', '--json', join(projectRoot, 'package.json')]);
    expect((await bad.exited).code).toBe(2);
  });
});

describe("SecureOT's configurations run unchanged", () => {
  const rules = 'routing_rules:\n  - ip: "192.168.1.10"\n    output_prefix: "traffic_plc_main"\n';
  const directories = (path: string): string => `output_directories:\n  pcap_raw_output_path: "${path}"\n`;

  it('the sniffer of a SPAN port', () => {
    const text = `capture:\n  interface: "eth0"\n  bpf_filter: "tcp port 502 or tcp port 102 or udp port 44818"\n${rules}default_output_prefix: "traffic_misc"\n${directories('/var/lib/secureot-agent/pcap_raw')}`;
    const { value } = parseConfig(forwarderSchema, text, 'config.yaml');
    expect(value.capture.interface).toBe('eth0');
    expect(value.default_output_prefix).toBe('traffic_misc');
    expect(value.forward).toBeUndefined();
  });

  it('the forwarder, with a null filter, UDP in any case, and forwarding switched off', () => {
    const text = (protocol: string, enable: boolean): string =>
      `capture:\n  interface: "eth0"\n  bpf_filter: null\n${rules}default_output_prefix: "default"\n${directories('./pcaps')}forward:\n  enable: ${enable}\n  host: "192.168.1.100"\n  port: 443\n  protocol: "${protocol}"\n`;
    expect(parseConfig(forwarderSchema, text('UDP', true), 'config.yaml').value.forward).toMatchObject({
      protocol: 'udp-plain',
      port: 443,
    });
    expect(parseConfig(forwarderSchema, text('tcp', false), 'config.yaml').value.forward).toMatchObject({
      enable: false,
    });
  });

  it('the collector, which then listens on every address as that program did', () => {
    const text = `port: 5000\nprotocol: "tcp"\nrouting_rules: []\ndefault_output_prefix: "remote_misc_traffic"\n${directories('/var/lib/secureot-agent/remote_pcap_raw')}`;
    const config = parseConfig(collectorSchema, text, 'config.yaml');
    expect(bindAddress(config.value, config.keys)).toEqual({ address: '0.0.0.0', isLegacy: true });
    const ours = parseConfig(collectorSchema, `${text}log: {level: warn}\n`, 'config.yaml');
    expect(bindAddress(ours.value, ours.keys)).toEqual({ address: '127.0.0.1', isLegacy: false });
  });
});
