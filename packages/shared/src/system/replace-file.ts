/** Small files that are replaced as a whole: whoever reads one sees the old text or the new, never half of either. */
import type { Files } from './files.ts';

/** Writes beside and renames over. Survives a kill; a power failure may bring the old text back. Throws what the disk throws. */
export function replaceFile(files: Files, path: string, text: string): void {
  const hidden = `${path}.new`;
  if (files.exists(hidden)) files.remove(hidden);
  const descriptor = files.create(hidden);
  try {
    const bytes = Buffer.from(text);
    for (let offset = 0; offset < bytes.byteLength;)
      offset += files.write(descriptor, bytes, offset, bytes.byteLength - offset, offset);
  } finally {
    files.close(descriptor);
  }
  files.rename(hidden, path);
}

/** The text of a small file; null when there is none. Throws when it is longer than `bytesMax`. */
export function readSmallFile(files: Files, path: string, bytesMax: number): string | null {
  if (files.status(path) === null) return null;
  const descriptor = files.open(path);
  try {
    const byteCount = files.byteLength(descriptor);
    if (byteCount > bytesMax) throw new Error(`${path} is ${String(byteCount)} bytes long`);
    const bytes = Buffer.alloc(byteCount);
    let offset = 0;
    while (offset < byteCount) {
      const read = files.read(descriptor, bytes, offset, byteCount - offset, offset);
      if (read === 0) break;
      offset += read;
    }
    return bytes.toString('utf8', 0, offset);
  } finally {
    files.close(descriptor);
  }
}
