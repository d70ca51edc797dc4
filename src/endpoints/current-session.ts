import type { FastifyRequest } from 'fastify';
import type { Standing } from '../assurance/types.ts';
import { readCookie } from '../session/cookie.ts';
import type { OpenedSession } from '../session/types.ts';
import { cookieSite } from '../signin/attempt-cookies.ts';
import type { EndpointDeps } from './endpoint.ts';

/** The session that a request's cookie opens. */
export interface CurrentSession {
  readonly cookieValue: string;
  readonly opened: OpenedSession;
  /** Undefined: its source is gone, or is another one now. */
  readonly standing: Standing | undefined;
}

/** Finds the request's session; undefined when there is none. @throws store_unavailable */
export async function findSession(
  { sessions, clock }: Pick<EndpointDeps, 'sessions' | 'clock'>,
  { facts, generation, headers }: Pick<FastifyRequest, 'facts' | 'generation' | 'headers'>,
): Promise<CurrentSession | undefined> {
  const cookieValue = readCookie(headers.cookie, cookieSite(generation, facts.origin).name);
  if (cookieValue === undefined) return undefined;
  const opened = sessions.peek(cookieValue) ?? (await sessions.open(cookieValue));
  if (opened === undefined) return undefined;
  return { cookieValue, opened, standing: generation.standing(opened, clock.nowMs()) };
}
