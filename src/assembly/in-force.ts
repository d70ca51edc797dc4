import { SallyportError } from '../kernel/error.ts';
import type { Parts } from './parts.ts';

/** What is in force: one assignment swaps it whole. Whoever outlives a reload asks here each time. */
export interface InForce {
  /** @throws internal before anything is in force */
  current(): Parts;
  /** The same, where there may be nothing yet. */
  known(): Parts | undefined;
  swap(next: Parts): void;
}

/** Nothing is in force yet. */
export function createInForce(): InForce {
  let parts: Parts | undefined;
  return {
    current() {
      if (parts === undefined) throw new SallyportError('internal', 'nothing is in force yet');
      return parts;
    },
    known: () => parts,
    swap(next) {
      parts = next;
    },
  };
}
