/** Keeps one copy of what many sessions hold alike: issuers, client ids, groups, methods. */
export interface Interning {
  /** The same text; of several that are alike, mostly the same copy. */
  text(text: string): string;
  /** A JSON value whose texts and short lists are shared; it may be the very object that was given, and is not to be changed. */
  value<T>(value: T): T;
}

/** Longer texts are hardly ever alike, and dear to keep for nothing. Characters. */
const longestText = 256;
/** Lists of so many texts are kept as wholes: methods, contexts, the groups of a team. */
const longestList = 16;

/**
 * @param most texts and lists remembered at a time, twice over. What nobody has held alike for that long is forgotten: most of
 *   what comes by is alike to nothing
 */
export function createInterning(most = 4096): Interning {
  const texts = createGenerations<string>(most);
  const lists = createGenerations<readonly string[]>(most);

  function text(given: string): string {
    return given.length > longestText ? given : texts.take(given, given);
  }

  function list(given: readonly unknown[]): readonly unknown[] {
    const own = given.map(value);
    if (own.length > longestList || !own.every((element) => typeof element === 'string')) return own;
    // No text is the end of one and the beginning of the next.
    const name = JSON.stringify(own);
    return name.length > 4 * longestText ? own : lists.take(name, own);
  }

  function value<T>(given: T): T;
  function value(given: unknown): unknown {
    if (typeof given === 'string') return text(given);
    if (Array.isArray(given)) return list(given);
    if (typeof given !== 'object' || given === null) return given;
    // In place: a copy, property by property, would take more room than what came out of the parser at once.
    for (const [name, member] of Object.entries(given))
      if (name !== '__proto__' && (typeof member === 'string' || typeof member === 'object'))
        (given as Record<string, unknown>)[name] = value(member);
    return given;
  }

  return { text, value };
}

/** Two generations: what is asked for again while it is in the elder moves to the younger, the rest goes with it. */
function createGenerations<T>(most: number) {
  let younger = new Map<string, T>();
  let elder = new Map<string, T>();
  return {
    take(name: string, fresh: T): T {
      const young = younger.get(name);
      if (young !== undefined) return young;
      const found = elder.get(name) ?? fresh;
      if (younger.size >= most) {
        elder = younger;
        younger = new Map();
      }
      younger.set(name, found);
      return found;
    },
  };
}
