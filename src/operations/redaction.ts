/** What stands where a secret was. */
export const redacted = '[redacted]';

/** Field names whose values are never shown, compared without case, `_` and `-`. */
const secretNames: ReadonlySet<string> = new Set([
  'authorization',
  'proxyauthorization',
  'cookie',
  'cookies',
  'setcookie',
  'cookievalue',
  'password',
  'passwd',
  'secret',
  'secrets',
  'clientsecret',
  'sessionsecret',
  'token',
  'tokens',
  'accesstoken',
  'idtoken',
  'idtokenhint',
  'refreshtoken',
  'clientassertion',
  'assertion',
  'jwt',
  'code',
  'codeverifier',
  'state',
  'nonce',
  'privatekey',
  'jwk',
  'xsallyportassertion',
  'xforwardedaccesstoken',
]);

/** `code` and `state` are also what errors and dependencies call their condition: hidden only where they look like one of ours. */
const ambiguous: ReadonlySet<string> = new Set(['code', 'state']);
const plainWord = /^[A-Za-z][A-Za-z0-9_.]{0,47}$/;
const maxDepth = 6;

/** A copy of a log record in which no field of a telling name keeps its value; errors become ECS's `error.*` fields. */
export function redactFields(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '…';
  if (value instanceof Error) return describeError(value, depth);
  if ('toJSON' in value && typeof value.toJSON === 'function') return (value.toJSON as () => unknown)();
  if (Array.isArray(value)) return value.map((item) => redactFields(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      isSecret(key, item) ? redacted : redactFields(item, depth + 1),
    ]),
  );
}

function isSecret(key: string, value: unknown): boolean {
  const name = key.toLowerCase().replace(/[-_]/g, '');
  if (!secretNames.has(name) || value === undefined || value === null) return false;
  if (typeof value === 'number' || typeof value === 'boolean') return false;
  return !(ambiguous.has(name) && typeof value === 'string' && plainWord.test(value));
}

/** An error in ECS's names, its causes with it: for the log alone. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { code, detail } = error as Error & { code?: unknown; detail?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof detail === 'string' ? { detail } : {}),
    stack_trace: error.stack,
    ...(error.cause === undefined || depth >= maxDepth
      ? {}
      : { cause: describeError(error.cause, depth + 1) }),
  };
}

/** Parameters as they stand in query strings and form bodies, in messages of libraries that quote what they sent. */
const parameters =
  /\b(code|state|nonce|access_token|id_token|id_token_hint|refresh_token|client_secret|client_assertion|code_verifier|logout_token|password|token)=[^&\s"'\\<>]+/gi;
// Bounded where they could otherwise begin anywhere: a long text must not cost its square.
const jwts = /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*/g;
const credentialsInUrls = /((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}:\/\/)[^/@\s"'\\]{1,1024}@/gi;
const authorizations = /\b(Basic|Bearer|DPoP)\s+[A-Za-z0-9._~+/=-]{8,}/g;

/** A text without what looks like a token, a credential or one of our own query strings. Keeps JSON what is JSON. */
export function redactText(text: string): string {
  return text
    .replace(parameters, `$1=${redacted}`)
    .replace(jwts, redacted)
    .replace(credentialsInUrls, `$1${redacted}@`)
    .replace(authorizations, `$1 ${redacted}`);
}
