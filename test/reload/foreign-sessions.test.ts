import { mock } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { AuditEvent } from '../../src/audit/types.ts';
import type { SourceConfig } from '../../src/config/schema.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createForeignSessions } from '../../src/reload/foreign-sessions.ts';
import { createDirectory } from '../../src/session/directory.ts';
import { createEndings } from '../../src/session/endings.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { OpenedSession, Sessions, Store } from '../../src/session/types.ts';
import { createStillClock } from '../session/clock.ts';
import { makeRecord } from '../session/record-fixture.ts';
import { sessionsDeps } from '../session/sessions-deps.ts';
import { until } from '../support/until.ts';

const issuer = 'https://idp.example.com';
const source = (id: string) => ({ id, issuer, client_id: 'forge' }) as SourceConfig;
const [kept, removed] = [source('kept'), source('removed')];

function build() {
  const clock = createStillClock();
  const memory = createMemoryStore(clock);
  let down = false;
  const failing = (): Promise<never> => Promise.reject(new SallyportError('store_unavailable', 'down'));
  const store: Store = {
    ...memory,
    delete: (key) => (down ? failing() : memory.delete(key)),
  };
  const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
  const directory = createDirectory({ store, sealing });
  const audit: AuditEvent[] = [];
  let looks = 0;
  const foreign = createForeignSessions({
    sessions: createSessions(sessionsDeps({ store, sealing, clock, cacheMs: 0 })),
    directory: {
      cards() {
        looks += 1;
        return directory.cards();
      },
    },
    endings: createEndings({ store, directory, clock }),
    audit: { write: (event) => audit.push(event) },
    meter: { sessionEnded: () => undefined },
    logFault: (error) => t.error(error),
    retryMs: 3000,
  });
  const signIn = async (of: string, id: string) => {
    const record = makeRecord(clock.nowMs(), { source: of, clientId: 'forge', issuer, id });
    const { cookieValue, session } = await foreign.sessions.create(record);
    return {
      session,
      cookieValue,
      lives: async () => (await foreign.sessions.open(cookieValue)) !== undefined,
    };
  };
  return {
    ...{ clock, foreign, audit, signIn },
    looks: () => looks,
    fail: (value: boolean) => (down = value),
    ended: () => audit.map(({ fields }) => fields['session_id']),
    inForce: (...sources: readonly SourceConfig[]) => foreign.inForce(sources, clock.nowMs()),
  };
}

/** Whatever was begun has been done: a store in memory waits for no clock. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
}

t.test('requests have their turn while the sessions of a removed source end, in memory too', async (t) => {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  t.teardown(() => store.close());
  const sealing = createSealing([Buffer.alloc(32, 7)], systemRandomness);
  const directory = createDirectory({ store, sealing });
  const record = makeRecord(clock.nowMs());
  const many = 450;
  for (let i = 0; i < many; i += 1) {
    const identity = { ...record.identity, subject: `user-${i}` };
    await store.put(`session:${i}`, Buffer.from('sealed'), 60_000);
    await directory.enter(`session:${i}`, { ...record, identity }, undefined, {
      recordMs: 60_000,
      sessionMs: 60_000,
    });
  }
  let ended = 0;
  const foreign = createForeignSessions({
    sessions: {} as Sessions,
    ...{ directory, endings: createEndings({ store, directory, clock }) },
    audit: { write: () => (ended += 1) },
    meter: { sessionEnded: () => undefined },
    logFault: (error) => t.fail('no fault', { error }),
  });
  const source = (id: string): SourceConfig =>
    ({ id, issuer: record.issuer, client_id: record.clientId }) as SourceConfig;
  foreign.inForce([source(record.source)], clock.nowMs());
  foreign.inForce([source('other')], clock.nowMs());
  const seen: number[] = [];
  while (ended < many && seen.length < 1000) {
    await setImmediate();
    seen.push(ended);
  }
  t.equal(ended, many);
  const most = Math.max(...seen.map((count, index) => count - (seen[index - 1] ?? 0)));
  t.ok(most <= 100, `${most} at once`);
  await foreign.close();
});

t.test("a source that goes takes its own sessions along, and nobody else's", async (t) => {
  const { foreign, inForce, signIn, ended, audit, looks } = build();
  inForce(kept, removed);
  const stays = await signIn('kept', 'a');
  const goes = [];
  for (let each = 0; each < 120; each += 1) goes.push(await signIn('removed', `b${each}`));
  inForce(kept, removed, source('added'));
  t.equal(looks(), 0, 'nothing has gone: nothing is looked for');
  inForce(kept);
  await until(() => audit.length === goes.length);
  t.ok(await stays.lives());
  for (const each of goes) if (await each.lives()) t.fail('one of them lives on');
  t.notOk(ended().includes('a'));
  t.match(audit[0], { authSource: 'removed', user: { name: 'margaret' }, fields: { why: 'source_removed' } });
  await foreign.close();
});

t.test('a source that has come back keeps who signs in from then on', async (t) => {
  const { foreign, inForce, signIn, ended } = build();
  inForce(removed);
  inForce(kept);
  inForce(kept, removed);
  const { session, lives } = await signIn('removed', 'a');
  foreign.seen(session);
  inForce(removed);
  await settle();
  t.ok(await lives());
  t.same(ended(), []);
  await foreign.close();
});

t.test('while the store is down it is tried again; closed, it is not', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const wait = async () => {
    mock.timers.tick(3000);
    await settle();
  };
  for (const closed of [false, true]) {
    const { foreign, inForce, signIn, ended, fail, looks } = build();
    inForce(removed);
    const { lives } = await signIn('removed', 'a');
    fail(true);
    inForce(kept);
    await settle();
    await wait();
    t.equal(looks(), 2);
    t.same(ended(), []);
    if (closed) await foreign.close();
    fail(false);
    await wait();
    t.same(ended(), closed ? [] : ['a']);
    t.equal(await lives(), closed);
    await foreign.close();
  }
});

t.test('of a source that was never here, what is older than the file ends when it is seen', async (t) => {
  const { foreign, inForce, signIn, ended, clock, fail } = build();
  const old = await signIn('elsewhere', 'old');
  const gone = await signIn('elsewhere', 'gone');
  clock.advance(61_000);
  inForce(kept);
  const young = await signIn('elsewhere', 'young');
  const see = async ({ session }: { session: OpenedSession }) => {
    foreign.seen(session);
    await settle();
  };
  await see(young);
  t.ok(await young.lives(), 'another replica may have that source already');
  fail(true);
  await see(old);
  t.same(ended(), []);
  fail(false);
  await see(old);
  await see(old);
  await foreign.sessions.end(gone.cookieValue);
  await see(gone);
  t.same(ended(), ['old'], 'once the store lets it, and once');
  t.notOk(await old.lives());
  await foreign.close();
});
