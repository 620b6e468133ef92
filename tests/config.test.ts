/** Configurations as people write them: files and values, the examples complete, SecureOT's files unchanged. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { analyzerSchema } from '@tapline/analyzer/src/config.ts';
import { rulesSchema } from '@tapline/analyzer/src/rule/rule-file.ts';
import { bindAddress, collectorSchema, isKeyRequired } from '@tapline/collector/src/config.ts';
import { captureOptions } from '@tapline/forwarder/src/capture-options.ts';
import { forwarderSchema } from '@tapline/forwarder/src/config.ts';
import { loadConfig, parseConfig } from '@tapline/shared/config/load.ts';
import { problemsOf } from '@tapline/shared/config/problem.ts';
import { afterAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { Program } from './support/child.ts';
import { projectRoot } from './support/project.ts';
import { SCHEMAS, problems } from './support/config-problems.ts';

describe('the rules', () => {
  it('that config/rules.yaml shows are all of them, with their defaults', () => {
    const shown = loadConfig(rulesSchema, join(projectRoot, 'config/rules.yaml'));
    expect(shown.value).toEqual(rulesSchema.parse({}));
    expect(shown.keys).toEqual(Object.keys(rulesSchema.shape));
    const leaves = Object.entries(rulesSchema.parse({})).flatMap(([rule, value]) =>
      Array.isArray(value) ? [rule] : Object.keys(value).map((key) => `${rule}.${key}`),
    );
    expect(leaves.filter((leaf) => !shown.leaves.some((written) => written === leaf || written.startsWith(leaf)))).toEqual([]); // prettier-ignore
  });

  it('say where a mistake is', () => {
    expect(problems(rulesSchema, 'scan_vertical: {port: 3}\nsyn_flood: {severity: loud}\nscans: {}')).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^1:17 scan_vertical\.port: unknown key/),
        expect.stringMatching(/^2:23 syn_flood\.severity: /),
        expect.stringMatching(/^3:1 scans: unknown key/),
      ]),
    );
  });
});

describe('a file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-config-'));
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  function refusal(file: string): string {
    try {
      loadConfig(analyzerSchema, file);
      return '';
    } catch (error) {
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
      return (error as Error).message;
    }
  }

  it('that is not there, is a directory, or never ends is refused by name', () => {
    expect(refusal(join(directory, 'none.yaml'))).toContain('ENOENT');
    expect(refusal(directory)).toContain('EISDIR');
    expect(refusal('/dev/zero')).toContain('longer than the 1048576 bytes');
  });

  it('may be as long as allowed, start with a byte order mark, and must be UTF-8', () => {
    const file = join(directory, 'a.yaml');
    writeFileSync(file, `\ufefflog: {level: warn}\n${'#'.repeat(2 ** 20 - 25)}\n`);
    expect(refusal(file)).toBe('');
    writeFileSync(file, Buffer.from('log:\n  # f\u00fcr\n  level: info\n', 'latin1'));
    expect(refusal(file)).toContain(`${file}:2:6  not UTF-8 text`);
  });

  it('gives its values frozen, and finds the line of a key later', () => {
    const file = join(directory, 'b.yaml');
    writeFileSync(file, 'capture:\n  interface: eth1\n  bpf_filter: tcp prt 502\n');
    const config = loadConfig(forwarderSchema, file);
    expect(Object.isFrozen(config.value.capture)).toBe(true);
    const error = config.problem(['capture', 'bpf_filter'], 'syntax error', 'see pcap-filter(7)');
    expect(problemsOf(error)).toEqual([
      {
        file,
        line: 3,
        column: 15,
        key: 'capture.bpf_filter',
        message: 'syntax error',
        remedy: 'see pcap-filter(7)',
      },
    ]);
  });
});

describe('values', () => {
  it.each([
    ['64MiB', 67_108_864],
    ['1.5 GiB', 1_610_612_736],
    ['67108864', 67_108_864],
    ['"67108864B"', 67_108_864],
  ])('a size of %s is %i bytes', (text, bytes) => {
    const { value } = parseConfig(forwarderSchema, `capture: {interface: a, ring_size: ${text}}`, 'x');
    expect(value.capture.ring_size).toBe(bytes);
  });

  it.each(['64MB', '64 M', '-1', '1e400', '.nan', 'true', '[1]', '5GiB'])('%s is no size', (text) => {
    const found = problems(forwarderSchema, `capture: {interface: a, ring_size: ${text}}`);
    expect(found[0]).toMatch(/^1:36 capture\.ring_size: /);
  });

  it('interfaces is another spelling of interface, and not both', () => {
    const { value } = parseConfig(forwarderSchema, 'capture: {interfaces: [eth1, eth2]}', 'x');
    expect(value.capture.interface).toEqual(['eth1', 'eth2']);
    expect(problems(forwarderSchema, 'capture: {interface: a, interfaces: [b]}')).toEqual([
      '1:37 capture.interfaces: says the same as interface, which is there too: keep one of them',
    ]);
  });
});

describe("the forwarder's own tunnel", () => {
  it.each([
    ['tcp', 'tcp'],
    ['tcp-plain', 'tcp'],
    ['udp', 'udp'],
    ['udp-tunnel', 'udp'],
  ])('is left out of what %s captures', async (protocol, transport) => {
    const text = `capture: {interface: a, bpf_filter: arp}\nforward: {enable: true, host: 192.0.2.1, port: 7, protocol: ${protocol}, udp: {cipher: none}}`;
    const options = await captureOptions(parseConfig(forwarderSchema, text, 'x').value);
    expect(options.filter).toBe(`(arp) and not (${transport} port 7 and (host 192.0.2.1))`);
  });
});

describe('datagrams without a seal', () => {
  it.each([
    ['127.0.0.1', '', false],
    ['::1', '', false],
    ['10.0.0.1', '', true],
    ['0.0.0.0', '', true],
    ['10.0.0.1', 'udp: {allow_unauthenticated: true}', false],
    ['127.0.0.1', 'udp: {allow_unauthenticated: false}', true],
  ])('on %s with "%s" are refused: %s', (address, text, isRequired) => {
    const { value } = parseConfig(collectorSchema, `port: 1\nprotocol: udp\n${text}\n`, 'x');
    expect(isKeyRequired(value, address)).toBe(isRequired);
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
