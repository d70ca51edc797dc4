import t from 'tap';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createStillClock } from './clock.ts';
import { holdToStoreContract } from './store-contract.ts';

t.test('the memory store keeps the contract', async (t) => {
  const clock = createStillClock();
  const elapse = async (ms: number) => clock.advance(ms);
  await holdToStoreContract(t, { store: createMemoryStore(clock), elapse });
});

t.test('a caller that reuses its buffer does not change what is kept', async (t) => {
  const store = createMemoryStore(createStillClock());
  const buffer = Buffer.from('kept');
  await store.put('a', buffer, 1000);
  buffer.fill(0);
  t.equal((await store.get('a'))?.sealed.toString(), 'kept');
});
