/** The calls of the C library that `packet-socket.ts` needs, and nobody else may use. They return what C returns. */
import koffi from 'koffi';

export type Libc = ReturnType<typeof bindLibc>;

/** Binds in this thread: the foreign-function library does not share functions between threads. */
export function bindLibc() {
  // The process's own C library, whatever it is called.
  const libc = koffi.load(null);
  return {
    socket: libc.func('int socket(int, int, int)') as (
      family: number,
      type: number,
      protocol: number,
    ) => number,
    setsockopt: libc.func('int setsockopt(int, int, int, void *, uint32_t)') as (
      descriptor: number,
      level: number,
      option: number,
      value: Uint8Array | Uint32Array,
      byteLength: number,
    ) => number,
    setFilter: libc.func('setsockopt', 'int', [
      'int',
      'int',
      'int',
      koffi.pointer(koffi.struct({ len: 'uint16', filter: 'void *' })),
      'uint32',
    ]) as (
      descriptor: number,
      level: number,
      option: number,
      filter: { readonly len: number; readonly filter: Uint8Array },
      byteLength: number,
    ) => number,
    getsockopt: libc.func('int getsockopt(int, int, int, void *, void *)') as (
      descriptor: number,
      level: number,
      option: number,
      value: Uint8Array,
      byteLength: Uint32Array,
    ) => number,
    ioctl: libc.func('int ioctl(int, unsigned long, void *)') as (
      descriptor: number,
      request: number,
      value: Uint8Array,
    ) => number,
    if_nametoindex: libc.func('unsigned int if_nametoindex(str)') as (name: string) => number,
    bind: libc.func('int bind(int, void *, uint32_t)') as (
      descriptor: number,
      address: Uint8Array,
      byteLength: number,
    ) => number,
    poll: libc.func('int poll(void *, unsigned long, int)') as (
      set: Uint8Array,
      count: number,
      timeoutMs: number,
    ) => number,
    mmap: libc.func('void *mmap(void *, size_t, int, int, int, int64_t)') as (
      address: null,
      byteLength: number,
      protection: number,
      flags: number,
      descriptor: number,
      offset: number,
    ) => unknown,
    munmap: libc.func('int munmap(void *, size_t)') as (address: unknown, byteLength: number) => number,
    close: libc.func('int close(int)') as (descriptor: number) => number,
  };
}
