import type { OpenedSession } from '../session/types.ts';

/** Something that goes on under a session, until its session ends. */
export interface UnderSession {
  readonly session: OpenedSession | undefined;
  /** The session, or what an access token stands for, under which it streams events: that has no end of its own. */
  readonly streamsUnder: OpenedSession | undefined;
  /** Its session has ended: so must it. */
  sessionEnded(): void;
}

/** A link of {@link Running}; what runs carries its own, so that nothing is allocated for it. */
export interface RunningLink extends UnderSession {
  /** Whether it is in the list; and its neighbours there. Written by {@link Running} alone. */
  isRunning: boolean;
  newer: RunningLink | undefined;
  older: RunningLink | undefined;
}

/**
 * What runs just now. Every request with a session enters and leaves, so this is a list through the entries themselves: a Set of
 * objects that live for a moment cost half as much again as the whole request, in garbage collection.
 */
export class Running implements Iterable<UnderSession> {
  #newest: RunningLink | undefined;

  add(link: RunningLink): void {
    if (link.isRunning) return;
    link.isRunning = true;
    link.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = link;
    this.#newest = link;
  }

  delete(link: RunningLink): void {
    if (!link.isRunning) return;
    link.isRunning = false;
    const { newer, older } = link;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    if (older !== undefined) older.newer = newer;
    // A link that is gone must hold nobody: what is old keeps what is young alive otherwise.
    link.newer = undefined;
    link.older = undefined;
  }

  /** From the newest on. Whoever ends what it finds should take a copy first. */
  *[Symbol.iterator](): Generator<RunningLink> {
    for (let link = this.#newest; link !== undefined; link = link.older) yield link;
  }
}
