import type { Clock } from '../kernel/clock.ts';
import { nowSeconds } from '../kernel/clock.ts';
import type { Sealing } from '../session/sealing.ts';

const purpose = 'signed-out-state';

/** How long somebody may take at the IdP to sign out there. Seconds. */
const stateLifeSeconds = 900;

/**
 * The `state` of an RP-initiated logout: what comes back with it has been where we sent it. Sealed, and in no cookie, since whoever
 * signs out is to be left without any of ours.
 *
 * @see OpenID Connect RP-Initiated Logout 1.0 section 2
 */
export function makeSignOutState(
  sourceId: string,
  { sealing, clock }: { readonly sealing: Pick<Sealing, 'sealShared'>; readonly clock: Clock },
): string {
  const content = JSON.stringify([sourceId, nowSeconds(clock)]);
  return sealing.sealShared(purpose, Buffer.from(content, 'utf8'), purpose).toString('base64url');
}

/** The source at which a sign-out has been completed, by the state that came back; undefined when it is none of ours, or old. */
export function readSignOutState(
  state: string | null,
  { sealing, clock }: { readonly sealing: Pick<Sealing, 'openShared'>; readonly clock: Clock },
): string | undefined {
  if (state === null || state.length > 512) return undefined;
  const bytes = sealing.openShared(purpose, Buffer.from(state, 'base64url'), purpose);
  if (bytes === undefined) return undefined;
  const content = JSON.parse(bytes.toString('utf8')) as unknown;
  // Another version of us may have written another shape.
  if (!Array.isArray(content)) return undefined;
  const [sourceId, madeAt] = content as [string, number];
  return Math.abs(nowSeconds(clock) - madeAt) <= stateLifeSeconds ? sourceId : undefined;
}
