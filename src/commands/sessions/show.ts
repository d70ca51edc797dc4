import { describeCard } from './list.ts';
import { visible, type Workplace } from './workplace.ts';

/** `sallyport sessions show ID`: what is known of one session. */
export async function showSession(place: Workplace, id: string, json: boolean): Promise<number> {
  for await (const { key, card } of place.directory.cards()) {
    if (card?.id !== id) continue;
    const lifeMs = await place.store.life(key);
    if (lifeMs === undefined) continue;
    // What the store still grants it: the idle limit, or the absolute one where that is sooner.
    const shown = { ...describeCard(card), idle_seconds_left: Math.floor(lifeMs / 1000) };
    if (json) place.say(JSON.stringify(shown, undefined, 2));
    else for (const line of linesOf(shown)) place.say(line);
    return 0;
  }
  place.complain(`there is no session ${JSON.stringify(id.slice(0, 64))}`);
  return 1;
}

function linesOf(shown: Readonly<Record<string, unknown>>): readonly string[] {
  const entries = Object.entries(shown);
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => {
    const text = typeof value === 'string' ? value : value === null ? '-' : JSON.stringify(value);
    return `${name.padEnd(width)}  ${visible(text)}`;
  });
}
