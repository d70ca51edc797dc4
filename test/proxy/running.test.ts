import fc from 'fast-check';
import t from 'tap';
import { Running, type RunningLink } from '../../src/proxy/running.ts';

const link = (): RunningLink => ({
  session: undefined,
  streamsUnder: undefined,
  sessionEnded: () => undefined,
  isRunning: false,
  newer: undefined,
  older: undefined,
});

t.test('what runs is what has entered and not left, in whatever order they come and go', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(7)), { maxLength: 60 }), (steps) => {
      const links = Array.from({ length: 8 }, link);
      const running = new Running();
      const model = new Set<RunningLink>();
      for (const [enters, index] of steps) {
        const one = links[index]!;
        if (enters) {
          running.add(one);
          model.add(one);
        } else {
          running.delete(one);
          model.delete(one);
        }
        const found = [...running];
        t.equal(found.length, model.size);
        for (const each of links) {
          if (found.includes(each) !== model.has(each) || each.isRunning !== model.has(each)) return false;
          // Who is gone holds nobody.
          if (!each.isRunning && (each.newer !== undefined || each.older !== undefined)) return false;
        }
      }
      return true;
    }),
  );
});
