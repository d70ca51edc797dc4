import type { RequestFacts } from './request-facts.ts';

/** What one line of the access log tells of a request; the writer adds ECS names. Never a query string, cookie or credential. */
export interface AccessEntry {
  readonly facts: RequestFacts;
  readonly status: number;
  readonly durationMs: number;
  /** The route rule's name, `sallyport` for our own endpoints, `none` where refused before matching. */
  readonly route: string;
  readonly access: string;
  /** Subject, email and name of the session's user, if any. */
  readonly user:
    { readonly id: string; readonly email: string | undefined; readonly name: string } | undefined;
  readonly source: string | undefined;
}
