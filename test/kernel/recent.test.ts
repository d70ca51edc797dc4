import t from 'tap';
import { createRecent } from '../../src/kernel/recent.ts';

t.test('the latest are remembered, and no more than twice as many', (t) => {
  const recent = createRecent<object, number>(10);
  const keys = Array.from({ length: 100 }, (_, index) => ({ index }));
  for (const [index, key] of keys.entries()) {
    recent.set(key, index);
    for (let back = 0; back < 10 && back <= index; back += 1)
      t.equal(recent.get(keys[index - back]!), index - back);
  }
  t.ok(keys.filter((key) => recent.get(key) !== undefined).length <= 20);
  t.equal(recent.get({}), undefined);
  t.end();
});

t.test('what is asked for stays, whatever else comes by', (t) => {
  const recent = createRecent<object, string>(10);
  const kept = {};
  recent.set(kept, 'kept');
  for (let index = 0; index < 1000; index += 1) {
    recent.set({}, 'passing');
    if (index % 5 === 0) t.equal(recent.get(kept), 'kept');
  }
  recent.set(kept, 'changed');
  t.equal(recent.get(kept), 'changed');
  t.end();
});
