import type { AmrRule } from './types.ts';

/**
 * The wide list of the seeds, exactly these 18: each value alone is taken for MFA. Known to be too wide (Authelia's password-only
 * sign-in carries `kba`), hence the `weak` mark on what {@link strictEvidence} would not have accepted.
 *
 * The order matters in one way: the first that a token carries is put on record, so the plainest statement, `mfa`, leads.
 */
export const standardAmrValues: readonly string[] = [
  'mfa',
  'otp',
  'hwk',
  'fido',
  'sms',
  'tel',
  'mca',
  'sc',
  'otpasswd',
  'swk',
  'user',
  'wia',
  'pop',
  'eye',
  'iris',
  'face',
  'fpt',
  'kba',
];

/** What a factor is: something known, something held, something one is. */
export type FactorKind = 'knowledge' | 'possession' | 'inherence';

/**
 * The factor kind that an `amr` value names. `user geo rba wia mca` name none: presence, context and channels are no factors.
 * `mfa` names none either; it says "several" by itself.
 * @see RFC 8176 section 2
 */
export const factorKinds: ReadonlyMap<string, FactorKind> = new Map<string, FactorKind>([
  ...['pwd', 'pin', 'kba', 'password'].map((value) => [value, 'knowledge'] as const),
  ...['otp', 'sms', 'tel', 'hwk', 'swk', 'sc', 'pop', 'fido', 'totp', 'webauthn'].map(
    (value) => [value, 'possession'] as const,
  ),
  ...['face', 'fpt', 'iris', 'retina', 'vbm', 'eye'].map((value) => [value, 'inherence'] as const),
]);

/** What in `values` is evidence of MFA under `strict`: `mfa`, or the first two values of different factor kinds; undefined when nothing is. */
export function strictEvidence(values: readonly string[]): string | readonly string[] | undefined {
  if (values.includes('mfa')) return 'mfa';
  let first: { value: string; kind: FactorKind } | undefined;
  for (const value of values) {
    const kind = factorKinds.get(value);
    if (kind === undefined) continue;
    if (first === undefined) first = { value, kind };
    else if (kind !== first.kind) return [first.value, value];
  }
  return undefined;
}

/**
 * What in `values` is evidence of MFA under `rule`, compared exactly: the accepted value, or the combination; undefined when nothing is.
 * An empty combination is met by nobody (an "all of nothing" that is true would admit everyone).
 */
export function findAmrEvidence(
  values: readonly string[],
  rule: AmrRule,
): string | readonly string[] | undefined {
  if (rule === 'strict') return strictEvidence(values);
  const accepted = rule === 'standard' ? standardAmrValues : rule;
  for (const entry of accepted) {
    if (typeof entry === 'string') {
      if (entry !== '' && values.includes(entry)) return entry;
    } else if (entry.length > 0 && entry.every((value) => value !== '' && values.includes(value))) {
      return entry.length === 1 ? entry[0] : entry;
    }
  }
  return undefined;
}
