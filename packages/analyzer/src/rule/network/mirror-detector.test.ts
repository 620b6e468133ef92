/** A mirror that shows one direction only is told, and nothing that merely looks like one. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { tcp, type Packet } from '../../packet/frame-testing.ts';
import { connection, knock } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const rules = { one_sided_mirror: { flows: 10 } };

function halves(from: number, to: number, gapUs = SECOND): Packet[] {
  return Array.from({ length: to - from }, (_, i) => ({
    timeUs: (from + i) * gapUs,
    frame: tcp(`10.0.0.1:${5000 + from + i}`, '10.0.0.2:9999', 'PA', { payload: 9 }),
  }));
}

function wholes(from: number, to: number): Packet[] {
  return Array.from(
    { length: to - from },
    (_, i) =>
    connection(`10.0.0.1:${20_000 + from + i}`, '10.0.0.2:80', [['>', 'hello'], ['<', 'world']], (from + i) * SECOND), // prettier-ignore
  ).flat();
}

function isTold(packets: readonly Packet[]): boolean {
  return new Rig({ rules }).add(packets).finish().alert('one-sided-mirror') !== undefined;
}

it('ten conversations of one side are told; nine are not', () => {
  expect([isTold(halves(0, 9)), isTold(halves(0, 10))]).toEqual([false, true]);
});

it('both sides, or more than one in ten with both, are a sound mirror', () => {
  expect(isTold(wholes(0, 40))).toBe(false);
  // Of twenty conversations eighteen have one side: that is the least share that is told.
  expect(isTold([...wholes(0, 2), ...halves(2, 20)])).toBe(true);
  expect(isTold([...wholes(0, 3), ...halves(3, 20)])).toBe(false);
});

/** Ten connections that were opened long ago: a request a second, and perhaps its answer. */
function polls(from: number, to: number, isAnswered: boolean, isRepeated = false): Packet[] {
  return Array.from({ length: 10 * (to - from) }, (_, i) => {
    const [second, port] = [from + Math.floor(i / 10), 5000 + (i % 10)];
    const [client, server] = [`10.0.0.1:${port}`, '10.0.0.2:502'];
    const sequence = isRepeated ? 0 : 9 * second;
    const request = {
      timeUs: second * SECOND + port,
      frame: tcp(client, server, 'PA', { payload: 9, sequence }),
    };
    const answer = { timeUs: request.timeUs + 5, frame: tcp(server, client, 'PA', { payload: 9, sequence }) };
    return isAnswered ? [request, answer] : [request];
  })
    .flat()
    .sort((a, b) => a.timeUs - b.timeUs);
}

it('connections that never end are judged while they live', () => {
  const rig = new Rig({ rules }).add(polls(0, 13, false));
  expect(rig.alert('one-sided-mirror')).toMatchObject({ count: 1 });
  expect(rig.flows).toEqual([]);
});

it('a mirror that loses a direction is told within a quarter of an hour', () => {
  const rig = new Rig({ rules }).add(polls(0, 1000, true));
  expect(rig.alert('one-sided-mirror')).toBeUndefined();
  rig.add(polls(1000, 1900, false));
  expect(rig.alert('one-sided-mirror')).toBeDefined();
});

it('who died is sent the same again, and that is no fault of the mirror', () => {
  const rig = new Rig({ rules }).add(polls(0, 2, true)).add(polls(2, 1000, false, true));
  expect(rig.alert('one-sided-mirror')).toBeUndefined();
});

it('what the end of a capture cuts off has two sides when it was opened by two', () => {
  const cut = Array.from({ length: 30 }, (_, i) => {
    const [client, server, timeUs] = [`10.0.0.1:${5000 + i}`, '10.0.0.2:80', i * SECOND];
    return [
      { timeUs, frame: tcp(client, server, 'S') },
      { timeUs: timeUs + 10, frame: tcp(server, client, 'SA') },
      { timeUs: timeUs + 20, frame: tcp(client, server, 'PA', { payload: 9, sequence: 1 }) },
    ];
  }).flat();
  expect(isTold(cut)).toBe(false);
});

it('attempts that nobody answered, and answers without data, say nothing about the mirror', () => {
  const attempts = Array.from({ length: 30 }, (_, i) =>
    knock(`10.0.0.1:${5000 + i}`, '10.0.0.2:80', i * SECOND),
  );
  expect(isTold(attempts)).toBe(false);
});

it('it is the sensor’s fault: no host is blamed, and no flow is malicious for it', () => {
  const rig = new Rig({ rules }).add(halves(0, 12)).finish();
  expect(rig.alert('one-sided-mirror')).toMatchObject({ source: '', destination: '', port: -1, technique: '', flows: [] }); // prettier-ignore
  expect(rig.alert('one-sided-mirror')?.evidence).toContain('the switch mirrors one direction');
  expect(rig.flows.flatMap(({ alerts }) => alerts)).toEqual([]);
});

it('what is long ago is not counted', () => {
  const minute = { one_sided_mirror: { flows: 10, within: '60s' } };
  const rig = new Rig({ rules: minute, flows: { idleUs: 5 * SECOND } })
    .add(halves(0, 30, 20 * SECOND))
    .finish();
  expect(rig.alert('one-sided-mirror')).toBeUndefined();
});
