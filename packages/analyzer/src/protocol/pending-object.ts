/** What the last requests of a conversation were about, by the number their answers repeat: a few, whatever comes. */
import type { Memory } from './dissector.ts';

/** Clients of S7 and MMS have few requests under way at once. Prime to 256: some count in the high byte. */
const SLOTS = 3;

export function rememberObject(memory: Memory, id: number, object: string): void {
  if (Number.isNaN(id)) return;
  memory[`id${id % SLOTS}`] = id;
  memory[`object${id % SLOTS}`] = object;
}

/** What the request with this number was about, and forgets it; '' when that is not known. */
export function takeObject(memory: Memory, id: number): string {
  if (Number.isNaN(id) || memory[`id${id % SLOTS}`] !== id) return '';
  const object = memory[`object${id % SLOTS}`];
  delete memory[`id${id % SLOTS}`];
  delete memory[`object${id % SLOTS}`];
  return typeof object === 'string' ? object : '';
}
