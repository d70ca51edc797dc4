import t from 'tap';
import { measureMemory } from '../bench/memory-run.ts';

// npm run bench:memory measures all of it; here, what one more session costs.
t.test('100,000 opened sessions fit into 200 MiB', async (t) => {
  let least = { perSession: Infinity, once: Infinity };
  // The best of some: garbage that was not collected in time is no session's.
  for (let attempt = 0; attempt < 3 && !(least.perSession < 1_700); attempt += 1) {
    // Both are more than the assertions that are kept (identity/headers.ts), which are no session's either.
    const [few, many] = await Promise.all([measureMemory(9_000), measureMemory(17_000)]);
    t.equal(many.served, 17_000, 'all are in memory');
    const perSession = (many.heap - few.heap) / 8_000;
    t.comment(`${Math.round(perSession)} bytes a session`);
    if (perSession > 500 && perSession < least.perSession)
      least = { perSession, once: few.heap - 9_000 * perSession };
  }
  t.ok(least.perSession < 1_700, `${Math.round(least.perSession)} bytes a session`);
  t.ok(least.once + 100_000 * least.perSession < 190 * 1024 * 1024);
});
