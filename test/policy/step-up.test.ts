import fc from 'fast-check';
import t from 'tap';
import type { Standing } from '../../src/assurance/types.ts';
import { decideGate } from '../../src/policy/gate.ts';
import { plainRule } from '../../src/policy/routes.ts';
import type { GateRequest, RouteRule, SessionFacts } from '../../src/policy/types.ts';

const origin = 'https://forge.example.com';
const request: GateRequest = {
  method: 'GET',
  navigation: true,
  upgrade: false,
  fetchSite: 'same-origin',
  requestOrigin: undefined,
  publicOrigins: new Set([origin]),
  credential: undefined,
};

/** What an IdP does with whoever is sent to it, whatever it is asked for. */
interface Idp {
  readonly id: string;
  readonly enforce: boolean;
  /** Which AAL each visit comes to, in turn. */
  readonly aal2: readonly boolean[];
  /** `auth_time` relative to the visit, in turn; undefined: none is sent. */
  readonly authTime: readonly (number | undefined)[];
}

const verdict = { aal: 'aal1' } as Standing['verdict'];

function standingOf(aal2: boolean): Standing {
  const outcome: Standing['outcome'] = aal2
    ? { admit: true, aal: 'aal2', status: 'verified', weak: false }
    : { admit: true, aal: 'aal1', status: 'would_reject' };
  return { verdict, outcome, validUntilMs: Infinity };
}

const ruleOf = (
  name: string,
  requireAal: RouteRule['requireAal'],
  maxAuthAgeSeconds: number | undefined,
) => ({
  ...plainRule(name, '/**', 'session'),
  requireAal,
  maxAuthAgeSeconds,
});

t.test(
  'no pattern of requests, tabs, sources and clocks loops: a navigation is sent away at most once',
  async () => {
    const idp = (id: string) =>
      fc.record<Idp>({
        id: fc.constant(id),
        enforce: fc.boolean(),
        aal2: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
        authTime: fc.array(fc.constantFrom(undefined, 0, -1, -61, -900, -961, -100_000, 59, 61, 100_000), {
          minLength: 1,
          maxLength: 4,
        }),
      });
    const rules = fc.array(
      fc.record({
        aal: fc.constantFrom(undefined, 'aal2' as const),
        age: fc.constantFrom(undefined, 0, 60, 900),
      }),
      { minLength: 1, maxLength: 3 },
    );
    /** Tabs in the order in which something happens in them; each is at a page, or on its way back from an IdP. */
    const turns = fc.array(
      fc.record({
        tab: fc.nat(2),
        rule: fc.nat(2),
        first: fc.nat(1),
        replica: fc.integer({ min: -5, max: 5 }),
      }),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(idp('one'), idp('two'), rules, turns, (one, two, pages, schedule) => {
        const idps = [one, two];
        const visits = new Map<string, number>();
        let now = 1_800_000_000;
        let session: SessionFacts | undefined;
        const away = new Map<number, { source: Idp; rule: RouteRule; purpose: 'sign_in' | 'step_up' }>();

        /** A callback: what every sign-in does with the IdP's answer. */
        function callback(source: Idp, forced: boolean, replica: number): boolean {
          const visit = visits.get(source.id) ?? 0;
          visits.set(source.id, visit + 1);
          const aal2 = source.aal2[visit % source.aal2.length] === true;
          if (source.enforce && !aal2) return false;
          const offset = source.authTime[visit % source.authTime.length];
          session = {
            sourceId: source.id,
            groups: undefined,
            verifiedEmail: undefined,
            authTime: offset === undefined ? undefined : now + offset,
            authenticatedAt: now + replica,
            forced,
            standing: standingOf(aal2),
          };
          return true;
        }

        /** One look at a page. @returns where the tab is sent */
        function look(rule: RouteRule, first: number, replica: number) {
          const decision = decideGate(rule, request, session, (now + replica) * 1000);
          if (decision.kind !== 'sign_in' && decision.kind !== 'step_up') return undefined;
          const source = idps.find(({ id }) => id === session?.sourceId) ?? idps[first];
          return { source: source!, rule, purpose: decision.kind } as const;
        }

        for (const { tab, rule: at, first, replica } of schedule) {
          now += 1;
          const back = away.get(tab);
          if (back === undefined) {
            const page = pages[at % pages.length]!;
            const sent = look(ruleOf(`page-${at}`, page.aal, page.age), first, replica);
            if (sent !== undefined) away.set(tab, sent);
            continue;
          }
          away.delete(tab);
          if (!callback(back.source, back.purpose === 'step_up', replica)) continue;
          // Nobody has touched anything: the browser follows the redirect to the page.
          const again = look(back.rule, first, replica);
          // A sign-in may find that the page wants more, and is followed by one step-up; a step-up is followed by nothing.
          if (back.purpose === 'step_up' && again !== undefined) return false;
          if (again !== undefined) {
            if (again.purpose !== 'step_up') return false;
            if (callback(again.source, true, replica) && look(again.rule, first, replica) !== undefined)
              return false;
          }
        }
        return true;
      }),
      { numRuns: 5000 },
    );
  },
);
