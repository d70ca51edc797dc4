import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import type { CanaryReport } from '../../src/signin/canary.ts';
import { createCanaryTickets } from '../../src/signin/canary-ticket.ts';
import { createStillClock } from '../session/clock.ts';

function build() {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
  return { clock, store, tickets: createCanaryTickets({ store, sealing, randomness: systemRandomness }) };
}

const reportOf = (source: string, mode = 'enforce') => ({ version: 1, source, mode }) as CanaryReport;

t.test('of two sign-ins with one link at the same moment, one has its result delivered', async (t) => {
  const { tickets } = build();
  const ticket = await tickets.offer('main', 60_000);
  const settled = await Promise.all(
    ['enforce', 'report_only'].map((mode) => tickets.settle(ticket, reportOf('main', mode))),
  );
  t.same(settled.sort(), [false, true]);
  t.ok((await tickets.find(ticket))?.report);
  t.equal(await tickets.settle(ticket, reportOf('main')), false, 'and none after them');
});

t.test('a link takes the result of its own source alone, and only while it lives', async (t) => {
  const { tickets, clock } = build();
  const ticket = await tickets.offer('main', 60_000);
  t.equal(await tickets.settle(ticket, reportOf('other')), false);
  t.equal((await tickets.find(ticket))?.report, undefined);
  clock.advance(60_001);
  t.equal(await tickets.settle(ticket, reportOf('main')), false);
  t.equal(await tickets.find(ticket), undefined);
});
