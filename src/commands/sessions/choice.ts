import type { SessionCard } from '../../session/card.ts';
import { UsageFault } from './workplace.ts';

/** Which sessions are meant. */
export interface Choice {
  readonly by: 'user' | 'sub' | 'source' | 'all';
  readonly user: string | undefined;
  readonly sub: string | undefined;
  readonly source: string | undefined;
}

/** @throws UsageFault when the options contradict each other */
export function readChoice(values: {
  readonly user?: string | undefined;
  readonly sub?: string | undefined;
  readonly source?: string | undefined;
  readonly all?: boolean | undefined;
}): Choice {
  const { user, sub, source, all } = values;
  for (const [name, value] of Object.entries({ user, sub, source }))
    if (value?.trim() === '') throw new UsageFault(`--${name} is empty`);
  if (user !== undefined && sub !== undefined) throw new UsageFault('give either --user or --sub');
  if (all === true && (user ?? sub ?? source) !== undefined)
    throw new UsageFault('--all is everybody: give nothing beside it');
  const by =
    user !== undefined ? 'user' : sub !== undefined ? 'sub' : source !== undefined ? 'source' : 'all';
  return { by, user, sub, source };
}

/** Whether a session is meant; one whose card does not open, only where everybody is. */
export function isChosen(choice: Choice, card: SessionCard | undefined): boolean {
  if (card === undefined) return choice.by === 'all';
  const { user, sub, source } = choice;
  if (user !== undefined && card.email?.toLowerCase() !== user.toLowerCase()) return false;
  if (sub !== undefined && card.subject !== sub) return false;
  return source === undefined || card.source === source;
}
