/**
 * Configurations as people write them: every mistake at its place, the examples complete, SecureOT's files unchanged.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { analyzerSchema } from '@tapline/analyzer/src/config.ts';
import { rulesSchema } from '@tapline/analyzer/src/rule/rule-file.ts';
import { bindAddress, collectorSchema, isKeyRequired } from '@tapline/collector/src/config.ts';
import { captureOptions } from '@tapline/forwarder/src/capture-options.ts';
import { forwarderSchema } from '@tapline/forwarder/src/config.ts';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { loadConfig, parseConfig } from '@tapline/shared/config/load.ts';
import { problemsOf } from '@tapline/shared/config/problem.ts';
import { editDistance, suggest } from '@tapline/shared/config/suggest.ts';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
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
      '13:13 forward.protocol: invalid option: expected one of "tcp"|"udp"|"udp-tunnel"|"udp-plain"|"tcp-plain"',
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

  it('of the one-way tunnel are told: no key, no section, keys of the other protocols', () => {
    const base = 'capture: {driver: stdin}\nforward: {enable: true, host: a, port: 1, protocol: udp-tunnel';
    expect(problems(forwarderSchema, `${base}}\n`)).toEqual([
      '2:10 forward.udp: is missing: protocol is udp-tunnel',
    ]);
    expect(problems(forwarderSchema, `${base}, udp: {data: 128, parity: 64}}\n`)).toEqual([
      '2:70 forward.udp.key_file: is missing; to send without encryption, write cipher: none',
      '2:70 forward.udp.key_id: is missing: the collector must know which of its keys this is',
      '2:90 forward.udp.parity: is too much: data and parity together are at most 160',
    ]);
    expect(problems(forwarderSchema, `${base}, max_rate: 2Mbit/s, udp: {cipher: none}}\n`)).toEqual([]);
    expect(
      problems(forwarderSchema, `${base}, priority: [arp], udp: {key_id: 1, key_file: k}}\n`),
    ).toHaveLength(1);
    const twice = 'udp: {keys: [{id: 1, sensor: a, key_file: k}, {id: 1, sensor: b, key_file: k}]}';
    expect(problems(collectorSchema, `port: 1\nprotocol: udp\n${twice}\n`)).toEqual([
      '3:13 udp.keys: two keys have the same id',
    ]);
  });

  it('of YAML itself are told with their place', () => {
    expect(problems(analyzerSchema, 'input: [1\nlog: {}\n')[0]).toMatch(/^2:1 /);
    expect(problems(analyzerSchema, 'log:\n\tlevel: info\n')[0]).toMatch(/^2:1 : tabs/);
    expect(problems(analyzerSchema, 'log: {}\n---\nlog: {}\n')).toEqual([
      '2:1 : a second document begins here',
    ]);
    expect(problems(analyzerSchema, '['.repeat(100_000))[0]).toMatch(/: is nested too deeply$/);
  });

  it('that are keys written twice do not hide the others', () => {
    const text = 'log: {level: loud, level: info}\ninput: {}\nlog: {levl: x}\nstatistics_interval: ~\n';
    expect(problems(analyzerSchema, text)).toEqual([
      '1:14 log.level: invalid option: expected one of "debug"|"info"|"warn"|"error"',
      '1:20 log.level: is written twice',
      '3:1 log: is written twice',
      '4:22 statistics_interval: has no value',
    ]);
  });

  it('between keys are told also where a third key is wrong', () => {
    expect(
      problems(forwarderSchema, 'sensor: 1\ncapture: {driver: stdin}\narchive: {enable: false}\n'),
    ).toEqual([
      '1:9 sensor: invalid input: expected string, received number',
      '3:19 archive.enable: nothing is stored and nothing forwarded: packets would go nowhere',
    ]);
    const text = 'port: x\nprotocol: tcp\nlimits: {uncommitted_size: 17MiB}\n';
    // The key that is too small is not in the file: told at its beginning.
    expect(problems(collectorSchema, text).map((line) => line.replace(/: .*/, ''))).toEqual([
      '1:1 archive.buffer_size',
      '1:7 port',
    ]);
  });

  it('may come in masses: 120,000 unknown keys are 100 mistakes, soon', () => {
    const text = Array.from({ length: 120_000 }, (_, index) => `k${index}: 1`).join('\n');
    // With every key compared to every other, this took minutes.
    expect(problems(analyzerSchema, text)).toHaveLength(100);
  });

  it('show nothing that a terminal obeys', () => {
    try {
      parseConfig(analyzerSchema, '"\\e[2Jboo": 1\nlog: "\u009b2J"\n', 'x.yaml');
      expect.unreachable();
    } catch (error) {
      expect((error as Error).message.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    }
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
