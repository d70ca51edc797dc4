import { hasControlCharacter } from './characters.ts';
import { foldUsername } from './username-rules.ts';

/** What may belong to one subject for good: the upstream knows its users by these. */
export type BindingKind = 'username' | 'email';

/** One user of one identity provider (OpenID Connect Core section 2: `sub` is unique within `iss`, and never reassigned). */
export interface Subject {
  readonly issuer: string;
  readonly subject: string;
}

/** One upstream user name, or one email address, and the one subject that it belongs to. */
export interface Binding extends Subject {
  readonly kind: BindingKind;
  /** As it was written when it was bound; compared by {@link foldBound}. */
  readonly value: string;
  /** The source that it was bound through; for people to read: what counts is the issuer. */
  readonly source: string;
  /** Seconds since the epoch. */
  readonly since: number;
  /** `operator`: by `sallyport users`. A reserved name lets nobody in on any other grant. */
  readonly grantedBy: 'sign_in' | 'operator';
  /** Of an email: the user name that it came with, as written. Who moves or releases that name, moves or releases it too. */
  readonly username: string | undefined;
}

/** How user names and email addresses are compared: the forges lower-case both (`strings.ToLower`), and {@link foldUsername} does more. */
export function foldBound(value: string): string {
  return foldUsername(value);
}

/** Whether two are the same user of the same identity provider: issuers and subjects are compared exactly. */
export function isSameSubject(one: Subject, other: Subject): boolean {
  return one.issuer === other.issuer && one.subject === other.subject;
}

/** OpenID Connect Core section 2: at most 255 ASCII characters; nothing that could break a line. */
export function isSubjectIdentifier(text: string): boolean {
  return text !== '' && text.length <= 255 && !hasControlCharacter(text);
}

/** The record as it is sealed. */
export function encodeBinding(binding: Binding): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, ...binding }));
}

/** The record that was sealed; undefined when another version of Sallyport wrote another shape. */
export function decodeBinding(plaintext: Buffer): Binding | undefined {
  // Sealed by us, so it parses.
  const { version, ...rest } = JSON.parse(plaintext.toString('utf8')) as Partial<Binding> & {
    version?: unknown;
  };
  return version === 1 ? { ...(rest as Binding), username: rest.username } : undefined;
}
