import { createHash } from 'node:crypto';
import type { Store } from './types.ts';

/**
 * Claims a token for its only use: true for the one caller, over all replicas, that comes first. The store sees its hash.
 *
 * @param purpose keeps the kinds of token apart, e.g. `attempt`
 * @param ttlMs milliseconds; at least as long as the token could be used otherwise
 * @throws store_unavailable: then it must count as used, for nobody knows
 */
export function claimOnce(store: Store, purpose: string, token: string, ttlMs: number): Promise<boolean> {
  return store.putIfAbsent(keyOf(purpose, token), Buffer.from('1'), ttlMs);
}

/**
 * Whether a token has been claimed already; for what is claimed only once its work is done.
 *
 * @throws store_unavailable
 */
export async function wasClaimed(store: Store, purpose: string, token: string): Promise<boolean> {
  return (await store.life(keyOf(purpose, token))) !== undefined;
}

function keyOf(purpose: string, token: string): string {
  const hash = createHash('sha256')
    .update(`sallyport/v1/once/${purpose}\n`)
    .update(token)
    .digest('base64url');
  return `once:${purpose}:${hash}`;
}
