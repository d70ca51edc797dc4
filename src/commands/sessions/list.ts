import type { SessionCard } from '../../session/card.ts';
import { isChosen, type Choice } from './choice.ts';
import { visible, type Workplace } from './workplace.ts';

/** `sallyport sessions list`: the sessions that are alive, the newest first. */
export async function listSessions(place: Workplace, choice: Choice, json: boolean): Promise<number> {
  const cards: SessionCard[] = [];
  let unreadable = 0;
  for await (const { key, card } of place.directory.cards()) {
    if (card === undefined) {
      // Entered before its record was stored, or left behind by one that has ended: neither is a session.
      if ((await place.store.life(key)) !== undefined) unreadable += 1;
    } else if (isChosen(choice, card) && (await place.store.life(key)) !== undefined) cards.push(card);
  }
  cards.sort((one, other) => other.issuedAt - one.issuedAt);
  if (json) {
    place.say(JSON.stringify(cards.map(describeCard), undefined, 2));
  } else {
    const rows = cards.map(rowOf);
    const widths = rowTitles.map((title, at) =>
      Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)),
    );
    for (const row of [rowTitles, ...rows])
      place.say(
        row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd(),
      );
  }
  if (unreadable > 0)
    place.complain(`${unreadable} more were sealed with a secret that is not listed, or by another version`);
  return 0;
}

const rowTitles = ['ID', 'SOURCE', 'USER', 'EMAIL', 'AAL', 'EVIDENCE', 'SINCE', 'ENDS BY'];

function rowOf(card: SessionCard): readonly string[] {
  const { id, source, username, email, judgement, issuedAt, expiresAt } = card;
  const evidence = judgement?.evidence;
  return [
    id,
    source,
    visible(username),
    visible(email ?? '-'),
    judgement?.aal ?? '-',
    evidence === undefined
      ? '-'
      : visible(
          `${evidence.claim}=${JSON.stringify(evidence.value)}${judgement?.weak === true ? ' (weak)' : ''}`,
        ),
    isoTime(issuedAt),
    isoTime(expiresAt),
  ];
}

/** A session as JSON: in the words of whoami where it has one. */
export function describeCard(card: SessionCard): Readonly<Record<string, unknown>> {
  const { judgement } = card;
  return {
    id: card.id,
    source: card.source,
    issuer: card.issuer,
    client_id: card.clientId,
    sub: card.subject,
    sid: card.sid ?? null,
    username: card.username,
    name: card.name ?? null,
    email: card.email ?? null,
    authenticator_assurance_level: judgement?.aal ?? null,
    mfa:
      judgement === undefined
        ? null
        : { status: judgement.status, evidence: judgement.evidence ?? null, weak: judgement.weak },
    issued_at: isoTime(card.issuedAt),
    authenticated_at: isoTime(card.authenticatedAt),
    expires_at: isoTime(card.expiresAt),
  };
}

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
