/**
 * Link types, as in PCAP files and on the wire: LINKTYPE_ values of the tcpdump registry, never the DLT_ values of one
 * operating system (a DLT_RAW of 12 or 14 in a file header is a mistake that readers must not repeat).
 */
export const LINKTYPE_NULL = 0;
export const LINKTYPE_ETHERNET = 1;
export const LINKTYPE_PPP = 9;
export const LINKTYPE_RAW = 101;
export const LINKTYPE_C_HDLC = 104;
export const LINKTYPE_IEEE802_11 = 105;
export const LINKTYPE_LOOP = 108;
export const LINKTYPE_LINUX_SLL = 113;
export const LINKTYPE_PRISM = 119;
export const LINKTYPE_RADIOTAP = 127;
export const LINKTYPE_AVS = 163;
export const LINKTYPE_IPV4 = 228;
export const LINKTYPE_IPV6 = 229;
export const LINKTYPE_LINUX_SLL2 = 276;

const NAMES: ReadonlyMap<number, string> = new Map([
  [LINKTYPE_NULL, 'null'],
  [LINKTYPE_ETHERNET, 'ethernet'],
  [LINKTYPE_PPP, 'ppp'],
  [LINKTYPE_RAW, 'raw'],
  [LINKTYPE_C_HDLC, 'c-hdlc'],
  [LINKTYPE_LOOP, 'loop'],
  [LINKTYPE_LINUX_SLL, 'sll'],
  [LINKTYPE_IPV4, 'ipv4'],
  [LINKTYPE_IPV6, 'ipv6'],
  [LINKTYPE_LINUX_SLL2, 'sll2'],
]);

/** A short word for file names, logs and tables: `ethernet`, `sll2`, or `linktype147` where we know no name. */
export function linkTypeName(linkType: number): string {
  return NAMES.get(linkType) ?? `linktype${String(linkType)}`;
}
