import t from 'tap';
import { stand } from '../../src/assurance/outcome.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { HeldRecord, SessionRecord } from '../../src/session/types.ts';
import { refreshedRecord } from '../../src/signin/refreshed-record.ts';
import { makeRecord } from '../session/record-fixture.ts';
import { buildSource } from './source.ts';

const nowMs = 1_800_000_000_000;
const nowSeconds = nowMs / 1000;

function refresh(
  claims: Record<string, unknown> | undefined,
  given: Partial<ConfigInput['sources'][number]> = {},
  changes: Partial<SessionRecord> = {},
) {
  const source = buildSource(given) as Parameters<typeof refreshedRecord>[2];
  const judge = ({ identity, claims: signIn, authenticatedAt, refreshed }: HeldRecord) => {
    const subject = { verifiedEmail: identity.email, groups: identity.groups };
    return stand(signIn, source.policy, subject, authenticatedAt, nowMs, refreshed);
  };
  const brought = {
    ...{ idToken: 'id', accessToken: 'access', accessTokenExpiresAt: nowSeconds + 300 },
    refreshToken: undefined,
  };
  const record = makeRecord(nowMs, changes);
  return refreshedRecord(record, { claims, ...brought }, source, judge, false, nowSeconds);
}

t.test(
  'whatever a refresh takes away makes the session narrower, so that what runs under it is closed',
  async (t) => {
    const mfa = { mode: 'enforce', preset: 'custom', aal2_amr_values: 'standard' } as const;
    const rehearsal: Partial<ConfigInput['sources'][number]> = {
      mfa: { ...mfa, mode: 'report_only', enforce_for: { groups: ['admins'], emails: [] } },
    };
    const password = { claims: { sub: 'subject-4711', amr: ['pwd'] } };
    const two = { identity: { ...makeRecord(nowMs).identity, groups: ['flight-software', 'ops'] } };
    for (const [title, result, narrowed] of [
      ['nothing said', refresh(undefined, { mfa }), false],
      ['the same said', refresh({ amr: ['pwd', 'otp'], groups: ['flight-software'] }, { mfa }), false],
      ['the evidence is gone', refresh({ amr: ['pwd'] }, { mfa }), true],
      ['out of a group', refresh({ groups: ['ops'] }, { mfa }, two), true],
      ['into a group', refresh({ groups: ['flight-software', 'more'] }, { mfa }), false],
      [
        'out of every allowed group',
        refresh({ groups: ['more', 'flight-software'] }, { mfa, allowed_groups: ['staff'] }),
        true,
      ],
      [
        'into a group for whom the rule holds',
        refresh({ groups: ['flight-software', 'admins'] }, rehearsal, password),
        true,
      ],
      ['into another one', refresh({ groups: ['flight-software', 'more'] }, rehearsal, password), false],
    ] as const) {
      t.equal(result.narrowed, narrowed, title);
    }
  },
);
