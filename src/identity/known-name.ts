import type { Sealing } from '../session/sealing.ts';
import type { Store } from '../session/types.ts';
import { isSameSubject, type Subject } from './binding-record.ts';
import type { Bindings } from './binding.ts';

/**
 * Under which name a subject has last signed in: what an access token is known by that names nobody. It is a hint and no more: the
 * binding of that name decides whether it is still this subject's.
 */
export interface KnownNames {
  /** Called after the name was bound. @throws store_unavailable */
  remember(subject: Subject, username: string): Promise<void>;
  /** The name, if it is bound to this very subject now. @throws store_unavailable */
  find(subject: Subject): Promise<string | undefined>;
}

const purpose = 'known-name';
/** Longer than anybody goes without signing in who uses tokens; whoever is gone is forgotten by itself. Milliseconds. */
const lifeMs = 400 * 24 * 60 * 60 * 1000;

/** The names kept in a store, sealed by the secret alone, under an HMAC of issuer and subject. */
export function createKnownNames(
  { store, sealing }: { readonly store: Store; readonly sealing: Sealing },
  bindings: Pick<Bindings, 'find'>,
): KnownNames {
  const placesOf = ({ issuer, subject }: Subject): readonly [string, ...string[]] => {
    const [first, ...others] = sealing.indexKeys(purpose, JSON.stringify([issuer, subject]));
    const place = (mac: string): string => `${purpose}:${mac}`;
    return [place(first), ...others.map(place)];
  };

  return {
    async remember(subject, username) {
      const [key] = placesOf(subject);
      await store.put(key, sealing.sealShared(purpose, Buffer.from(username), key), lifeMs);
    },
    async find(subject) {
      for (const key of placesOf(subject)) {
        const stored = await store.get(key);
        const opened = stored === undefined ? undefined : sealing.openShared(purpose, stored.sealed, key);
        if (opened === undefined) continue;
        const username = opened.toString('utf8');
        const holder = await bindings.find('username', username);
        return holder !== undefined && isSameSubject(holder, subject) ? username : undefined;
      }
      return undefined;
    },
  };
}
