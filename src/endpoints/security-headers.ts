/**
 * The response headers of a page. Nothing inline runs, nothing foreign loads, nobody frames it, nothing keeps it.
 *
 * `same-origin` rather than `no-referrer`: under the latter a browser sends our own forms with `Origin: null`.
 *
 * @param formTargets more origins that a form may lead to: Chromium holds the redirects after a POST to `form-action` too
 * @see https://www.w3.org/TR/CSP3/#directive-form-action
 */
export function pageHeaders(formTargets: readonly string[] = []): Readonly<Record<string, string>> {
  const formAction = ["'self'", ...formTargets].join(' ');
  return {
    ...answerHeaders,
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; style-src 'self'; img-src 'self'; form-action ${formAction}; frame-ancestors 'none'; base-uri 'none'`,
    'cross-origin-opener-policy': 'same-origin',
  };
}

/** The response headers of every other answer of ours. */
export const answerHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** {@link answerHeaders} for JSON. */
export const jsonHeaders: Readonly<Record<string, string>> = {
  ...answerHeaders,
  'content-type': 'application/json; charset=utf-8',
};
