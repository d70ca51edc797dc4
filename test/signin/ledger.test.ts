import t from 'tap';
import { silentMeter, type Meter } from '../../src/kernel/meter.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStore } from '../../src/session/store.ts';
import { createLedger } from '../../src/signin/ledger.ts';
import type { SignInDeps } from '../../src/signin/types.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';

const redis = await startRedis();
const [first, second] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const hourMs = 3_600_000;

/** A replica's ledger over the one Redis. */
function openReplica(secrets: readonly Buffer[], offsetMs = 0) {
  const clock = { nowMs: () => Date.UTC(2026, 10, 21, 12, 30) + offsetMs };
  const store = createStore(
    { redis: { key_prefix: 'sp:', url: redis.url } },
    { meter: silentMeter, clock: systemClock, logWarning: () => undefined },
  );
  const sealing = createSealing(secrets, systemRandomness);
  const faults: unknown[] = [];
  const ledger = createLedger({ store, sealing, clock, logFault: (error) => void faults.push(error) });
  const { meter, audit } = ledger.watch<Pick<SignInDeps, 'meter' | 'audit'>>({
    meter: silentMeter,
    audit: { write: () => undefined },
  });
  return { store, ledger, meter, audit, faults };
}

const verified: Parameters<Meter['mfaVerdict']>[0] = {
  source: 'entra',
  aal: 'aal2',
  outcome: 'verified',
  reason: 'none',
  strength: 'strict',
};

t.test(
  'replicas share one ledger, across a rotation of the secret, and Redis can read nothing of it',
  async (t) => {
    const one = openReplica([first]);
    const two = openReplica([second, first]);
    const later = openReplica([second, first], hourMs);
    t.teardown(async () => {
      for (const { store } of [one, two, later]) await store.close();
      await redis.stop();
    });
    for (const { store } of [one, two, later]) await store.ping();

    for (let index = 0; index < 10; index += 1)
      for (const { meter } of [one, two]) meter.mfaVerdict(verified);
    later.meter.mfaVerdict(verified);
    later.meter.mfaVerdict({ ...verified, source: 'other', strength: 'weak' });
    later.meter.signIn('entra', 'failed');
    later.meter.signIn('entra', 'succeeded');
    one.audit.write({
      action: 'tenant.auth_policy.oidc_mfa.rejected',
      requestId: 'request-1',
      clientIp: '192.0.2.1',
      user: { id: 'subject-1', email: 'eve@example.com' },
      authSource: 'entra',
      tenant: undefined,
      fields: {
        reason: 'amr_not_mfa',
        observed: { amr: ['pwd'] },
        required: { accept: 'amr' },
        hint: 'look there',
      },
    });

    const found = await until(async () => {
      const now = await later.ledger.read('entra');
      return now.counts.reduce((all, { count }) => all + count, 0) === 22 && now.refusals.length === 1
        ? now
        : undefined;
    }, 'all of it is written');
    t.same(
      found.counts
        .map(({ hourMs: hour, outcome, strength, count }) => [
          new Date(hour).toISOString(),
          outcome,
          strength,
          count,
        ])
        .sort(),
      [
        ['2026-11-21T12:00:00.000Z', 'verified', 'strict', 20],
        ['2026-11-21T13:00:00.000Z', 'failed', 'none', 1],
        ['2026-11-21T13:00:00.000Z', 'verified', 'strict', 1],
      ],
    );
    t.match(found.refusals, [
      { outcome: 'rejected', user: { email: 'eve@example.com' }, requestId: 'request-1' },
    ]);
    t.match((await two.ledger.read('other')).counts, [{ strength: 'weak', count: 1 }]);
    t.same(await two.ledger.read('nobody'), { counts: [], refusals: [] });
    t.equal(
      (await one.ledger.read('entra')).counts.reduce((all, { count }) => all + count, 0),
      10,
      'who lacks the new secret sees its own',
    );

    const dump = (await redis.dump()).join('\n');
    t.ok(dump.length > 0);
    t.notMatch(dump, /entra|other|verified|rejected|eve|amr|2026/, 'nothing readable');
    const keys: string[] = [];
    for await (const key of one.store.keys('')) keys.push(key);
    t.equal(keys.length, 4, 'a key for each source, day and secret, and one of refusals');
    for (const key of keys) {
      t.match(key, /^ledger:[\w-]{43}$/);
      t.ok(((await one.store.life(key)) ?? Infinity) <= 15 * 24 * hourMs, 'it expires');
    }
    t.same(
      [one, two, later].flatMap(({ faults }) => faults),
      [],
    );
  },
);
