/** How much of what others sent one audit line may hold. */
export interface Limits {
  readonly stringCharacters: number;
  readonly keyCharacters: number;
  readonly items: number;
  readonly depth: number;
}

/** Generous for tokens as vendors make them; tight for what an attacker puts into one. */
export const lineLimits: Limits = { stringCharacters: 1024, keyCharacters: 128, items: 100, depth: 6 };

/** What stands where something was cut off. */
export const cut = '…';

/**
 * A copy of a value that JSON can hold and that cannot grow without bound: long strings, lists, objects and deep nesting
 * are cut, and say so. A value of `undefined` means that there is nothing to show.
 */
export function boundValue(value: unknown, limits: Limits = lineLimits, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return boundString(value, limits.stringCharacters);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'bigint':
      return String(value);
    case 'object':
      return value === null ? null : boundObject(value, limits, depth);
    default:
      return undefined;
  }
}

/** At most `limit` characters, never ending within a surrogate pair. */
export function boundString(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const high = text.charCodeAt(limit - 1);
  return text.slice(0, high >= 0xd800 && high <= 0xdbff ? limit - 1 : limit) + cut;
}

function boundObject(value: object, limits: Limits, depth: number): unknown {
  if (depth >= limits.depth) return cut;
  // A Secret shows itself as redacted, a Date as its time: what JSON.stringify would do.
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return boundValue((value.toJSON as () => unknown)(), limits, depth + 1);
  }
  if (Array.isArray(value)) {
    const items: unknown[] = value
      .slice(0, limits.items)
      .map((item) => boundValue(item, limits, depth + 1) ?? null);
    if (value.length > limits.items) items.push(cut);
    return items;
  }
  const entries = Object.entries(value);
  const bounded = entries
    .slice(0, limits.items)
    .map(
      ([key, item]) => [boundString(key, limits.keyCharacters), boundValue(item, limits, depth + 1)] as const,
    );
  if (entries.length > limits.items) bounded.push([cut, entries.length - limits.items]);
  return Object.fromEntries(bounded);
}
