import type { EndedSession } from '../../session/endings.ts';
import { sessionPrefix } from '../../session/directory.ts';
import { isChosen, type Choice } from './choice.ts';
import { describeCard } from './list.ts';
import { visible, type Workplace } from './workplace.ts';

const batchSize = 100;

/**
 * `sallyport sessions revoke`: ends sessions everywhere. First those that an index finds at once; then every card is looked at, since
 * a source may be gone from the configuration and a session may stand in no index; and with `--all` every record, whatever its card.
 */
export async function revokeSessions(place: Workplace, choice: Choice, json: boolean): Promise<number> {
  const ended: EndedSession[] = [];
  const onEnded = (session: EndedSession): void => {
    ended.push(session);
    const { card } = session;
    place.record({
      action: 'session.ended',
      user: card === undefined ? undefined : { id: card.subject, email: card.email, name: card.username },
      authSource: card?.source,
      fields: { why: 'revoked', session_id: card?.id ?? 'unknown', actor: place.actor },
    });
    if (!json)
      place.say(
        card === undefined
          ? 'ended: a session without a card'
          : `ended: ${card.id} of ${visible(card.username)} (${visible(card.email ?? card.subject)}), source ${card.source}`,
      );
  };
  let complete = false;
  try {
    // First: a sign-in that is under way sees the note, or is found. A store that is full takes none, and lets go of sessions all the same.
    const { user: email, sub: subject, source } = choice;
    const [noted] = await Promise.allSettled([place.notes.leave({ why: 'revoked', email, subject, source })]);
    await endFound(place, choice, onEnded);
    await endListed(place, choice, onEnded);
    if (choice.by === 'all') await endEveryRecord(place, onEnded);
    if (noted.status === 'rejected') throw noted.reason as Error;
    complete = true;
  } finally {
    place.record({
      action: 'sessions.revoked',
      user: undefined,
      authSource: choice.source,
      fields: {
        actor: place.actor,
        count: ended.length,
        by: choice.by,
        complete,
        ...(choice.user === undefined ? {} : { user_email: choice.user }),
        ...(choice.sub === undefined ? {} : { subject: choice.sub }),
        ...(choice.source === undefined ? {} : { source: choice.source }),
      },
    });
    if (!complete) {
      const many = ended.length === 1 ? 'session was' : 'sessions were';
      place.complain(`${ended.length} ${many} ended before it failed: call it again`);
    }
  }
  if (json) {
    const sessions = ended.map(({ card }) => (card === undefined ? null : describeCard(card)));
    place.say(JSON.stringify({ ended: ended.length, sessions }, undefined, 2));
  } else {
    place.say(`${ended.length} ${ended.length === 1 ? 'session' : 'sessions'} ended`);
    if (ended.length > 0)
      place.say('personal access tokens, deploy keys and runner tokens live on: see docs/sessions.md');
  }
  return 0;
}

type OnEnded = (session: EndedSession) => void;

async function endFound(
  { config, directory, endings }: Workplace,
  choice: Choice,
  onEnded: OnEnded,
): Promise<void> {
  const { user, sub, source } = choice;
  const value = user ?? sub;
  if (value === undefined) return;
  const sources = config.sources.filter(({ id }) => source === undefined || id === source);
  for (const issuer of new Set(sources.map((each) => each.issuer))) {
    const keys = await directory.find(user === undefined ? 'sub' : 'email', issuer, value);
    await endings.end(keys, onEnded, (card) =>
      card === undefined ? source === undefined : isChosen(choice, card),
    );
  }
}

async function endListed({ directory, endings }: Workplace, choice: Choice, onEnded: OnEnded): Promise<void> {
  const isMeant = (card: Parameters<typeof isChosen>[1]): boolean => isChosen(choice, card);
  let batch: string[] = [];
  for await (const { key, card } of directory.cards()) {
    if (!isMeant(card)) continue;
    batch.push(key);
    if (batch.length < batchSize) continue;
    await endings.end(batch, onEnded, isMeant);
    batch = [];
  }
  await endings.end(batch, onEnded, isMeant);
}

async function endEveryRecord({ store, endings }: Workplace, onEnded: OnEnded): Promise<void> {
  let batch: string[] = [];
  for await (const key of store.keys(sessionPrefix)) {
    batch.push(key);
    if (batch.length < batchSize) continue;
    await endings.end(batch, onEnded);
    batch = [];
  }
  await endings.end(batch, onEnded);
}
