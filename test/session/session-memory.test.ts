import t from 'tap';
import { measureMemory } from '../bench/memory-run.ts';

// npm run bench:memory measures all of it; here, what one more session costs.
t.test('100,000 opened sessions fit into 200 MiB', async (t) => {
  const [few, many] = await Promise.all([measureMemory(5_000), measureMemory(13_000)]);
  t.equal(many.served, 13_000, 'all are in memory');
  const perSession = (many.heap - few.heap) / 8_000;
  const fixed = few.heap - 5_000 * perSession;
  t.comment(`${Math.round(perSession)} bytes a session, ${Math.round(fixed / 1024)} KiB once`);
  t.ok(perSession > 500, 'something is measured');
  t.ok(perSession < 1_700, `${Math.round(perSession)} bytes`);
  t.ok(fixed + 100_000 * perSession < 190 * 1024 * 1024);
});
