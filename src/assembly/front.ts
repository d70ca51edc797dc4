import { registerEndpoints } from '../endpoints/register.ts';
import { createRenderer } from '../endpoints/render.ts';
import { endSession } from '../endpoints/sign-out.ts';
import type { Config } from '../config/schema.ts';
import type { CurrentGeneration } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Randomness } from '../kernel/randomness.ts';
import type { RateCounter } from '../kernel/rate.ts';
import { boundCookieNames } from '../policy/forge-routes.ts';
import { createPublicServer } from '../proxy/server.ts';
import { createBoundCookies } from '../session/bound-cookies.ts';
import type { Sealing } from '../session/sealing.ts';
import type { Sessions, SessionWatch, Store } from '../session/types.ts';
import { createBearer } from '../signin/bearer.ts';
import type { TokenRefresh } from '../signin/token-refresh.ts';
import type { Telling } from './telling.ts';

/** What {@link createFront} is made of. */
export interface FrontDeps {
  readonly generations: CurrentGeneration;
  readonly store: Store;
  readonly sealing: Sealing;
  readonly sessions: Sessions;
  readonly sessionWatch: SessionWatch;
  readonly refresh: Pick<TokenRefresh, 'due'>;
  /** The public keys of the assertion, as a JWK set. */
  readonly jwks: () => { readonly keys: readonly object[] };
  /** What several processes on one port share; undefined: this one is all there is. */
  readonly seat: { readonly rates: RateCounter; readonly workers: number } | undefined;
  readonly telling: Telling;
  readonly clock: Clock;
  readonly randomness: Randomness;
}

/** What users meet: the proxy, and the endpoints under the prefix. It does not listen yet. */
export function createFront(config: Config, deps: FrontDeps): ReturnType<typeof createPublicServer> {
  const { generations, store, sealing, sessions, refresh, seat, telling, clock, randomness } = deps;
  const { audit, meter, logFault, logWarning, logInfo } = telling;
  const signIns = {
    ...{ sealing, store, sessions, audit, meter, clock, randomness },
    ...{ logFault, logWarning, logInfo },
  };
  // The same for the proxy and for forward auth, so that both know the same of a token.
  const openBearer = createBearer(signIns, seat?.workers);
  return createPublicServer(config, {
    generations,
    sessions,
    sessionWatch: deps.sessionWatch,
    boundCookiesOf: ({ config: { upstream } }) => createBoundCookies(boundCookieNames(upstream), sealing),
    endSession: (request, record, cookieValue) =>
      endSession({ sessions, audit, meter, sealing, clock }, request, record, cookieValue),
    openBearer,
    refreshSession: (...noticed) => refresh.due(...noticed),
    render: createRenderer({ clock }),
    registerEndpoints: (scope) =>
      registerEndpoints(scope, {
        ...signIns,
        openBearer,
        refreshSession: (...noticed) => refresh.due(...noticed),
        jwks: deps.jwks,
        ...(seat && { rates: seat.rates, workers: seat.workers }),
      }),
    get accessLog() {
      return telling.log().access;
    },
    logFault,
    logWarning,
    meter,
    clock,
    randomness,
  });
}
