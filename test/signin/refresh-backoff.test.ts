import fc from 'fast-check';
import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createRefreshBackoff } from '../../src/signin/refresh-backoff.ts';
import { createStillClock } from '../session/clock.ts';

const secondMs = 1000;

function build(byte?: number) {
  const clock = createStillClock();
  const randomness =
    byte === undefined ? systemRandomness : { bytes: (length: number) => Buffer.alloc(length, byte) };
  const backoff = createRefreshBackoff({ clock, randomness });
  /** One try of one session: whether it could begin. */
  const tryOnce = (key: string, outcome: 'failed' | 'answered' | 'yielded', source = 'idp'): boolean => {
    if (!backoff.mayBegin(key, source, false)) return false;
    backoff.begun(key, source);
    if (outcome === 'yielded') backoff.yielded(key);
    else backoff[outcome](key, source);
    backoff.ended(key, source);
    return true;
  };
  return { clock, backoff, tryOnce };
}

t.test('pauses double from 1 s to 60 s, each shortened by up to half', async (t) => {
  for (const [byte, share] of [
    [0, 0.5],
    [0xff, 1],
  ] as const) {
    const { clock, tryOnce } = build(byte);
    for (const fullMs of [1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * secondMs)) {
      t.equal(tryOnce('a', 'failed'), true);
      clock.advance(fullMs * share - 10);
      t.equal(tryOnce('a', 'failed'), false, `within ${fullMs * share} ms`);
      clock.advance(10);
    }
  }
});

t.test(
  'a source that fails is asked by one session at a time, and by all again once it answers',
  async (t) => {
    const { clock, backoff, tryOnce } = build(0xff);
    t.equal(tryOnce('a', 'failed'), true);
    t.equal(tryOnce('b', 'failed'), false, 'the source pauses for everybody');
    t.equal(tryOnce('c', 'answered', 'other'), true, 'but not other sources');
    clock.advance(secondMs);
    t.equal(backoff.mayBegin('b', 'idp', false), true);
    backoff.begun('b', 'idp');
    t.equal(backoff.mayBegin('c', 'idp', true), false, 'one finds out for all');
    backoff.answered('b', 'idp');
    backoff.ended('b', 'idp');
    t.equal(backoff.mayBegin('c', 'idp', false), true);
  },
);

t.test('one that finds nothing out leaves the next to do so', async (t) => {
  const { clock, tryOnce } = build(0xff);
  tryOnce('a', 'failed');
  clock.advance(secondMs);
  t.equal(tryOnce('b', 'yielded'), true);
  t.equal(tryOnce('c', 'failed'), true);
});

t.test('those that were under way together count as one failure of the source', async (t) => {
  const { clock, backoff } = build(0xff);
  const keys = Array.from({ length: 50 }, (_, index) => `s${index}`);
  for (const key of keys) {
    t.ok(backoff.mayBegin(key, 'idp', false));
    backoff.begun(key, 'idp');
  }
  t.strictSame(new Set(keys.map((key) => backoff.failed(key, 'idp'))), new Set([1]));
  for (const key of keys) backoff.ended(key, 'idp');
  clock.advance(secondMs);
  t.equal(backoff.mayBegin('s0', 'idp', false), true);
});

t.test('who waits does not heed that another replica had it a moment ago', async (t) => {
  const { clock, backoff, tryOnce } = build();
  tryOnce('a', 'yielded');
  t.equal(backoff.mayBegin('a', 'idp', false), false);
  t.equal(backoff.mayBegin('a', 'idp', true), true);
  clock.advance(secondMs);
  t.equal(backoff.mayBegin('a', 'idp', false), true);
});

t.test(
  'an IdP that never answers is asked no more than 8 times in the first minute, and at most every 30 s later',
  async () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), (sessions) => {
        const { clock, tryOnce } = build();
        let tries = 0;
        const perMinute: number[] = [];
        for (let tick = 0; tick < 600; tick += 1) {
          if (tick % 60 === 0) perMinute.push(0);
          for (let each = 0; each < sessions; each += 1) {
            if (!tryOnce(`s${each}`, 'failed')) continue;
            tries += 1;
            perMinute[perMinute.length - 1]! += 1;
          }
          clock.advance(secondMs);
        }
        return perMinute[0]! <= 8 && perMinute.slice(3).every((count) => count <= 3) && tries >= 10;
      }),
      { numRuns: 20 },
    );
  },
);

t.test('a clock that is set back lengthens no pause', async (t) => {
  let [nowMs, steadyMs] = [1_700_000_000_000, 0];
  const clock = { nowMs: () => nowMs, steadyMs: () => steadyMs };
  const backoff = createRefreshBackoff({ clock, randomness: systemRandomness });
  backoff.failed('a', 'idp');
  nowMs -= 3_600_000;
  steadyMs += secondMs;
  t.equal(backoff.mayBegin('a', 'idp', false), true);
});
