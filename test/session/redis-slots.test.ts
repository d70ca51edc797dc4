import t from 'tap';
import { mostCommonView, readClusterSlots, slotOf } from '../../src/session/redis-slots.ts';

t.test('a key has the slot that the specification gives it', async (t) => {
  // The check value of CRC-16/XMODEM, and what redis-cli answers to CLUSTER KEYSLOT.
  const rows: [string, number][] = [
    ['123456789', 0x31c3],
    ['', 0],
    ['foo', 12182],
    ['sallyport:session:abc', slotOf('{sallyport:session:abc}')],
    ['{user1000}.following', slotOf('user1000')],
    ['foo{bar}{zap}', slotOf('bar')],
    ['foo{{bar}}zap', slotOf('{bar')],
  ];
  for (const [key, slot] of rows) t.equal(slotOf(key), slot, key);
  t.not(slotOf('foo{}{bar}'), slotOf('bar'), 'an empty tag is none');
});

const asked = { host: '10.0.0.9', port: 1 };
const node = (host: unknown, port: unknown): unknown => [host, port, 'id', []];

t.test('the answer to CLUSTER SLOTS tells who holds what', async (t) => {
  const view = readClusterSlots(
    [
      [0, 99, node('10.0.0.1', 6379), node('10.0.0.4', 6379)],
      [100, 16_383, node('', 6380), node('10.0.0.1', 6381)],
    ],
    asked,
  );
  t.same(view?.masters, [
    { host: '10.0.0.1', port: 6379 },
    { host: '10.0.0.9', port: 6380 },
  ]);
  t.same(view?.replicas, [
    { host: '10.0.0.4', port: 6379 },
    { host: '10.0.0.1', port: 6381 },
  ]);
  t.equal(view?.owners[99], '10.0.0.1:6379');
  t.equal(view?.owners[100], '10.0.0.9:6380', 'who does not know its own address is the one that was asked');
  const some = readClusterSlots([[0, 5, node(null, 7)]], asked);
  t.equal(some?.owners[6], undefined);
  t.equal(some?.owners.length, 16_384);
});

t.test('what is no such answer is none', async (t) => {
  for (const reply of [
    null,
    'OK',
    [1],
    [[0, 1]],
    [[0, 1, []]],
    [[0, 16_384, node('a', 1)]],
    [[-1, 1, node('a', 1)]],
    [[0, 1, node('a', 'b')]],
  ])
    t.equal(readClusterSlots(reply, asked), undefined, JSON.stringify(reply));
});

t.test('a node that was cut off is outvoted', async (t) => {
  const before = readClusterSlots([[0, 16_383, node('a', 1)]], asked);
  const after = readClusterSlots([[0, 16_383, node('b', 1)]], asked);
  if (before === undefined || after === undefined) throw new Error('unread');
  t.equal(mostCommonView([before, after, after])?.masters[0]?.host, 'b');
  t.equal(mostCommonView([before])?.masters[0]?.host, 'a');
  t.equal(mostCommonView([]), undefined);
});
