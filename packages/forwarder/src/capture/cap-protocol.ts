/**
 * What the portable driver's child process (`cap-child.ts`) and its parent (`cap-source.ts`) say to each other. Orders
 * and answers go as IPC messages, packets through a pipe of their own (descriptor 3 of the child), as batches:
 *
 *   offset  size  field
 *        0     4  byteLength       of the records that follow, little-endian like all of these
 *        4     4  packetCount
 *        8     4  droppedPackets   since the child's start: packets it had no room for in the pipe (wraps at 2³²)
 *       12     n  records          as in `record.ts`
 */
import type { ErrorCode } from '@tapline/shared/base/errors.ts';

export const CAP_HEADER_BYTES = 12;
/** The child's descriptor that the batches go out of. */
export const CAP_PIPE = 3;

export interface CapChildOptions {
  readonly interfaceName: string;
  readonly filter: string;
  readonly snapBytes: number;
  readonly bufferBytes: number;
}

export type FromCapChild =
  | { readonly kind: 'opened'; readonly linkType: number }
  | {
      readonly kind: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: Readonly<Record<string, unknown>>;
    };

export type ToCapChild = { readonly kind: 'drain' };
