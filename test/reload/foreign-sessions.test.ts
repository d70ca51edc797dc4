import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { SourceConfig } from '../../src/config/schema.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createForeignSessions } from '../../src/reload/foreign-sessions.ts';
import { createDirectory } from '../../src/session/directory.ts';
import { createEndings } from '../../src/session/endings.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import type { Sessions } from '../../src/session/types.ts';
import { createStillClock } from '../session/clock.ts';
import { makeRecord } from '../session/record-fixture.ts';

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
