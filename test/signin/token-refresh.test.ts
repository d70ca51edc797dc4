import t from 'tap';
import type { AuditEvent } from '../../src/audit/types.ts';
import { buildGeneration } from '../../src/assembly/generation-builder.ts';
import { configSchema } from '../../src/config/schema.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import type { RequestFacts } from '../../src/kernel/request-facts.ts';
import type { Provider, RefreshRequest } from '../../src/provider/types.ts';
import { keptTokens } from '../../src/session/kept-tokens.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { OpenedSession, Store, StoreHealth } from '../../src/session/types.ts';
import { createTokenRefresh } from '../../src/signin/token-refresh.ts';
import { createStillClock } from '../session/clock.ts';
import { makeRecord } from '../session/record-fixture.ts';
import { until } from '../support/until.ts';

const lifeSeconds = 60;
const facts = { id: 'request-1', clientIp: '192.0.2.7' } as RequestFacts;

/** Replicas over one store, at an IdP that notes what is spent and rotates it. */
function build(mfa: Readonly<Record<string, unknown>> = { mode: 'carry_over' }) {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const sealing = createSealing([Buffer.alloc(32, 7)], systemRandomness);
  const record = { ...makeRecord(clock.nowMs()), source: 'idp', clientId: 'forge' };
  const spent: string[] = [];
  const idp: { answers: Promise<unknown> } = { answers: Promise.resolve() };
  const nowSeconds = (): number => Math.floor(clock.nowMs() / 1000);
  const provider = {
    async refresh({ refreshToken }: RefreshRequest) {
      const number = spent.push(refreshToken);
      await idp.answers;
      return {
        refreshed: {
          claims: undefined,
          idToken: undefined,
          accessToken: `access-${number}`,
          accessTokenExpiresAt: nowSeconds() + lifeSeconds,
          refreshToken: `refresh-${number}`,
        },
      };
    },
  } as Partial<Provider> as Provider;
  const generation = buildGeneration(
    configSchema.parse({
      server: { public_url: 'https://forge.example.com' },
      upstream: { url: 'http://127.0.0.1:3000' },
      session: { secrets: ['x'.repeat(32)] },
      sources: [
        {
          ...{ id: 'idp', issuer: record.issuer, client_id: 'forge', client_secret: 'a-secret' },
          mfa,
        },
      ],
    }),
    { providerOf: () => provider, identityHeaders: { names: [], headersFor: () => [] } },
  );
  const replica = (ownStore: Store, warned: (message: string) => void = (message) => t.fail(message)) => {
    const audit: AuditEvent[] = [];
    const results: string[] = [];
    const sessions = createSessions({
      ...{ store: ownStore, sealing, clock, randomness: systemRandomness, meter: silentMeter },
      ...{ idleTimeoutMs: 8 * 3_600_000, absoluteTimeoutMs: 24 * 3_600_000 },
      ...{ cacheMs: 3_600_000, outageGraceMs: 0, maxCached: 100 },
    });
    const refresh = createTokenRefresh({
      ...{ sessions, store: ownStore, clock, randomness: systemRandomness },
      meter: { ...silentMeter, tokenRefresh: (_source, result) => void results.push(result) },
      audit: { write: (event) => void audit.push(event) },
      current: () => generation,
      logWarning: warned,
      logFault: (error) => t.error(error),
    });
    return {
      ...{ sessions, refresh, audit, results },
      notice: (session: OpenedSession) => refresh.due(session, facts, generation),
    };
  };
  const tokens = keptTokens(
    {
      idToken: 'id',
      accessToken: 'access-0',
      accessTokenExpiresAt: nowSeconds() + lifeSeconds,
      refreshToken: 'refresh-0',
    },
    false,
    nowSeconds(),
  );
  return { clock, store, record: { ...record, tokens }, spent, replica, idp };
}

t.test('a replica that has heard nothing of another’s refresh takes that, and spends nothing', async (t) => {
  const { clock, store, record, spent, replica } = build();
  const [one, deaf] = [replica(store), replica({ ...store, listen: () => () => undefined })];
  const { cookieValue } = await one.sessions.create(record);
  const stale = await deaf.sessions.open(cookieValue);
  clock.advance(50_000);
  one.notice((await one.sessions.open(cookieValue))!);
  await until(() => one.audit.length === 1);
  t.same(spent, ['refresh-0']);
  t.equal(deaf.sessions.peek(cookieValue), stale, 'it serves what it knows');

  t.equal(deaf.notice(stale!), undefined);
  await until(() => deaf.sessions.peek(cookieValue) === undefined, 'it has looked');
  t.same(spent, ['refresh-0']);
  t.same(deaf.audit, []);
  const fresh = await deaf.sessions.open(cookieValue);
  t.equal(fresh?.record.tokens.refreshDueAt, clock.nowMs() / 1000 + 48);
  t.match(one.audit, [
    { action: 'session.refreshed', requestId: 'request-1', fields: { result: 'refreshed', lowered: false } },
  ]);
  await Promise.all([one.refresh.close(), deaf.refresh.close()]);
});

t.test(
  'a refresh writes the record and nothing of its life, and closing waits for what is spent',
  async (t) => {
    const { clock, store, record, replica } = build();
    const one = replica(store);
    const { cookieValue, session } = await one.sessions.create(record);
    const lifeBefore = await store.life(session.key!);
    clock.advance(50_000);
    one.notice(session);
    await one.refresh.close();
    t.equal(one.audit.length, 1);
    t.equal(await store.life(session.key!), lifeBefore! - 50_000);
    const { tokens, ...rest } = (await one.sessions.end(cookieValue))!;
    const { tokens: tokensBefore, ...before } = record;
    t.strictSame(JSON.parse(JSON.stringify(rest)), JSON.parse(JSON.stringify(before)));
    t.match(tokens, { idToken: 'id', refreshToken: 'refresh-1' });
    t.equal(tokensBefore.refreshToken, 'refresh-0');
    t.equal(one.notice(session), undefined, 'and begins no more');
  },
);

t.test('a session that ends while its tokens are refreshed stays ended', async (t) => {
  const { clock, store, record, spent, replica } = build();
  const one = replica({
    ...store,
    // The sign-out comes between the IdP's answer and the write.
    async replace(...given) {
      await store.delete(given[0]);
      return store.replace(...given);
    },
  });
  const { cookieValue, session } = await one.sessions.create(record);
  clock.advance(50_000);
  one.notice(session);
  await one.refresh.close();
  t.equal(spent.length, 1);
  t.equal(await store.get(session.key!), undefined);
  t.same(one.audit, []);
  clock.advance(3_600_000);
  t.equal(await one.sessions.open(cookieValue), undefined);
});

t.test(
  'an outage outlasts the lock: who spent a token writes it down before anybody spends anew',
  async (t) => {
    const { clock, store, record, spent, replica, idp } = build();
    let health: StoreHealth = store.health();
    let writes = 0;
    const reachable: Store = {
      ...store,
      health: () => health,
      replace(...given) {
        writes += 1;
        return health.up
          ? store.replace(...given)
          : Promise.reject(new SallyportError('store_unavailable', 'out'));
      },
    };
    const [one, other] = [replica(reachable), replica(reachable)];
    const { cookieValue } = await one.sessions.create(record);
    const known = (await other.sessions.open(cookieValue))!;
    clock.advance(50_000);
    let answer: () => void = () => undefined;
    idp.answers = new Promise<void>((resolve) => (answer = resolve));
    one.notice((await one.sessions.open(cookieValue))!);
    await until(() => spent.length === 1);

    health = { up: false, sinceMs: clock.nowMs() };
    answer();
    await until(() => writes > 0, 'what was spent can not be written down');
    await store.delete(`lock:${known.key!}`);
    health = { up: true, again: true, sinceMs: clock.nowMs() };
    const before = await store.get(known.key!);
    other.notice(known);
    await other.refresh.close();
    t.same(spent, ['refresh-0'], 'the other replica knows that it can not know');
    t.same(await store.get(known.key!), before, 'though nothing was written yet');

    await until(() => one.audit.length === 1, 'the new token is written down');
    const third = replica(reachable);
    clock.advance(50_000);
    third.notice((await third.sessions.open(cookieValue))!);
    await third.refresh.close();
    t.same(spent, ['refresh-0', 'refresh-1']);
    t.match(third.audit, [{ fields: { result: 'refreshed' } }]);
  },
);

t.test('a refresh that can not be written down is told and counted', async (t) => {
  const { clock, store, record, spent, replica } = build();
  let writes = 0;
  const failing: Store = {
    ...store,
    replace() {
      writes += 1;
      return Promise.reject(new SallyportError('store_unavailable', 'out'));
    },
  };
  const warnings: string[] = [];
  const { sessions, refresh, notice, audit, results } = replica(
    failing,
    (message) => void warnings.push(message),
  );
  const { cookieValue } = await sessions.create(record);
  clock.advance(50_000);
  notice((await sessions.open(cookieValue))!);
  await until(() => writes > 0);
  // It has no more time to try again.
  const closing = refresh.close();
  await until(() => results.length > 0, 'it is counted');
  await closing;
  t.same(spent, ['refresh-0']);
  t.same(results, ['failed']);
  t.match(warnings, [/could not be written down/]);
  t.same(audit, [], 'nothing of it is in force');
});

t.test('nothing is spent for a session that opens nothing', async (t) => {
  const { clock, store, record, spent, replica } = build({ mode: 'enforce' });
  const one = replica(store);
  const byPassword = { ...record, claims: { ...record.claims, amr: ['pwd'] } };
  const { session } = await one.sessions.create(byPassword);
  clock.advance(50_000);
  t.equal(one.notice(session), undefined);
  await one.refresh.close();
  t.same(spent, []);
});
