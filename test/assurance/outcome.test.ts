import t from 'tap';
import { decide } from '../../src/assurance/decide.ts';
import { decideOutcome, findModeInForce, stand } from '../../src/assurance/outcome.ts';
import type { MfaSettings } from '../../src/assurance/policy.ts';
import type { EnforcementSubject, Mode, Outcome } from '../../src/assurance/types.ts';
import { policyOf } from './policies.ts';

const until = '2027-01-31';
const untilMs = Date.UTC(2027, 0, 31);
const before = untilMs - 1;
const withMfa = { amr: ['mfa'] };
const weakly = { amr: ['otp'] };
const without = { amr: ['pwd'] };
const nobody: EnforcementSubject = { verifiedEmail: undefined, groups: undefined };

t.test('mode by verdict', async (t) => {
  const aal1: Record<Mode, Outcome> = {
    enforce: { admit: false, aal: 'aal1', status: 'rejected', reason: 'amr_not_mfa' },
    report_only: { admit: true, aal: 'aal1', status: 'would_reject' },
    carry_over: { admit: true, aal: 'aal1', status: 'none' },
    trust_idp: { admit: true, aal: 'aal1', status: 'attested' },
  };
  for (const mode of ['enforce', 'report_only', 'carry_over', 'trust_idp'] as const) {
    const policy = policyOf({ mode });
    const outcomeOf = (claims: Record<string, unknown>) =>
      decideOutcome(decide(claims, policy, 0), policy, nobody, before);
    t.strictSame(outcomeOf(withMfa), { admit: true, aal: 'aal2', status: 'verified', weak: false }, mode);
    t.strictSame(outcomeOf(weakly), { admit: true, aal: 'aal2', status: 'verified', weak: true }, mode);
    t.strictSame(outcomeOf(without), aal1[mode], mode);
  }
});

t.test('a mode that does not exist refuses', async (t) => {
  const policy = { ...policyOf(), mode: 'lenient' as Mode };
  const verdict = decide(without, policy, 0);
  t.match(decideOutcome(verdict, policy, nobody, before), { admit: false, status: 'rejected' });
});

t.test('enforce_for: who is named, and who cannot be told apart, is enforced', async (t) => {
  const emails = ['Ann@Example.com'];
  const groups = ['admins'];
  const rows: readonly [Partial<EnforcementSubject>, { emails?: string; groups?: string; both?: string }][] =
    [
      // What each enforce_for makes of this user: e(nforced), r(eported), u(nknown, so enforced).
      [
        { verifiedEmail: 'ann@example.COM', groups: [] },
        { emails: 'e', groups: 'r', both: 'e' },
      ],
      [
        { verifiedEmail: 'bob@example.com', groups: ['users', 'admins'] },
        { emails: 'r', groups: 'e', both: 'e' },
      ],
      [
        { verifiedEmail: 'bob@example.com', groups: ['users'] },
        { emails: 'r', groups: 'r', both: 'r' },
      ],
      [
        { verifiedEmail: 'bob@example.com', groups: ['Admins', 'admins '] },
        { emails: 'r', groups: 'r', both: 'r' },
      ],
      [
        { verifiedEmail: 'bob@example.com', groups: [] },
        { emails: 'r', groups: 'r', both: 'r' },
      ],
      [
        { verifiedEmail: 'bob@example.com', groups: undefined },
        { emails: 'r', groups: 'u', both: 'u' },
      ],
      [
        { verifiedEmail: undefined, groups: ['users'] },
        { emails: 'u', groups: 'r', both: 'u' },
      ],
      [
        { verifiedEmail: undefined, groups: ['admins'] },
        { emails: 'u', groups: 'e', both: 'e' },
      ],
      [
        { verifiedEmail: 'ann@example.com', groups: undefined },
        { emails: 'e', groups: 'u', both: 'e' },
      ],
      [nobody, { emails: 'u', groups: 'u', both: 'u' }],
    ];
  const why = { e: 'enforced_for_user', r: 'as_written', u: 'user_not_told_apart' } as const;
  const lists = {
    emails: { emails, groups: [] },
    groups: { emails: [], groups },
    both: { emails, groups },
  };
  for (const [user, expected] of rows) {
    for (const key of ['emails', 'groups', 'both'] as const) {
      const policy = policyOf({ mode: 'report_only', enforce_for: lists[key] });
      const subject = { ...nobody, ...user };
      const title = `${JSON.stringify(user)} against ${key}`;
      const letter = expected[key] as keyof typeof why;
      t.strictSame(
        findModeInForce(policy, subject, before),
        { mode: letter === 'r' ? 'report_only' : 'enforce', why: why[letter] },
        title,
      );
      const { outcome } = stand(without, policy, subject, 0, before);
      t.equal(outcome.status, letter === 'r' ? 'would_reject' : 'rejected', title);
      t.equal(stand(withMfa, policy, subject, 0, before).outcome.status, 'verified', title);
    }
  }
});

t.test('an enforce_for that names nobody changes nothing', async (t) => {
  const policy = policyOf({ mode: 'report_only', enforce_for: { emails: [], groups: [] } });
  t.strictSame(findModeInForce(policy, nobody, before), { mode: 'report_only', why: 'as_written' });
});

t.test('report_only_until: from that moment on the rule is enforced', async (t) => {
  const policy = policyOf({ mode: 'report_only', report_only_until: until });
  const statusAt = (nowMs: number) => stand(without, policy, nobody, 0, nowMs).outcome.status;
  t.equal(statusAt(untilMs - 1), 'would_reject');
  t.equal(statusAt(untilMs), 'rejected');
  t.equal(statusAt(untilMs + 1), 'rejected');
  t.equal(statusAt(Number.NaN), 'rejected', 'a clock that tells no time is no way around');
  t.equal(stand(withMfa, policy, nobody, 0, untilMs).outcome.status, 'verified');
});

t.test('report_only_until and enforce_for together', async (t) => {
  const named: Partial<MfaSettings> = {
    mode: 'report_only',
    report_only_until: until,
    enforce_for: { emails: [], groups: ['admins'] },
  };
  const policy = policyOf(named);
  const user = { verifiedEmail: undefined, groups: ['users'] };
  const admin = { verifiedEmail: undefined, groups: ['admins'] };
  t.equal(findModeInForce(policy, user, before).why, 'as_written');
  t.equal(findModeInForce(policy, admin, before).why, 'enforced_for_user');
  t.equal(findModeInForce(policy, user, untilMs).why, 'report_only_ended');
  t.equal(findModeInForce(policy, admin, untilMs).why, 'report_only_ended');
});

t.test('a standing says until when it holds', async (t) => {
  const policy = policyOf({ mode: 'report_only', report_only_until: until });
  t.equal(
    stand(without, policy, nobody, 0, before).validUntilMs,
    untilMs,
    'a session that the date will end',
  );
  t.equal(stand(without, policy, nobody, 0, untilMs).validUntilMs, Infinity, 'after the date');
  t.equal(
    stand(withMfa, policy, nobody, 0, before).validUntilMs,
    Infinity,
    'a session that the date leaves alone',
  );
  t.equal(
    stand(without, policyOf({ mode: 'report_only' }), nobody, 0, before).validUntilMs,
    Infinity,
    'no date',
  );
});

t.test('freshness of the sign-in is judged at the callback, not now', async (t) => {
  const policy = policyOf({ max_auth_age: 900_000 });
  const claims = { ...withMfa, auth_time: 1_000_000 };
  const hoursLater = 1_000_000_000 + 8 * 3_600_000;
  t.equal(stand(claims, policy, nobody, 1_000_100, hoursLater).outcome.status, 'verified');
  t.equal(stand(claims, policy, nobody, 1_009_000, hoursLater).outcome.status, 'rejected');
});
