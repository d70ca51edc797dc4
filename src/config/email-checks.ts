import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';

/** What a verified address may look like (identity/email.ts): ASCII, one `@`. No wildcard: addresses are compared whole. */
const address = /^[\x21-\x29\x2b-\x3f\x41-\x7e]+@[\x21-\x29\x2b-\x3f\x41-\x7e]+$/;

/** Lists of who somebody is by address. An entry that is none names nobody: where a rule is for those named, it would be for no one. */
export function checkEmails(judge: Judge, path: KeyPath, emails: readonly string[] | undefined): void {
  for (const [index, email] of (emails ?? []).entries()) {
    if (address.test(email)) continue;
    const at: KeyPath = [...path, index];
    if (/[^\p{ASCII}]/u.test(email))
      judge.refuse(
        at,
        `${quote(email)} names nobody: an address that is not all ASCII is never taken for verified`,
        'write the domain as xn--…, as the identity provider does, or name a group',
      );
    else
      judge.refuse(
        at,
        `expected an email address such as ada@example.com, found ${quote(email)}`,
        'write each address whole, or name a group',
      );
  }
}
