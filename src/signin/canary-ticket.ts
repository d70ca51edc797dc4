import { randomToken } from '../kernel/randomness.ts';
import type { Sealing } from '../session/sealing.ts';
import { claimOnce } from '../session/single-use.ts';
import type { Store } from '../session/types.ts';
import type { CanaryReport } from './canary.ts';
import type { SignInDeps } from './types.ts';

/** What the store holds of a one-time link: for which source it is, and, once used, what came of it. */
export interface CanaryTicket {
  readonly version: 1;
  readonly source: string;
  readonly report: CanaryReport | undefined;
}

/** How long the result waits for the terminal, in milliseconds. */
const resultLifeMs = 120_000;

/**
 * One-time links to the canary, made by `sallyport canary` and used in a browser. A link is used up by the sign-in that comes back,
 * not by being opened: what previews links in mail and chat would use it up before anyone could.
 */
export interface CanaryTickets {
  /** A new ticket of 256 bits for a source. @throws store_unavailable */
  offer(sourceId: string, lifeMs: number): Promise<string>;
  /** What stands behind a ticket; undefined where it is unknown or over. @throws store_unavailable */
  find(ticket: string): Promise<CanaryTicket | undefined>;
  /** Leaves the result for the terminal; false when the ticket is unknown, over or used. @throws store_unavailable */
  settle(ticket: string, report: CanaryReport): Promise<boolean>;
}

/** The tickets in a store. */
export function createCanaryTickets({
  store,
  sealing,
  randomness,
}: {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly randomness: SignInDeps['randomness'];
}): CanaryTickets {
  const keysOf = (ticket: string): readonly [string, ...string[]] => {
    const [first, ...others] = sealing.indexKeys(purpose, ticket);
    return [`${purpose}:${first}`, ...others.map((key) => `${purpose}:${key}`)];
  };
  const put = (key: string, value: CanaryTicket, ttlMs: number): Promise<void> =>
    store.put(key, sealing.sealShared(purpose, Buffer.from(JSON.stringify(value)), key), ttlMs);

  async function look(ticket: string) {
    if (!/^[A-Za-z0-9_-]{43}$/.test(ticket)) return undefined;
    for (const key of keysOf(ticket)) {
      const stored = await store.get(key);
      const text =
        stored === undefined ? undefined : sealing.openShared(purpose, stored.sealed, key)?.toString('utf8');
      if (text === undefined) continue;
      const found = JSON.parse(text) as Partial<CanaryTicket>;
      if (found.version === 1) return { key, ticket: found as CanaryTicket };
    }
    return undefined;
  }

  return {
    async offer(sourceId, lifeMs) {
      const ticket = randomToken(randomness);
      await put(keysOf(ticket)[0], { version: 1, source: sourceId, report: undefined }, lifeMs);
      return ticket;
    },
    async find(ticket) {
      return (await look(ticket))?.ticket;
    },
    async settle(ticket, report) {
      const found = await look(ticket);
      if (found === undefined || found.ticket.report !== undefined) return false;
      if (found.ticket.source !== report.source) return false;
      if (!(await claimOnce(store, purpose, ticket, claimLifeMs))) return false;
      await put(found.key, { ...found.ticket, report }, resultLifeMs);
      return true;
    },
  };
}

const purpose = 'canary';

/** As long as any ticket could be found: the longest wait of the command. */
const claimLifeMs = 24 * 3_600_000;
