/** Mistakes in configurations as people make them: each at its place, all at once, with a remedy. */
import { analyzerSchema } from '@tapline/analyzer/src/config.ts';
import { collectorSchema } from '@tapline/collector/src/config.ts';
import { forwarderSchema } from '@tapline/forwarder/src/config.ts';
import { parseConfig } from '@tapline/shared/config/load.ts';
import { editDistance, suggest } from '@tapline/shared/config/suggest.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SCHEMAS, problems } from './support/config-problems.ts';

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

describe('suggestions', () => {
  it('name the nearest known word, and none when nothing is near', () => {
    expect(suggest('interfce', ['driver', 'interface'])).toBe('interface');
    expect(suggest('zzz', ['driver', 'interface'])).toBeNull();
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });
});
