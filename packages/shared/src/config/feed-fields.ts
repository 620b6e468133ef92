/** The key `pcap_over_ip`: live packets for Wireshark, Zeek, Arkime and whoever reads PCAP-over-IP. */
import { z } from 'zod';
import { wholeNumber } from './archive-fields.ts';
import { always, byteSize, duration, isLoopback, lacksTlsFile, path, tlsPaths } from './fields.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 86_400_000;
const FEEDS_MAX = 16;

/** `host:port`, `[::1]:port`. */
const endpoint = z
  .string()
  .transform((text, context) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]{1,253})):(\d{1,5})$/.exec(text);
    const port = Number(match?.[3]);
    if (match === null || port > 65_535) {
      context.issues.push({ code: 'custom', message: 'not an address with a port', input: text });
      return z.NEVER;
    }
    return { host: (match[1] ?? match[2]) as string, port };
  })
  .describe('write an address and a port, such as 127.0.0.1:57012');

/** `precision` is us: older readers take nanoseconds for microseconds. */
export function pcapOverIp(linkType: 'ethernet' | 'raw') {
  return z
    .array(
      z
        .strictObject({
          listen: endpoint.optional(),
          connect: endpoint.optional(),
          sensor: z.string().min(1).max(64).optional().describe('write the name of one sensor'),
          filter: z
            .string()
            .max(65_536)
            .nullable()
            .default(null)
            .describe('write a filter in libpcap’s language'),
          link_type: z.enum(['ethernet', 'raw']).default(linkType).describe('write ethernet or raw'),
          precision: z.enum(['ns', 'us']).default('us').describe('write ns or us'),
          from: duration(1000, 30 * DAY_MS).optional(),
          buffer_size: byteSize(64 * KIB, 1024 * MIB).default(16 * MIB),
          readers_max: wholeNumber(1, 1000).default(8),
          tls: z
            .strictObject({ ...tlsPaths, crl: path.optional() })
            .refine((tls) => !lacksTlsFile(tls), {
              path: ['bundle'],
              error: 'is missing, and so is one of ca, certificate and key',
            })
            .optional(),
          allow_plaintext: z.boolean().default(false).describe('write true or false'),
        })
        .refine(({ listen, connect }) => (listen === undefined) !== (connect === undefined), {
          path: ['listen'],
          error: 'and connect: exactly one of them is needed',
          when: always,
        })
        .refine(
          ({ listen, connect, tls, allow_plaintext }) => {
            const where = listen ?? connect;
            return where === undefined || allow_plaintext || tls !== undefined || isLoopback(where.host);
          },
          {
            path: ['tls'],
            error:
              'is missing, and the address is not of this machine: without it anybody on the way reads along (or write allow_plaintext: true)',
            when: always,
          },
        )
        .refine(({ connect, tls }) => connect === undefined || tls === undefined, {
          path: ['tls'],
          error: 'goes with listen: who is called speaks no TLS',
          when: always,
        }),
    )
    .max(FEEDS_MAX)
    .default([])
    .describe('write a list of {listen: …} and {connect: …}');
}

export type FeedKeys = z.infer<ReturnType<typeof pcapOverIp>>[number];
