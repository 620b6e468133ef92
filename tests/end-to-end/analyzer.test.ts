/**
 * The analyzer as a daemon, held against one plain analysis of the same packets, over an archive, PCAP-over-IP and files; and what a person may do to it while
 * it runs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { recordsOf } from '@tapline/analyzer/src/packet/frame-testing.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { booksOf } from '../support/child.ts';
import {
  HEADER,
  Writer,
  alertsIn,
  analysed,
  cleanUp,
  countsOf,
  directory,
  packetsCounted,
  start,
  traffic,
  until,
} from './analyzer-testing.ts';

afterAll(cleanUp);

describe('the same packets', () => {
  it('live, tailed and read again are the same alerts with the same counts', async () => {
    const packets = traffic(30).map((packet) => ({ ...packet, sensor: 'probe' }));
    const archive = join(directory, 'same', 'archive');
    const writer = new Writer(archive, packets);
    // As one capture, of the same sensor.
    const whole = join(directory, 'same', 'whole', 'probe');
    mkdirSync(whole, { recursive: true });
    const stream = Buffer.concat([HEADER, recordsOf(packets)]);
    writeFileSync(join(whole, 'all_20260105_06.pcap'), stream);
    const reference = await analysed([join(directory, 'same', 'whole')]);
    const expected = countsOf(reference.analysis.alerts);
    expect(expected.length).toBeGreaterThan(3);

    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const run = async (name: string, input: string): Promise<string[]> => {
      const file = join(directory, `same-${name}.jsonl`);
      const program = start(`input: ${input}\nalerts_file: ${file}\nstatistics_interval: 1s\n`);
      if (name === 'tailed')
        for (let at = 1; !writer.isDone; at = at > 31 ? Infinity : at + 1) {
          writer.writeUntil(at);
          await sleep(20);
        }
      if (name !== 'files') {
        await until(`${name}: all packets`, () => Number(packetsCounted(program)) === packets.length);
        expect(await program.stop()).toBe(0);
      } else expect((await program.exited).code).toBe(0);
      expect(booksOf(program)['engine']?.['packets']).toBe(packets.length);
      return countsOf(alertsIn(file).values());
    };
    const [live, tailed] = await Promise.all([
      run('live', `{tcp: "127.0.0.1:${port}", sensor: probe}`),
      run('tailed', `{directory: ${archive}, poll_interval: 50ms, reorder_window: 12s}`),
    ]);
    server.close();
    const files = await run('files', `{files: [${archive}]}`);
    const again = countsOf((await analysed([archive])).analysis.alerts);
    expect({ live, tailed, files, again }).toEqual({
      live: expected,
      tailed: expected,
      files: expected,
      again: expected,
    });
  });
});

describe('a running analyzer', () => {
  it('takes changed rules at once and at SIGHUP, and keeps the old ones where the new have a mistake', async () => {
    const place = join(directory, 'rules');
    mkdirSync(place);
    const rules = join(place, 'rules.yaml');
    writeFileSync(rules, 'scan_vertical: {ports: 5}\n');
    const program = start(`input: {directory: ${place}, poll_interval: 50ms}\nrules: ${rules}\n`);
    await program.line('Started.');
    await sleep(20);
    writeFileSync(rules, 'scan_vertical:\n  prts: 5\n');
    const refused = await program.line('The new rules are not usable; the old ones stay in force.');
    expect(refused['problem']).toContain('rules.yaml:2:3');
    expect(refused['problem']).toContain('did you mean ports?');
    writeFileSync(rules, 'scan_vertical: {ports: 50}\n');
    await program.line('The rules were read again.');
    program.child.kill('SIGHUP');
    await program.line('Reloaded.');
    expect(await program.stop()).toBe(0);
    expect(booksOf(program)['rules']).toEqual({ reloaded: 1, refused: 1 });
  });

  it('with a damaged checkpoint begins anew, says what is read again, and counts each packet once', async () => {
    const packets = traffic(5);
    const writer = new Writer(join(directory, 'damaged'), packets);
    writer.writeUntil(Infinity);
    const state = join(directory, 'damaged-state');
    const text = `input: {directory: ${writer.directory}, poll_interval: 50ms, reorder_window: 100ms}\nstate_directory: ${state}\nstatistics_interval: 1s\n`;
    const first = start(text);
    await until('all packets', () => packetsCounted(first) === packets.length);
    const second = start(text);
    expect((await second.exited).code).not.toBe(0);
    expect(second.transcript()).toContain('another analyzer');
    expect(await first.stop()).toBe(0);
    const path = join(state, 'analyzer.checkpoint');
    const bytes = readFileSync(path);
    bytes[200] = (bytes[200] as number) ^ 1;
    writeFileSync(path, bytes);
    const third = start(text);
    const told = await third.line('The checkpoint is not usable; beginning anew.');
    expect(told['reason']).toContain('digest');
    expect(told['reread']).toContain(writer.directory);
    await until('all packets again', () => packetsCounted(third) === packets.length);
    expect(await third.stop()).toBe(0);
    expect(booksOf(third)['count']).toMatchObject({ packets: packets.length });
  });

  it('reads a capture from stdin to its end, and calls a server again that went away', async () => {
    const packets = traffic(5);
    const stream = Buffer.concat([HEADER, recordsOf(packets)]);
    const piped = start('input: {stdin: true, sensor: pipe}\n');
    piped.child.stdin?.end(stream);
    expect((await piped.exited).code).toBe(0);
    expect(booksOf(piped)['engine']?.['packets']).toBe(packets.length);
    expect(booksOf(piped)['sensors']).toMatchObject([{ sensor: 'pipe', packets: packets.length }]);
    let calls = 0;
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      if (++calls === 1) socket.end(stream);
      else socket.write(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const caller = start(`input: {tcp: "127.0.0.1:${port}"}\nstatistics_interval: 1s\n`);
    await until('both streams', () => packetsCounted(caller) === 2 * packets.length);
    expect(await caller.stop()).toBe(0);
    expect(booksOf(caller)['tail']).toMatchObject({ packets: 2 * packets.length, connections: 2 });
    server.close();
  });
});
