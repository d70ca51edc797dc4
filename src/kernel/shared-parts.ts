/**
 * Things that several owners share: made once for each key, closed when the last owner has let go. A reload keeps by this
 * what its change does not touch.
 */
export class SharedParts<T> {
  readonly #parts = new Map<string, { readonly part: T; owners: number }>();
  readonly #close: (part: T) => void;

  /** @param close called once for each part that nobody owns any more; must not throw */
  constructor(close: (part: T) => void) {
    this.#close = close;
  }

  /** The part of this key, made now if there is none; each call makes one more owner. @throws what `make` throws */
  take(key: string, make: () => T): T {
    let held = this.#parts.get(key);
    if (held === undefined) this.#parts.set(key, (held = { part: make(), owners: 0 }));
    held.owners += 1;
    return held.part;
  }

  /** Whether some owner has it. */
  has(key: string): boolean {
    return this.#parts.has(key);
  }

  /** One owner lets go. */
  release(key: string): void {
    const held = this.#parts.get(key);
    if (held === undefined) return;
    held.owners -= 1;
    if (held.owners > 0) return;
    this.#parts.delete(key);
    this.#close(held.part);
  }

  /** All that is there; for the end. */
  drain(): readonly T[] {
    const parts = [...this.#parts.values()].map(({ part }) => part);
    this.#parts.clear();
    return parts;
  }
}
