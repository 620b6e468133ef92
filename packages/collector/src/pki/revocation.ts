/** Which certificates the authority has taken back. */
import type { TlsFiles } from '@tapline/shared/system/tls-files.ts';

/** Serial numbers, of the list beside the authority's certificate. The library that reads it is large, and most collectors start without one. */
export async function revokedSerials({ crl }: TlsFiles): Promise<ReadonlySet<string>> {
  if (crl === null) return new Set();
  const { revokedSerials: serialsOf } = await import('./certificates.ts');
  return serialsOf(crl);
}
