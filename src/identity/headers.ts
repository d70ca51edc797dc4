import { LRUCache } from 'lru-cache';

import type { UpstreamConfig } from '../config/schema.ts';
import { createRecent, recentSessions } from '../kernel/recent.ts';
import type { OpenedSession } from '../session/types.ts';
import type { AssertionSigner, SignedAssertion } from './assertion.ts';
import { headerRules } from './presets.ts';
import type { IdentityStanding } from './types.ts';
import { headerValue, type GroupOmitted } from './values.ts';

/** The header that carries the signed assertion. */
export const assertionHeader = 'X-Sallyport-Assertion';
const accessTokenHeader = 'X-Forwarded-Access-Token';

/** What the upstream is told of who is asking. */
export interface IdentityHeaders {
  /** Every name that may be set, as configured: to be stripped from requests like the known families. */
  readonly names: readonly string[];
  /**
   * The headers of a session as a flat `[name, value, …]` list, values ready for the socket. Made once per session and
   * assertion life and then returned synchronously: a promise only for the first request, and after a pause of a minute.
   *
   * @param origin the origin that the request came to; becomes the assertion's `iss`
   */
  headersFor(
    session: OpenedSession,
    standing: IdentityStanding,
    origin: string,
    nowMs: number,
  ): readonly string[] | Promise<readonly string[]>;
}

export interface IdentityHeadersOptions {
  /** Told of groups left out of a comma list. */
  readonly onGroupOmitted?: GroupOmitted;
}

/** One session's finished headers for one origin. */
interface Made {
  readonly standing: IdentityStanding;
  readonly headers: readonly string[];
  /** From here a new assertion is made in the background, while this one still serves. Milliseconds. */
  readonly renewFromMs: number;
  /** From here this one is not sent any more. Milliseconds. */
  readonly deadFromMs: number;
  renewing: Promise<Made> | undefined;
}

/** An assertion must live this long when it leaves us, so that it is still good when the upstream looks. Milliseconds. */
const leastRemainingMs = 10_000;
const renewRemainingMs = 20_000;
/** Assertions kept by session id: a session that memory has dropped and opened again keeps its own. As many as are remembered with their headers. */
const keptAssertions = 8_192;

/** Makes the identity headers of an upstream (SPEC section 7). */
export function createIdentityHeaders(
  upstream: Pick<UpstreamConfig, 'preset' | 'identity_headers' | 'pass_access_token'>,
  signer: AssertionSigner,
  { onGroupOmitted = () => undefined }: IdentityHeadersOptions = {},
): IdentityHeaders {
  const rules = headerRules(upstream);
  const plainOf = createRecent<OpenedSession, readonly string[]>(recentSessions);
  const madeOf = createRecent<OpenedSession, Map<string, Made>>(recentSessions);
  const assertions = new LRUCache<string, SignedAssertion>({ max: keptAssertions });

  function plainHeaders(session: OpenedSession): readonly string[] {
    const known = plainOf.get(session);
    if (known !== undefined) return known;
    const plain: string[] = [];
    for (const { header, claim } of rules) {
      const value = headerValue(claim, session.record, onGroupOmitted);
      if (value !== undefined) plain.push(header, value);
    }
    plainOf.set(session, plain);
    return plain;
  }

  async function assertionFor(
    session: OpenedSession,
    standing: IdentityStanding,
    origin: string,
    nowMs: number,
  ): Promise<SignedAssertion> {
    const { outcome } = standing;
    // Of what stands in it, a refresh may change the groups.
    const { id, identity } = session.record;
    const key = JSON.stringify([id, outcome.aal, outcome.status, origin, identity.groups]);
    const known = assertions.get(key);
    if (known !== undefined && known.expiresAt * 1000 - renewRemainingMs > nowMs) return known;
    const signed = await signer.sign(session, standing, origin, Math.floor(nowMs / 1000));
    assertions.set(key, signed);
    return signed;
  }

  async function make(
    session: OpenedSession,
    standing: IdentityStanding,
    origin: string,
    nowMs: number,
  ): Promise<Made> {
    const plain = plainHeaders(session);
    const { jwt, expiresAt } = await assertionFor(session, standing, origin, nowMs);
    const headers = [...plain, assertionHeader, jwt];
    const { accessToken, accessTokenExpiresAt } = session.record.tokens;
    const tokenDeadFromMs = (accessTokenExpiresAt ?? Infinity) * 1000;
    const withToken = upstream.pass_access_token && accessToken !== undefined && tokenDeadFromMs > nowMs;
    if (withToken) headers.push(accessTokenHeader, accessToken);
    const made: Made = {
      standing,
      headers: Object.freeze(headers),
      renewFromMs: expiresAt * 1000 - renewRemainingMs,
      deadFromMs: Math.min(expiresAt * 1000 - leastRemainingMs, withToken ? tokenDeadFromMs : Infinity),
      renewing: undefined,
    };
    let byOrigin = madeOf.get(session);
    if (byOrigin === undefined) madeOf.set(session, (byOrigin = new Map<string, Made>()));
    byOrigin.set(origin, made);
    return made;
  }

  return {
    names: [
      ...rules.map(({ header }) => header),
      assertionHeader,
      ...(upstream.pass_access_token ? [accessTokenHeader] : []),
    ],
    headersFor(session, standing, origin, nowMs) {
      const made = madeOf.get(session)?.get(origin);
      // Another standing (a rehearsal that ended, say) is another statement: nothing of it may be reused.
      if (made?.standing !== standing || nowMs >= made.deadFromMs) {
        return make(session, standing, origin, nowMs).then(({ headers }) => headers);
      }
      if (nowMs >= made.renewFromMs && made.renewing === undefined) {
        made.renewing = make(session, standing, origin, nowMs);
        // The one at hand still serves; where signing fails, the next request tries again and says so.
        made.renewing.catch(() => (made.renewing = undefined));
      }
      return made.headers;
    },
  };
}
