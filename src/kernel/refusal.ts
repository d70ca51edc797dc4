/**
 * Why a request is not let through, as data. One place renders it (endpoints/render.ts): a page for a
 * navigation, JSON for everything else, a redirect where `location` is given.
 */
export interface Refusal {
  /** HTTP status: 302, 400, 401, 403, 404, 405, 421, 429, 431, 500, 502, 503, 504. */
  readonly status: number;
  /** The reason code: stable, lower_snake_case, shown to users, logged, counted. */
  readonly code: string;
  /** Where a browser is sent instead; only with status 302 or 303. */
  readonly location?: string;
  /** More response headers, e.g. `www-authenticate`, `retry-after`. Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** One sentence for the person in front of the screen; without it the page has its own for the code. */
  readonly message?: string;
  /** Said as one plain line instead of page or JSON: to tools that show nothing else. */
  readonly plainText?: boolean;
  /** More members of the JSON body (e.g. RFC 9470's `acr_values`, `max_age`). Never a secret. */
  readonly body?: Readonly<Record<string, unknown>>;
}
