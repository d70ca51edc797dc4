import { timingSafeEqual } from 'node:crypto';
import { createRecent, recentSessions } from '../kernel/recent.ts';
import type { Sealing } from './sealing.ts';
import type { OpenedSession, SessionRecord } from './types.ts';

/*
 * The upstream's own session, tied to ours. A forge that believes our header mints a cookie of its own, and afterwards believes that:
 * some versions before the header, all where there is none. So B who signs in after A in the same browser would act as A, and a stolen
 * forge cookie would outlive every session of ours. Its value therefore goes to the browser with a tag, an HMAC over name, value and
 * the session's lineage, and comes back to the upstream only in a session of that lineage:
 *
 *   i_like_gitea=0123abcd  ->  i_like_gitea=<tag>.0123abcd
 *
 * The tag is no secret: whoever has the cookie has it whole. It says where the cookie belongs, and cannot be made for another place.
 */

/** The upstream's cookies that are tied to the session that made them. Pure, but for what it remembers. */
export interface BoundCookies {
  /** The upstream's `Set-Cookie` value as the browser gets it: tagged if it is bound, else as it was; all attributes as they were. */
  tie(setCookie: string, session: OpenedSession): string;
  /**
   * The browser's `Cookie` value as the upstream gets it: bound cookies of this lineage without their tag, others not at all, the
   * rest byte for byte; undefined when nothing is left.
   */
  untie(cookieHeader: string, session: OpenedSession): string | undefined;
}

/** What a session's bound cookies are tied to: the same for as long as the same user stays signed in, new at every sign-in. */
export function lineageOf({ record }: { readonly record: Pick<SessionRecord, 'id' | 'lineage'> }): string {
  // Sessions of the release before have none, and are their own.
  return record.lineage ?? record.id;
}

/** How many tags are remembered for one session; anybody can write a `Cookie`, so it starts anew when full. */
const rememberedTags = 32;
/** Longer pairs are no session ids, and are not remembered. */
const rememberedLength = 512;

type Tags = readonly [string, ...string[]];

const tagLength = 43;
const tagPattern = /^[A-Za-z0-9_-]{43}\./;

/**
 * The bound cookies of these names; undefined without any, so that nothing is spent on them.
 *
 * @param names as the upstream calls them; compared as loosely as the loosest upstream might: case and surrounding blanks aside
 */
export function createBoundCookies(
  names: readonly string[],
  sealing: Pick<Sealing, 'indexKeys'>,
): BoundCookies | undefined {
  if (names.length === 0) return undefined;
  const bound = new Set(names.map((name) => name.toLowerCase()));
  const mention = new RegExp(names.map((name) => name.replace(/[^\w-]/g, '\\$&')).join('|'), 'i');
  const remembered = createRecent<OpenedSession, Map<string, Tags>>(recentSessions);

  /** The tag under each secret, the first one's first: that one tags, all verify. */
  function tagsOf(name: string, value: string, session: OpenedSession): Tags {
    let known = remembered.get(session);
    if (known === undefined || known.size >= rememberedTags) {
      known = new Map<string, Tags>();
      remembered.set(session, known);
    }
    const key = `${name}=${value}`;
    let tags = known.get(key);
    if (tags === undefined) {
      // Names hold no `=`, lineages no `;`: no two triples make one text.
      tags = sealing.indexKeys('bound-cookie', `${lineageOf(session)};${key}`);
      if (key.length <= rememberedLength) known.set(key, tags);
    }
    return tags;
  }

  function isBound(name: string): boolean {
    return bound.has(name.trim().toLowerCase());
  }

  function tie(setCookie: string, session: OpenedSession): string {
    if (!mention.test(setCookie)) return setCookie;
    const equals = setCookie.indexOf('=');
    let end = setCookie.indexOf(';');
    if (end === -1) end = setCookie.length;
    if (equals === -1 || equals > end) return setCookie;
    const name = setCookie.slice(0, equals);
    if (!isBound(name)) return setCookie;
    const written = setCookie.slice(equals + 1, end);
    const value = written.trim();
    // An empty one is being forgotten: there is nothing to tie.
    if (value === '') return setCookie;
    const at = equals + 1 + written.indexOf(value);
    // Quotes belong to the value, and stay around the whole of it.
    const inside = isQuoted(value) ? at + 1 : at;
    const [tag] = tagsOf(name.trim(), value, session);
    return `${setCookie.slice(0, inside)}${tag}.${setCookie.slice(inside)}`;
  }

  function untie(cookieHeader: string, session: OpenedSession): string | undefined {
    if (!mention.test(cookieHeader)) return cookieHeader;
    const kept: string[] = [];
    let changed = false;
    for (const pair of cookieHeader.split(';')) {
      const equals = pair.indexOf('=');
      const name = equals === -1 ? pair : pair.slice(0, equals);
      if (!isBound(name)) {
        kept.push(pair);
        continue;
      }
      changed = true;
      const value = equals === -1 ? undefined : ownValue(name.trim(), pair.slice(equals + 1).trim(), session);
      if (value !== undefined) kept.push(`${kept.length === 0 ? '' : ' '}${name.trim()}=${value}`);
    }
    if (!changed) return cookieHeader;
    const left = kept.join(';').trim();
    return left === '' ? undefined : left;
  }

  /** The upstream's value in a tagged one; undefined unless it was tagged for this name and lineage. */
  function ownValue(name: string, tagged: string, session: OpenedSession): string | undefined {
    const quoted = isQuoted(tagged);
    const inner = quoted ? tagged.slice(1, -1) : tagged;
    if (!tagPattern.test(inner)) return undefined;
    const tag = Buffer.from(inner.slice(0, tagLength));
    const rest = inner.slice(tagLength + 1);
    const value = quoted ? `"${rest}"` : rest;
    const matches = tagsOf(name, value, session).some((each) => timingSafeEqual(Buffer.from(each), tag));
    return matches ? value : undefined;
  }

  return { tie, untie };
}

function isQuoted(value: string): boolean {
  return value.length >= 2 && value.startsWith('"') && value.endsWith('"');
}

/**
 * `Set-Cookie` values that make the browser forget bound cookies, where the upstream set them for the whole site, as forges do. For
 * tidiness: what the browser keeps is worth nothing in another lineage.
 */
export function expiredBoundCookies(names: readonly string[], secureOrigin: boolean): readonly string[] {
  const secure = secureOrigin ? '; Secure' : '';
  return names.map(
    (name) =>
      `${name}=; Path=/; HttpOnly; SameSite=Lax${secure}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT`,
  );
}

/**
 * A `Cookie` value without the cookies of these names, compared as {@link createBoundCookies} does; undefined when nothing is left. For
 * where Sallyport never sees the upstream's `Set-Cookie`, so that no cookie of theirs can carry a tag.
 */
export function dropBoundCookies(cookieHeader: string, names: readonly string[]): string | undefined {
  const bound = new Set(names.map((name) => name.toLowerCase()));
  const pairs = cookieHeader.split(';');
  const kept = pairs.filter((pair) => !bound.has((pair.split('=', 1)[0] ?? '').trim().toLowerCase()));
  if (kept.length === pairs.length) return cookieHeader;
  const left = kept.join(';').trim();
  return left === '' ? undefined : left;
}
