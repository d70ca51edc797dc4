import type { FastifyInstance } from 'fastify';
import type { Standing } from '../assurance/types.ts';
import { jsonText } from '../kernel/json-text.ts';
import { isRefreshDue } from '../session/kept-tokens.ts';
import type { HeldRecord } from '../session/types.ts';
import { findSession } from './current-session.ts';
import { addEndpoint, send, type EndpointTools } from './endpoint.ts';
import { renderRefusal } from './render.ts';
import { jsonHeaders } from './security-headers.ts';

/** `GET whoami`: the session as JSON, after Ory's `/sessions/whoami` (SPEC section 6); 401 without one. */
export function addWhoami(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/whoami',
    get: async (request, reply) => {
      const session = await findSession(tools, request);
      const code = session === undefined ? 'session_required' : 'session_not_sufficient';
      if (session?.standing?.outcome.admit !== true) {
        // JSON, whoever asks.
        const facts = { ...request.facts, navigation: false };
        return send(
          reply,
          renderRefusal({ status: 401, code }, facts, request.generation, {}, tools.clock.nowMs()),
        );
      }
      // What it says it says at once: that of a session whose tokens come later.
      const { facts, generation } = request;
      if (isRefreshDue(session.opened, tools.clock.nowMs()))
        void tools.refreshSession?.(session.opened, facts, generation);
      const body = jsonText(describeSession(session.opened.record, session.standing));
      return send(reply, { status: 200, headers: jsonHeaders, body });
    },
  });
}

/** The JSON of whoami. `upstream_acr` and `upstream_amr` are what the IdP sent, whether or not they matched. */
export function describeSession(
  record: HeldRecord,
  { verdict, outcome }: Standing,
): Readonly<Record<string, unknown>> {
  const { identity, claims } = record;
  const { acr, amr, auth_time: authTime } = claims;
  const evidence = outcome.status === 'verified' ? verdict.evidence : undefined;
  return {
    id: record.id,
    active: true,
    issued_at: isoTime(record.issuedAt),
    expires_at: isoTime(record.expiresAt),
    authenticated_at: isoTime(record.authenticatedAt),
    authenticator_assurance_level: outcome.aal,
    authentication_methods: [
      {
        method: 'oidc',
        aal: outcome.aal,
        provider: record.source,
        completed_at: isoTime(record.authenticatedAt),
        upstream_acr: acr,
        upstream_amr: amr,
        upstream_auth_time: Number.isSafeInteger(authTime) ? isoTime(authTime as number) : undefined,
      },
    ],
    mfa: {
      status: outcome.status,
      evidence: evidence === undefined ? null : { claim: evidence.claim, value: evidence.value },
      weak: outcome.status === 'verified' && outcome.weak,
    },
    identity: {
      sub: identity.subject,
      email: identity.email,
      username: identity.username,
      name: identity.name,
      groups: identity.groups ?? [],
    },
  };
}

/** Seconds since the epoch as RFC 3339; undefined where no date is that far away. */
function isoTime(seconds: number): string | undefined {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
