import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { cardOf } from '../../src/session/card.ts';
import { createEndNotes, noteLifeMs, type EndNote } from '../../src/session/end-notes.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStillClock } from './clock.ts';
import { makeRecord } from './record-fixture.ts';

const [older, newer] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const issuer = 'https://idp.example.com';

function build() {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const notes = (secrets: readonly Buffer[] = [older]) =>
    createEndNotes({ store, clock, sealing: createSealing(secrets, systemRandomness) });
  const card = cardOf(makeRecord(clock.nowMs(), { claims: { sid: 's-1' } }), undefined);
  const nowSeconds = Math.floor(clock.nowMs() / 1000);
  /** A sign-in that began ten seconds ago, with a token of five seconds ago. */
  const underWay = { tokenIssuedAt: nowSeconds - 5, begunAtMs: clock.nowMs() - 10_000 };
  return { clock, notes, card, nowSeconds, underWay };
}

t.test('a note is for whom it names, and for nobody else', async (t) => {
  for (const [what, note, meant] of [
    ['the subject', { issuer, source: 'entra', subject: 'subject-4711' }, true],
    ['another subject', { issuer, source: 'entra', subject: 'other' }, false],
    [
      'the subject of another issuer',
      { issuer: 'https://x', source: 'entra', subject: 'subject-4711' },
      false,
    ],
    ['the subject at another source', { issuer, source: 'other', subject: 'subject-4711' }, false],
    ['the sid', { issuer, source: 'entra', sid: 's-1' }, true],
    ['another sid', { issuer, source: 'entra', sid: 's-2' }, false],
    ['subject and sid', { issuer, source: 'entra', subject: 'subject-4711', sid: 's-1' }, true],
    ['the subject and another sid', { issuer, source: 'entra', subject: 'subject-4711', sid: 's-2' }, false],
    ['the address in another case', { email: 'MARGARET@example.com' }, true],
    ['another address', { email: 'm@example.com' }, false],
    ['the subject and another address', { subject: 'subject-4711', email: 'm@example.com' }, false],
    ['the address at another source', { email: 'margaret@example.com', source: 'other' }, false],
    ['the source', { source: 'entra' }, true],
    ['another source', { source: 'other' }, false],
    ['everybody', {}, true],
  ] as readonly (readonly [string, Omit<EndNote, 'why'>, boolean])[]) {
    const { notes, card, underWay } = build();
    await notes().leave({ why: 'revoked', ...note });
    t.equal(await notes().find(card, underWay), meant ? 'revoked' : undefined, what);
  }
});

t.test(
  'a session that was not told its sid is meant beside its subject, and not by a sid alone',
  async (t) => {
    const { clock, notes, underWay } = build();
    const nameless = cardOf(makeRecord(clock.nowMs(), { claims: {} }), undefined);
    await notes().leave({ why: 'backchannel', issuer, source: 'entra', sid: 's-1' });
    t.equal(await notes().find(nameless, underWay), undefined);
    await notes().leave({ why: 'backchannel', issuer, source: 'entra', subject: 'subject-4711', sid: 's-1' });
    t.equal(await notes().find(nameless, underWay), 'backchannel');
  },
);

t.test("a logout token's iat says which sign-ins came before it", async (t) => {
  for (const [what, token, auth, begunBefore, over] of [
    ['a token from before it', -1, undefined, true, true],
    ['a token from before it, from a replica whose clock is behind', -1, undefined, false, true],
    ['a token of the same second, of a trip that began before', 0, undefined, true, true],
    ['a token of the same second, of a trip that began after', 0, undefined, false, false],
    ['a token from after it', 1, undefined, true, false],
    ['a token from after it, for an authentication from before it', 1, -1, true, true],
    ['the same, of a trip that began after: single sign-on lives', 1, -1, false, false],
    ['a token and an authentication from after it', 2, 1, true, false],
  ] as const) {
    const { clock, notes, card, nowSeconds } = build();
    const base = { why: 'backchannel', issuer, source: 'entra', subject: 'subject-4711' } as const;
    await notes().leave({ ...base, issuedAt: nowSeconds });
    const signIn = {
      tokenIssuedAt: nowSeconds + token,
      authenticatedAt: auth === undefined ? undefined : nowSeconds + auth,
      begunAtMs: clock.nowMs() + (begunBefore ? -1 : 1),
    };
    t.equal(await notes().find(card, signIn), over ? 'backchannel' : undefined, what);
  }
});

t.test(
  'what nobody but we dated ends the sign-ins that had begun, whatever the clock of the IdP',
  async (t) => {
    const { clock, notes, card, nowSeconds } = build();
    await notes().leave({ why: 'revoked', source: 'entra' });
    const at = clock.nowMs();
    t.equal(await notes().find(card, { tokenIssuedAt: nowSeconds + 59, begunAtMs: at - 1 }), 'revoked');
    t.equal(await notes().find(card, { tokenIssuedAt: nowSeconds + 61, begunAtMs: at - 1 }), undefined);
    t.equal(await notes().find(card, { tokenIssuedAt: nowSeconds - 3600, begunAtMs: at }), undefined);
  },
);

t.test(
  'a later note does not hide an earlier one; notes go by themselves once no sign-in needs them',
  async (t) => {
    const { clock, notes, card, nowSeconds, underWay } = build();
    const base = { why: 'backchannel', issuer, source: 'entra', subject: 'subject-4711' } as const;
    await notes().leave({ ...base, issuedAt: nowSeconds });
    await notes().leave({ ...base, issuedAt: nowSeconds - 60 });
    await notes().leave({ ...base, sid: 'another', issuedAt: nowSeconds });
    t.equal(await notes().find(card, underWay), 'backchannel');
    t.ok(noteLifeMs > 11 * 60_000, 'a trip takes ten minutes at most, by clocks that differ');
    clock.advance(noteLifeMs);
    t.equal(await notes().find(card, underWay), undefined);
  },
);

t.test('replicas find each other’s notes at each stage of a rotation', async (t) => {
  for (const [leaves, finds] of [
    [[older], [older, newer]],
    [[older, newer], [older]],
    [
      [older, newer],
      [newer, older],
    ],
    [
      [newer, older],
      [older, newer],
    ],
    [[newer, older], [newer]],
    [[newer], [newer, older]],
  ] as const) {
    const { notes, card, underWay } = build();
    await notes(leaves).leave({ why: 'frontchannel', issuer, source: 'entra', sid: 's-1' });
    t.equal(await notes(finds).find(card, underWay), 'frontchannel');
  }
});
