import type { Generation } from '../generation.ts';

/** What a link to the sign-in asks for. */
export interface SignInAsk {
  readonly source?: string | undefined;
  /** A local path. */
  readonly returnTo: string;
  readonly fresh?: boolean;
  readonly selectAccount?: boolean;
  readonly stepUp?: boolean;
  readonly loginHint?: string | undefined;
}

/** The path and query of a sign-in that asks for this. */
export function signInPath(generation: Pick<Generation, 'config'>, ask: SignInAsk): string {
  const query = new URLSearchParams();
  if (ask.source !== undefined) query.set('source', ask.source);
  if (ask.fresh === true) query.set('fresh', '1');
  if (ask.selectAccount === true) query.set('account', 'select');
  if (ask.stepUp === true) query.set('step_up', '1');
  if (ask.loginHint !== undefined) query.set('login_hint', ask.loginHint);
  query.set('return_to', ask.returnTo);
  return `${generation.config.server.path_prefix}/signin?${query.toString()}`;
}
