/**
 * Short lists of text in a conversation's memory, which holds no lists of strings: `key TAB value LF`, the oldest entry leaves
 * first. For what a later message refers to by number only: file handles, presentation contexts, requests waiting for an answer.
 */
import type { Memory } from './dissector.ts';

const VALUE_CHARACTERS_MAX = 48;

export function remember(memory: Memory, list: string, key: string, value: string, entriesMax = 8): void {
  forget(memory, list, key);
  let kept = `${listOf(memory, list)}${key}\t${value.slice(0, VALUE_CHARACTERS_MAX)}\n`;
  let entries = 0;
  for (let i = 0; i < kept.length; i++) if (kept.charCodeAt(i) === 10) entries++;
  if (entries > entriesMax) kept = kept.slice(kept.indexOf('\n') + 1);
  memory[list] = kept;
}

/** '' where it is not known. */
export function recall(memory: Memory, list: string, key: string): string {
  const kept = listOf(memory, list);
  const begin = find(kept, key);
  if (begin < 0) return '';
  return kept.slice(begin + key.length + 1, kept.indexOf('\n', begin));
}

export function forget(memory: Memory, list: string, key: string): void {
  const kept = listOf(memory, list);
  const begin = find(kept, key);
  if (begin >= 0) memory[list] = kept.slice(0, begin) + kept.slice(kept.indexOf('\n', begin) + 1);
}

function listOf(memory: Memory, list: string): string {
  const kept = memory[list];
  return typeof kept === 'string' ? kept : '';
}

function find(kept: string, key: string): number {
  if (kept.startsWith(`${key}\t`)) return 0;
  const begin = kept.indexOf(`\n${key}\t`);
  return begin < 0 ? -1 : begin + 1;
}
