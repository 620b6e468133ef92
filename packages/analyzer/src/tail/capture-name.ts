/** Names of files that hold captures, whoever wrote them. */

const CAPTURE_NAME = /\.(pcap|pcapng|cap|ntar|dmp)(\.(gz|zst|lz4))?$/i;

/** Whether a file of this name is read; hidden ones are still being written. */
export function isCaptureName(name: string): boolean {
  return !name.startsWith('.') && CAPTURE_NAME.test(name);
}
