/**
 * The kernel's packet ring, TPACKET_V3 (<linux/if_packet.h>, Documentation/networking/packet_mmap.rst), as tables.
 * Everything in it is in the byte order of the machine; Tapline runs on little-endian ones (x86-64, arm64), where all of
 * this is the same, and reads it through a Uint32Array: all offsets below are multiples of 4 but for the u16 fields.
 *
 * The ring is an array of blocks. The kernel fills one with packets and hands it over (TP_STATUS_USER) when it is full
 * or its retire timeout has passed; we hand it back with TP_STATUS_KERNEL.
 *
 *   block (tpacket_block_desc)                 packet (tpacket3_hdr), on a multiple of 16
 *   offset size field                          offset size field
 *        0    4 version                             0    4 offset of the next packet from this one
 *        4    4 offset of private data              4    4 seconds since 1970 UTC
 *        8    4 status                              8    4 nanoseconds
 *       12    4 number of packets                  12    4 bytes captured (after the filter's cut)
 *       16    4 offset of the first packet         16    4 bytes on the wire, without a stripped VLAN tag
 *       20    4 bytes in use                       20    4 status bits
 *       24    8 sequence number                    24    2 offset of the link-layer header from this one
 *       32   16 time of first and last packet      26    2 offset of the network header from this one
 *                                                  28    4 receive hash
 *                                                  32    4 VLAN tag control information (u16 in a u32)
 *                                                  36    2 VLAN protocol (TPID), machine order
 *                                                  38   10 padding
 */
export const BLOCK_STATUS = 8;
export const BLOCK_PACKET_COUNT = 12;
export const BLOCK_FIRST_PACKET = 16;
export const BLOCK_BYTES = 20;

export const PACKET_NEXT = 0;
export const PACKET_SECONDS = 4;
export const PACKET_NANOSECONDS = 8;
export const PACKET_CAPTURED_BYTES = 12;
export const PACKET_ORIGINAL_BYTES = 16;
export const PACKET_STATUS = 20;
/** u16 pair: low half the link-layer offset, high half the network offset. */
export const PACKET_OFFSETS = 24;
export const PACKET_VLAN_TCI = 32;
/** u16 pair: low half the TPID. */
export const PACKET_VLAN_TPID = 36;

export const TP_STATUS_KERNEL = 0;
export const TP_STATUS_USER = 1;
export const TP_STATUS_VLAN_VALID = 0x10;
export const TP_STATUS_VLAN_TPID_VALID = 0x40;

/** IEEE 802.1Q: what a tag is when a kernel before 3.14 does not say. */
export const TPID_8021Q = 0x8100;
export const VLAN_TAG_BYTES = 4;
/** Two MAC addresses: where in an Ethernet frame the outer tag stands. */
export const VLAN_TAG_OFFSET = 12;

/**
 * Why 256 KiB: one block must hold the largest packet we keep (a 64 KiB receive offload, say), and a block is given up
 * after its retire timeout however little is in it. Were our thread to stall, 256 blocks of 40 ms would still be ten
 * seconds of a quiet network; 64 blocks of 1 MiB would be two and a half.
 */
export const RING_BLOCK_BYTES = 256 * 1024;
export const RING_BYTES_DEFAULT = 64 * 1024 * 1024;
/** Fewer than two blocks cannot be filled and read at the same time. */
export const RING_BYTES_MIN = 2 * RING_BLOCK_BYTES;
/** After this long a block with at least one packet is ours; with BATCH_LINGER_MS the bound on a quiet network's latency. */
export const RING_RETIRE_MS = 40;
