import type { FastifyRequest } from 'fastify';
import type { Source } from '../generation.ts';
import type { SessionCard } from '../session/card.ts';
import { createDirectory } from '../session/directory.ts';
import { createEndNotes } from '../session/end-notes.ts';
import { createEndings } from '../session/endings.ts';
import { recordEnded } from '../signin/ended-audit.ts';
import type { EndpointTools } from './endpoint.ts';

/** Ends sessions because their IdP says so. */
export interface Logouts {
  /**
   * Ends every session of a source that belongs to the subject, to the IdP's session, or, where both are named, to both; a session that
   * was not told its IdP's `sid` can't be told apart by it, and ends with its subject's others. A sign-in that is under way and began
   * at the IdP before this comes to nothing.
   *
   * @param named `issuedAt`: the logout token's `iat`
   * @throws store_unavailable
   */
  end(
    request: FastifyRequest,
    source: Source,
    named: {
      readonly subject: string | undefined;
      readonly sid: string | undefined;
      readonly issuedAt?: number;
    },
    why: 'backchannel' | 'frontchannel',
  ): Promise<void>;
}

/** The logouts over the store. */
export function createLogouts(
  deps: Pick<EndpointTools, 'store' | 'sealing' | 'clock' | 'audit' | 'meter'>,
): Logouts {
  const directory = createDirectory(deps);
  const notes = createEndNotes(deps);
  const endings = createEndings({ store: deps.store, directory, clock: deps.clock });
  return {
    async end(request, { config }, { subject, sid, issuedAt }, why) {
      const { issuer, id } = config;
      // First: what is stored from now on sees the note, what was stored before is found.
      // A store that is full takes no note, and lets go of sessions all the same: those end, and whoever asked has to come again.
      const [noted] = await Promise.allSettled([
        notes.leave({ why, issuer, source: id, subject, sid, issuedAt }),
      ]);
      const [bySid, bySubject] = await Promise.all([
        sid === undefined ? [] : directory.find('sid', issuer, sid),
        subject === undefined ? [] : directory.find('sub', issuer, subject),
      ]);
      const named = new Set(bySid);
      const belongs = (card: SessionCard | undefined, key: string): boolean => {
        // Without its card nothing is known of it but that it was found.
        if (card === undefined) return sid === undefined || named.has(key);
        if (card.source !== id) return false;
        if (subject !== undefined && card.subject !== subject) return false;
        return sid === undefined || card.sid === sid || (subject !== undefined && card.sid === undefined);
      };
      await endings.end(
        [...new Set([...bySid, ...bySubject])],
        (ended) => recordEnded(deps, request, ended, id, why),
        belongs,
      );
      if (noted.status === 'rejected') throw noted.reason as Error;
      deps.meter.logout(why);
    },
  };
}
