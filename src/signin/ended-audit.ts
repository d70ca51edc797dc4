import type { EndedSession } from '../session/endings.ts';
import type { SignInDeps, SignInRequest } from './types.ts';

/** Writes and counts that a session was ended without its cookie: all that is known of it is its card. */
export function recordEnded(
  { audit, meter }: Pick<SignInDeps, 'audit' | 'meter'>,
  { facts, generation }: Pick<SignInRequest, 'facts' | 'generation'>,
  { card }: EndedSession,
  sourceId: string,
  why: 'backchannel' | 'frontchannel' | 'revoked',
): void {
  audit.write({
    action: 'session.ended',
    requestId: facts.id,
    traceparent: facts.traceparent,
    clientIp: facts.clientIp,
    user: card === undefined ? undefined : { id: card.subject, email: card.email, name: card.username },
    authSource: sourceId,
    tenant: generation.sources.get(sourceId)?.config.tenant,
    fields: { why, session_id: card?.id ?? 'unknown' },
  });
  meter.sessionEnded(why);
}
