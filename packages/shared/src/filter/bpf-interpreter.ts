/**
 * A classic-BPF machine for frames in memory: what libpcap's `bpf_filter` does, without leaving JavaScript.
 *
 * It runs only what `compileOffline` made, but is total for any bytes: a jump behind the end, an unknown instruction, a
 * load behind the frame or a division by zero all mean "not wanted", and since jumps only lead forward (a backward one
 * needs k ≥ 2³¹ and leaves the program) it ends after at most as many steps as there are instructions.
 *
 * What must stay true: the same result as `bpf_filter` for every program that libpcap makes, over any frame. The tests
 * hold both side by side over captured traffic.
 *
 * Measured over an hour of plant and office traffic: 65 ns a packet for `tcp port 502`, 41 ns for `vlan 10 and tcp port 502`,
 * where a call of `bpf_filter` with the view of the frame that it wants costs 95 to 106 ns.
 */

/** Instruction classes and codes of <linux/filter.h> / <pcap/bpf.h>, complete for what libpcap emits. */
const LD_W_ABS = 0x20;
const LD_H_ABS = 0x28;
const LD_B_ABS = 0x30;
const LD_W_IND = 0x40;
const LD_H_IND = 0x48;
const LD_B_IND = 0x50;
const LD_W_LEN = 0x80;
const LDX_W_LEN = 0x81;
const LD_IMM = 0x00;
const LDX_IMM = 0x01;
const LD_MEM = 0x60;
const LDX_MEM = 0x61;
const LDX_B_MSH = 0xb1;
const ST = 0x02;
const STX = 0x03;
const ALU_ADD_K = 0x04;
const ALU_SUB_K = 0x14;
const ALU_MUL_K = 0x24;
const ALU_DIV_K = 0x34;
const ALU_OR_K = 0x44;
const ALU_AND_K = 0x54;
const ALU_LSH_K = 0x64;
const ALU_RSH_K = 0x74;
const ALU_NEG = 0x84;
const ALU_MOD_K = 0x94;
const ALU_XOR_K = 0xa4;
/** Set in an ALU or jump code: the operand is X, not k. */
const OPERAND_X = 0x08;
const JMP_JA = 0x05;
const JMP_JEQ_K = 0x15;
const JMP_JGT_K = 0x25;
const JMP_JGE_K = 0x35;
const JMP_JSET_K = 0x45;
const RET_K = 0x06;
const RET_A = 0x16;
const MISC_TAX = 0x07;
const MISC_TXA = 0x87;

/** BPF_MEMWORDS. */
const MEMORY_WORDS = 16;
const INSTRUCTION_BYTES = 8;

export class BpfInterpreter {
  readonly #codes: Uint16Array;
  readonly #operands: Uint32Array;
  readonly #jumpsTrue: Uint8Array;
  readonly #jumpsFalse: Uint8Array;
  readonly #memory = new Uint32Array(MEMORY_WORDS);

  /** `program` as `libpcap.ts` describes it. */
  constructor(program: Uint8Array) {
    const count = Math.floor(program.byteLength / INSTRUCTION_BYTES);
    const words = new Uint8Array(program).buffer;
    const halves = new Uint16Array(words, 0, count * 4);
    const longs = new Uint32Array(words, 0, count * 2);
    this.#codes = Uint16Array.from({ length: count }, (_, at) => halves[at * 4] as number);
    this.#operands = Uint32Array.from({ length: count }, (_, at) => longs[at * 2 + 1] as number);
    this.#jumpsTrue = Uint8Array.from({ length: count }, (_, at) => program[at * 8 + 2] as number);
    this.#jumpsFalse = Uint8Array.from({ length: count }, (_, at) => program[at * 8 + 3] as number);
  }

  /**
   * How many bytes of the frame at `bytes[offset, offset + capturedBytes)` to keep; 0: it does not match. The number may
   * exceed the frame.
   */
  run(bytes: Uint8Array, offset: number, capturedBytes: number, originalBytes: number): number {
    const codes = this.#codes;
    const operands = this.#operands;
    const jumpsTrue = this.#jumpsTrue;
    const jumpsFalse = this.#jumpsFalse;
    const memory = this.#memory;
    const end = offset + capturedBytes;
    const count = codes.length;
    // Both registers are unsigned 32-bit at every turn of the loop.
    let a = 0;
    let x = 0;
    for (let pc = 0; pc < count; pc++) {
      const k = operands[pc] as number;
      const code = codes[pc] as number;
      switch (code) {
        case LD_H_ABS:
        case LD_H_IND: {
          const at = offset + k + (code === LD_H_IND ? x : 0);
          if (at + 2 > end) return 0;
          a = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
          continue;
        }
        case JMP_JEQ_K:
          pc += (a === k ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case LD_B_ABS:
        case LD_B_IND: {
          const at = offset + k + (code === LD_B_IND ? x : 0);
          if (at >= end) return 0;
          a = bytes[at] as number;
          continue;
        }
        case LD_W_ABS:
        case LD_W_IND: {
          const at = offset + k + (code === LD_W_IND ? x : 0);
          if (at + 4 > end) return 0;
          a =
            (((bytes[at] as number) << 24) |
              ((bytes[at + 1] as number) << 16) |
              ((bytes[at + 2] as number) << 8) |
              (bytes[at + 3] as number)) >>>
            0;
          continue;
        }
        case LDX_B_MSH:
          if (offset + k >= end) return 0;
          x = ((bytes[offset + k] as number) & 0x0f) << 2;
          continue;
        case JMP_JSET_K:
          pc += ((a & k) !== 0 ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JGT_K:
          pc += (a > k ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JGE_K:
          pc += (a >= k ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JA:
          pc += k;
          continue;
        case RET_K:
          return k;
        case RET_A:
          return a;
        case LD_IMM:
          a = k;
          continue;
        case LDX_IMM:
          x = k;
          continue;
        case LD_W_LEN:
          a = originalBytes;
          continue;
        case LDX_W_LEN:
          x = originalBytes;
          continue;
        case LD_MEM:
          a = memory[k % MEMORY_WORDS] as number;
          continue;
        case LDX_MEM:
          x = memory[k % MEMORY_WORDS] as number;
          continue;
        case ST:
          memory[k % MEMORY_WORDS] = a;
          continue;
        case STX:
          memory[k % MEMORY_WORDS] = x;
          continue;
        case MISC_TAX:
          x = a;
          continue;
        case MISC_TXA:
          a = x;
          continue;
        case JMP_JEQ_K | OPERAND_X:
          pc += (a === x ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JGT_K | OPERAND_X:
          pc += (a > x ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JGE_K | OPERAND_X:
          pc += (a >= x ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case JMP_JSET_K | OPERAND_X:
          pc += ((a & x) !== 0 ? jumpsTrue[pc] : jumpsFalse[pc]) as number;
          continue;
        case ALU_NEG:
          a = -a >>> 0;
          continue;
        default: {
          const operation = code & ~OPERAND_X;
          const operand = (code & OPERAND_X) !== 0 ? x : k;
          if (operand === 0 && (operation === ALU_DIV_K || operation === ALU_MOD_K)) return 0;
          const result = calculate(operation, a, operand);
          if (result < 0) return 0;
          a = result;
        }
      }
    }
    return 0;
  }
}

/** One arithmetic step on unsigned 32-bit values; -1 for an operation that does not exist. `operand` is not 0 in a division. */
function calculate(operation: number, a: number, operand: number): number {
  switch (operation) {
    case ALU_ADD_K:
      return (a + operand) >>> 0;
    case ALU_SUB_K:
      return (a - operand) >>> 0;
    case ALU_MUL_K:
      return Math.imul(a, operand) >>> 0;
    case ALU_DIV_K:
      return Math.floor(a / operand);
    case ALU_MOD_K:
      return a % operand;
    case ALU_AND_K:
      return (a & operand) >>> 0;
    case ALU_OR_K:
      return (a | operand) >>> 0;
    case ALU_XOR_K:
      return (a ^ operand) >>> 0;
    case ALU_LSH_K:
      return operand < 32 ? (a << operand) >>> 0 : 0;
    case ALU_RSH_K:
      return operand < 32 ? a >>> operand : 0;
    default:
      return -1;
  }
}
