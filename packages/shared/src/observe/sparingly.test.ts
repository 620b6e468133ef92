import { expect, it } from 'vitest';
import { Sparingly } from './sparingly.ts';

it('lets ten lines of a kind through a minute, and says how many it left out', () => {
  let nowMs = 0;
  const said: string[] = [];
  const sparingly = new Sparingly(() => nowMs);
  const tell = (kind: string): void => {
    sparingly.tell(kind, (leftOut) => said.push(`${kind} ${leftOut}`));
  };
  for (let i = 0; i < 1000; i++) tell('a');
  tell('b');
  expect(said).toEqual([...Array.from({ length: 10 }, () => 'a 0'), 'b 0']);
  nowMs = 60_000;
  tell('a');
  tell('a');
  expect(said.slice(-2)).toEqual(['a 990', 'a 0']);
});
