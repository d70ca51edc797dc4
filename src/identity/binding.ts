import { nowSeconds, type Clock } from '../kernel/clock.ts';
import { SallyportError } from '../kernel/error.ts';
import { durablePrefix } from '../session/durable-key.ts';
import type { Sealing } from '../session/sealing.ts';
import type { Store } from '../session/types.ts';
import {
  decodeBinding,
  encodeBinding,
  foldBound,
  isSameSubject,
  type Binding,
  type BindingKind,
} from './binding-record.ts';

/*
 * One record for each bound name, kept without expiry, sealed by the secret alone, under an HMAC of the folded name. The
 * HMAC's key comes from the secret as well, so a new secret means a new place. While several secrets are listed:
 *
 *   - a name is looked up under every one of them, and kept for good under the first;
 *   - a claim takes all of these places, each by `putIfAbsent`, in an order that all replicas share. Whatever secret a
 *     replica puts first, and even if it lists only the older one yet, two claims of one name meet in one place, and one
 *     of them loses there. The places that are not the first hold copies, sealed by the secret that they stand under,
 *     which go by themselves.
 */

/** Where bindings stand in the store. */
export const bindingPrefix = `${durablePrefix}binding:`;
/** What bindings are sealed for. */
export const bindingPurpose = 'binding';

/** How long a copy under an older secret stays: longer than it takes to roll a new secret out over all replicas. */
const copyLifeMs = 24 * 60 * 60 * 1000;
const mostRounds = 5;
/** Records asked for at once. */
const batchSize = 64;

/** What a claim asks for. */
export type WantedBinding = Omit<Binding, 'since'>;

/** What became of a claim. `created`: the record was not there before. */
export type ClaimResult =
  | { readonly outcome: 'bound' | 'already_mine'; readonly binding: Binding }
  | { readonly outcome: 'conflict'; readonly holder: Binding };

/** The durable bindings of user names and email addresses. Everything rejects with `store_unavailable` when the store is down. */
export interface Bindings {
  /** Who holds a name. */
  find(kind: BindingKind, value: string): Promise<Binding | undefined>;
  /** Takes a name for a subject, unless another one holds it. Of many who claim it at once, one gets it. */
  claim(wanted: WantedBinding): Promise<ClaimResult>;
  /** Gives a name to a subject, whoever held it; returns what was there. For the operator alone. */
  assign(wanted: WantedBinding): Promise<Binding | undefined>;
  /** Frees a name; returns what was there. */
  release(kind: BindingKind, value: string): Promise<Binding | undefined>;
  /** Drops what no listed secret opens: when a secret is lost, nothing else can be done with it. Returns how many. */
  dropUnreadable(): Promise<number>;
  /** Everything that is bound, each once; what no listed secret opens is told to `onUnreadable`. */
  list(onUnreadable?: (key: string) => void): AsyncIterable<Binding>;
  /** Brings everything under the first secret, so that the others can go. */
  renew(): Promise<Renewal>;
}

/** What {@link Bindings.renew} came to. */
export interface Renewal {
  readonly renewed: number;
  readonly unreadable: number;
  /** Held by another subject under an older secret than under the first: the first one's stands. */
  readonly disputed: readonly Binding[];
}

/** Bound to somebody, and nobody can say to whom. */
interface Unreadable {
  readonly binding: undefined;
  readonly durable: boolean;
}

interface Found {
  readonly key: string;
  readonly binding: Binding;
  readonly durable: boolean;
  readonly sealedByFirst: boolean;
}

/** The bindings kept in a store. Holds no state of its own. */
export function createBindings({
  store,
  sealing,
  clock,
}: {
  readonly store: Store;
  readonly sealing: Pick<Sealing, 'sealShared' | 'openSharedDetailed' | 'indexKeys'>;
  readonly clock: Clock;
}): Bindings {
  function placesOf(kind: BindingKind, value: string): readonly [string, ...string[]] {
    const [first, ...others] = sealing.indexKeys(`${bindingPurpose}/${kind}`, foldBound(value));
    const place = (mac: string): string => `${bindingPrefix}${kind}:${mac}`;
    return [place(first), ...others.map(place)];
  }

  const sealAt = (places: readonly string[], key: string, binding: Binding): Buffer =>
    sealing.sealShared(bindingPurpose, encodeBinding(binding), key, places.indexOf(key));

  async function read(key: string): Promise<Found | Unreadable | undefined> {
    const stored = await store.get(key);
    if (stored === undefined) return undefined;
    const opened = sealing.openSharedDetailed(bindingPurpose, stored.sealed, key);
    const binding = opened === undefined ? undefined : decodeBinding(opened.plaintext);
    const durable = stored.ttlMs === Infinity;
    if (opened === undefined || binding === undefined) return { binding: undefined, durable };
    return { key, binding, durable, sealedByFirst: opened.sealedByFirst };
  }

  async function look(places: readonly string[]): Promise<Found | undefined> {
    let best: Found | undefined;
    for (const found of await Promise.all(places.map(read))) {
      if (found === undefined) continue;
      // Somebody holds it, and nobody can say who: a guess would be a way into their account.
      if (found.binding === undefined) throw unreadable();
      best ??= found;
    }
    return best;
  }

  /** Keeps what was found somewhere else for good under the first secret. */
  async function settle(found: Found, places: readonly [string, ...string[]]): Promise<boolean> {
    const [first] = places;
    if (found.key === first) {
      if (found.durable && found.sealedByFirst) return false;
      await store.put(first, sealAt(places, first, found.binding), Infinity);
      return true;
    }
    const moved = await store.putIfAbsent(first, sealAt(places, first, found.binding), undefined);
    // Left as a copy for a while: a replica that does not know the new secret yet must still find the name taken.
    if (found.durable) await store.touch(found.key, copyLifeMs);
    return moved || found.durable;
  }

  async function writeEverywhere(places: readonly [string, ...string[]], binding: Binding): Promise<void> {
    await Promise.all(
      places.map((key, at) => store.put(key, sealAt(places, key, binding), at === 0 ? Infinity : copyLifeMs)),
    );
  }

  /** True when every place was free; false when one was not, and then nothing of ours is left. */
  async function takeAll(places: readonly [string, ...string[]], binding: Binding): Promise<boolean> {
    const taken: string[] = [];
    for (const key of places.toSorted()) {
      const lifeMs = key === places[0] ? undefined : copyLifeMs;
      if (await store.putIfAbsent(key, sealAt(places, key, binding), lifeMs)) {
        taken.push(key);
        continue;
      }
      for (const each of taken) await store.delete(each);
      return false;
    }
    return true;
  }

  async function* readAll(): AsyncIterable<{ key: string; found: Found | Unreadable }> {
    let batch: string[] = [];
    async function* flush() {
      const keys = batch;
      batch = [];
      const found = await Promise.all(keys.map(read));
      for (const [at, each] of found.entries())
        if (each !== undefined) yield { key: keys[at] ?? '', found: each };
    }
    for await (const key of store.keys(bindingPrefix)) {
      if (batch.push(key) === batchSize) yield* flush();
    }
    yield* flush();
  }

  return {
    find: async (kind, value) => (await look(placesOf(kind, value)))?.binding,

    async claim(wanted) {
      const places = placesOf(wanted.kind, wanted.value);
      for (let round = 0; round < mostRounds; round += 1) {
        const found = await look(places);
        if (found !== undefined) {
          if (!isSameSubject(found.binding, wanted)) return { outcome: 'conflict', holder: found.binding };
          const binding = accompany(found.binding, wanted);
          if (binding === found.binding) await settle(found, places);
          else await writeEverywhere(places, binding);
          return { outcome: 'already_mine', binding };
        }
        const binding: Binding = { ...wanted, since: nowSeconds(clock) };
        if (await takeAll(places, binding)) return { outcome: 'bound', binding };
      }
      throw new SallyportError('store_unavailable', 'a binding was contended for too long', {
        detail: 'binding_contended',
      });
    },

    async assign(wanted) {
      const places = placesOf(wanted.kind, wanted.value);
      const before = await look(places);
      await writeEverywhere(places, { ...wanted, since: nowSeconds(clock) });
      return before?.binding;
    },

    async release(kind, value) {
      const places = placesOf(kind, value);
      const before = await look(places);
      // The first goes last: as long as it stands, nobody takes a copy for what is left of an unfinished claim.
      for (const key of places.toReversed()) await store.delete(key);
      return before?.binding;
    },

    async *list(onUnreadable = () => undefined) {
      const seen = new Set<string>();
      for await (const { key, found } of readAll()) {
        if (found.binding === undefined) {
          // A copy that runs out is what rotations leave behind.
          if (found.durable) onUnreadable(key);
          continue;
        }
        const { kind, value } = found.binding;
        const [first] = placesOf(kind, value);
        if (seen.has(first)) continue;
        seen.add(first);
        // Under the first secret stands what counts; another place holds a copy, or what is not renewed yet.
        const current = key === first ? found : await look(placesOf(kind, value));
        if (current !== undefined) yield current.binding;
      }
    },

    async dropUnreadable() {
      let dropped = 0;
      for await (const { key, found } of readAll())
        if (found.binding === undefined && (await store.delete(key)) && found.durable) dropped += 1;
      return dropped;
    },

    async renew() {
      let renewed = 0;
      let unreadableCount = 0;
      const disputed: Binding[] = [];
      for await (const { found } of readAll()) {
        if (found.binding === undefined) {
          if (found.durable) unreadableCount += 1;
          continue;
        }
        const places = placesOf(found.binding.kind, found.binding.value);
        const standing = found.key === places[0] ? undefined : await read(places[0]);
        if (standing?.binding !== undefined && !isSameSubject(standing.binding, found.binding)) {
          // Runs out as a copy does: the one under the first secret stands.
          if (found.durable) await store.touch(found.key, copyLifeMs);
          disputed.push(found.binding);
          continue;
        }
        // A copy that runs out by itself is nothing to keep, unless what it is a copy of never came to be.
        if (!found.durable && standing !== undefined) continue;
        if (await settle(found, places)) renewed += 1;
      }
      return { renewed, unreadable: unreadableCount, disputed };
    },
  };
}

/** An email goes along with the user name that its holder has now. */
function accompany(binding: Binding, { kind, username }: WantedBinding): Binding {
  if (kind !== 'email' || username === undefined) return binding;
  const same = binding.username !== undefined && foldBound(binding.username) === foldBound(username);
  return same ? binding : { ...binding, username };
}

function unreadable(): SallyportError {
  return new SallyportError('internal', 'a durable binding cannot be read', { detail: 'binding_unreadable' });
}
