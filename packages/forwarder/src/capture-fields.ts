/** What the `capture` section of a configuration says: the driver, its interfaces or files, and what of each frame is kept. */
import { always, byteSize, path } from '@tapline/shared/config/fields.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { z } from 'zod';

const MIB = 2 ** 20;
/** IFNAMSIZ - 1. */
const interfaceName = z.string().min(1).max(15);

/** Longest frame to keep, or to send. */
export const snaplen = z
  .number()
  .int()
  .min(64)
  .max(PACKET_BYTES_MAX)
  .default(PACKET_BYTES_MAX)
  .describe(`write a number of bytes from 64 to ${PACKET_BYTES_MAX}`);

export const capture = z
  .strictObject({
    driver: z
      .enum(['afpacket', 'cap', 'file', 'stdin'])
      .default('afpacket')
      .describe('write afpacket, cap, file or stdin'),
    interface: z
      .union([interfaceName, z.array(interfaceName).min(1).max(16)])
      .optional()
      .describe(
        'write the name of an interface, such as eth1, or a list of up to 16 (`ip -br link` lists them)',
      ),
    interfaces: z
      .array(interfaceName)
      .min(1)
      .max(16)
      .optional()
      .describe('write a list of up to 16 names, such as [eth1, eth2]; it is another spelling of interface'),
    bpf_filter: z
      .string()
      .max(65_536)
      .nullish()
      .describe('write a filter in libpcap’s language, such as tcp port 502'),
    snaplen,
    promiscuous: z.boolean().default(true).describe('write true or false'),
    ring_size: byteSize(MIB, 4096 * MIB).default(64 * MIB),
    files: z.array(path).min(1).max(10_000).optional().describe('write a list of capture files'),
    speed: z
      .union([z.enum(['max', 'recorded']), z.number().positive().max(1_000_000)])
      .default('max')
      .describe('write max, recorded, or a factor such as 10'),
  })
  .refine(
    ({ driver, interface: name, interfaces }) =>
      (driver !== 'afpacket' && driver !== 'cap') || name !== undefined || interfaces !== undefined,
    {
      path: ['interface'],
      error: 'is missing',
      when: always,
    },
  )
  .refine(({ interface: name, interfaces }) => name === undefined || interfaces === undefined, {
    path: ['interfaces'],
    error: 'says the same as interface, which is there too: keep one of them',
    when: always,
  })
  .refine(({ driver, files }) => driver !== 'file' || files !== undefined, {
    path: ['files'],
    error: 'is missing: driver is file',
    when: always,
  })
  .refine(({ driver, files }) => driver === 'file' || files === undefined, {
    path: ['files'],
    error: 'goes with driver: file, and driver is another',
    when: always,
  })
  .transform(({ interfaces, ...rest }) =>
    interfaces === undefined ? rest : { ...rest, interface: interfaces },
  );
