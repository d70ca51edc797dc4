import type { SessionCard } from '../../session/card.ts';
import { isChosen, type Choice } from './choice.ts';
import { visible, type Workplace } from './workplace.ts';

/** Sessions looked for at once: a store may be a millisecond away. */
const batchSize = 100;

/** `sallyport sessions list`: the sessions that are alive, the newest first. */
export async function listSessions(place: Workplace, choice: Choice, json: boolean): Promise<number> {
  const cards: SessionCard[] = [];
  let unreadable = 0;
  let batch: Listed[] = [];
  const look = async (): Promise<void> => {
    const asked = batch;
    batch = [];
    // Entered before its record was stored, or left behind by one that has ended: neither is a session.
    const lives = await Promise.all(asked.map(({ key }) => place.store.life(key)));
    for (const [at, { card }] of asked.entries()) {
      if (lives[at] === undefined) continue;
      if (card === undefined) unreadable += 1;
      else cards.push(card);
    }
  };
  for await (const listed of place.directory.cards()) {
    if (listed.card !== undefined && !isChosen(choice, listed.card)) continue;
    if (batch.push(listed) === batchSize) await look();
  }
  await look();
  cards.sort((one, other) => other.issuedAt - one.issuedAt);
  if (json) sayJson(place, cards);
  else sayTable(place, cards);
  if (unreadable > 0)
    place.complain(`${unreadable} more were sealed with a secret that is not listed, or by another version`);
  return 0;
}

interface Listed {
  readonly key: string;
  readonly card: SessionCard | undefined;
}

/** One array, a session at a time: a hundred thousand of them would not fit into one text. */
function sayJson({ say }: Workplace, cards: readonly SessionCard[]): void {
  if (cards.length === 0) {
    say('[]');
    return;
  }
  say('[');
  for (const [at, card] of cards.entries()) {
    const text = JSON.stringify(describeCard(card), undefined, 2).replaceAll('\n', '\n  ');
    say(`  ${text}${at < cards.length - 1 ? ',' : ''}`);
  }
  say(']');
}

function sayTable({ say }: Workplace, cards: readonly SessionCard[]): void {
  const widths = rowTitles.map((title) => title.length);
  for (const card of cards)
    for (const [at, cell] of rowOf(card).entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  say(line(rowTitles));
  for (const card of cards) say(line(rowOf(card)));
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
