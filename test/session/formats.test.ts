import t from 'tap';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { cardOf, decodeCard, encodeCard } from '../../src/session/card.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import { createStillClock } from './clock.ts';
import { makeRecord } from './record-fixture.ts';

/* What a release after this one may have written: more than this one knows, or something else altogether. */

function build() {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
  const sessions = createSessions({
    store,
    sealing,
    clock,
    randomness: systemRandomness,
    meter: silentMeter,
    idleTimeoutMs: 3_600_000,
    absoluteTimeoutMs: 86_400_000,
    cacheMs: 5000,
    outageGraceMs: 0,
    maxCached: 10,
  });
  const cookieValue = Buffer.alloc(32, 9).toString('base64url');
  const keep = (content: unknown): Promise<void> =>
    store.put(
      sealing.sessionKey(cookieValue),
      sealing.sealSession(
        cookieValue,
        Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
      ),
      3_600_000,
    );
  return { clock, sessions, cookieValue, keep };
}

t.test('a record with members that this release does not know opens', async (t) => {
  const { clock, sessions, cookieValue, keep } = build();
  const record = makeRecord(clock.nowMs());
  await keep({
    ...record,
    newer: { deeply: ['unknown'] },
    identity: { ...record.identity, pronouns: 'she' },
    tokens: { ...record.tokens, dpopKey: 'x' },
  });
  t.match((await sessions.open(cookieValue))?.record, { id: record.id, identity: { username: 'margaret' } });
});

t.test('a record without what releases after the first have added opens', async (t) => {
  const { clock, sessions, cookieValue, keep } = build();
  // The first release wrote no lineage.
  const first = makeRecord(clock.nowMs());
  t.notOk('lineage' in first);
  await keep(first);
  t.match((await sessions.open(cookieValue))?.record, { id: first.id });
});

t.test('a record of an unknown version, or of no shape at all, is no session, and no fault', async (t) => {
  const { clock } = build();
  const record = makeRecord(clock.nowMs());
  for (const content of [
    { ...record, version: 2 },
    { ...record, version: '1' },
    { ...record, version: undefined },
    { ...record, issuedAt: 'then' },
    { ...record, expiresAt: null },
    [],
    null,
    'no JSON',
    '',
  ]) {
    const { sessions, cookieValue, keep } = build();
    await keep(content);
    t.equal(await sessions.open(cookieValue), undefined, JSON.stringify(content));
    t.equal(await sessions.end(cookieValue), undefined);
  }
});

t.test('a card with more members is read; one of another version is not, and is no fault', (t) => {
  const { clock } = build();
  const card = cardOf(makeRecord(clock.nowMs()), undefined);
  const bytes = (content: unknown): Buffer => Buffer.from(JSON.stringify(content));
  t.match(decodeCard(encodeCard(card)), { id: card.id });
  t.match(decodeCard(bytes({ ...card, newer: 1 })), { id: card.id });
  for (const other of [{ ...card, version: 2 }, null, [], 7]) t.equal(decodeCard(bytes(other)), undefined);
  t.equal(decodeCard(Buffer.from('no JSON')), undefined);
  t.end();
});
