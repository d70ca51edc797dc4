import type { Source } from '../generation.ts';

/**
 * The source that a token says it comes from; nothing is believed yet. Of several sources of one issuer, whose rules may differ, it is
 * the one whose client got the token; when that cannot be told, none: `ambiguous`.
 */
export function sourceOfToken(
  token: string,
  sources: ReadonlyMap<string, Source>,
): Source | 'ambiguous' | undefined {
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    claims = undefined;
  }
  const { iss, azp, client_id: clientId } = isObject(claims) ? claims : {};
  const candidates = [...sources.values()].filter(({ config }) => config.issuer === iss);
  if (candidates.length < 2) return candidates[0] ?? soleSource(claims, sources);
  const named = candidates.filter(({ config }) => config.client_id === (clientId ?? azp));
  return named.length === 1 ? named[0] : 'ambiguous';
}

/** What is no JWT at all names no issuer: with one source, it can at least be told so in so many words. */
function soleSource(claims: unknown, sources: ReadonlyMap<string, Source>): Source | undefined {
  return isObject(claims) ? undefined : sources.values().next().value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
