/**
 * Whether a certificate names the host that shows it, by the word of another: what a server is called that a client did not name. Tools of attackers make their
 * own: signed by themselves, for names that are none (`Quasar Server CA`), or for invented domains by the word of invented domains. An authority is called
 * otherwise than by a domain.
 *
 * The names are those that the reader of certificates tells: `O=Plant, CN=*.plant.example`. Nobody checks a signature here, and who pays for a domain gets
 * a certificate: this says what a host is called, not that it means well.
 */
const DOMAIN = /(?:^|, )CN=(?:\*\.)?(?:[a-z0-9_-]{1,63}\.){1,8}[a-z][a-z0-9-]{1,23}(?:,|$)/i;

export function namesItsHost(subject: string, issuer: string): boolean {
  return /=[^,\s]/.test(issuer) && subject !== issuer && DOMAIN.test(subject) && !DOMAIN.test(issuer);
}
