import formbody from '@fastify/formbody';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import type { Refusal } from '../kernel/refusal.ts';
import { createSignInFlow } from '../signin/flow.ts';
import { createLedger } from '../signin/ledger.ts';
import { addBackChannelLogout } from './back-channel-logout.ts';
import { limitBodyTime } from './body-time.ts';
import { addCallback } from './callback.ts';
import { addCanary } from './canary.ts';
import { sendRefusal, type EndpointDeps, type EndpointTools } from './endpoint.ts';
import { refusalOfError } from './faults.ts';
import { addForwardAuth } from './forward-auth.ts';
import { addFrontChannelLogout } from './front-channel-logout.ts';
import { createLogouts } from './logouts.ts';
import { createLimit, rateStoreOn } from './rate-limit.ts';
import { addSignIn } from './sign-in.ts';
import { addSignOut } from './sign-out.ts';
import { addAssets, addJwks } from './static.ts';
import { addStatus } from './status.ts';
import { addWhoami } from './whoami.ts';

export type { EndpointDeps } from './endpoint.ts';

/**
 * Registers everything that stands under `server.path_prefix` in `scope`, which has that prefix. Whatever is not one of
 * the endpoints is 404: the public server stands a catch-all of every method behind them (proxy/server.ts).
 */
export async function registerEndpoints(scope: FastifyInstance, deps: EndpointDeps): Promise<void> {
  limitBodyTime(scope);
  await scope.register(formbody, { bodyLimit: 4096 });
  await scope.register(rateLimit, { global: false, ...(deps.rates && { store: rateStoreOn(deps.rates) }) });
  const ledger = createLedger(deps);
  const tools: EndpointTools = {
    ...deps,
    ledger,
    flow: createSignInFlow(ledger.watch(deps)),
    limit: createLimit(scope, deps.meter),
  };
  scope.setErrorHandler((error, request, reply) => {
    const found = refusalOfError(error);
    // One endpoint alone reads bodies; what goes nowhere is not found, whatever is the matter with its body.
    const readsBody = request.routeOptions.url?.endsWith('/signout') === true;
    const refusal: Refusal = found.status < 500 && !readsBody ? { status: 404, code: 'not_found' } : found;
    if (refusal.status >= 500) deps.logFault(error, request.facts);
    return sendRefusal(deps, request, reply, refusal);
  });
  addForwardAuth(scope, tools);
  addSignIn(scope, tools);
  addCallback(scope, tools);
  addSignOut(scope, tools);
  const logouts = createLogouts(tools);
  addBackChannelLogout(scope, tools, logouts);
  addFrontChannelLogout(scope, tools, logouts);
  addCanary(scope, tools);
  addStatus(scope, tools);
  addWhoami(scope, tools);
  addJwks(scope, tools);
  addAssets(scope, tools);
}
