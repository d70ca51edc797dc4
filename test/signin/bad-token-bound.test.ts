import t from 'tap';
import { createBadTokenBound } from '../../src/signin/bad-token-bound.ts';

t.test('an IPv6 client is its /64, however its address is written; an IPv4 client is itself', async (t) => {
  for (const [address, same, other] of [
    ['192.0.2.7', '192.0.2.7', '192.0.2.8'],
    ['192.0.2.7', '::ffff:192.0.2.7', '::ffff:192.0.2.8'],
    ['2001:db8:1:2:3:4:5:6', '2001:DB8:1:2::', '2001:db8:1:3::'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2:ffff::', '2001:db8::1:2:0:9'],
    ['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'],
    ['::1', '::2', '1::'],
    ['fe80::1%eth0', 'fe80::2', 'fe80:1::1'],
    ['64:ff9b::192.0.2.7', '64:ff9b::1', '192.0.2.7'],
  ] as const) {
    const bound = createBadTokenBound({ nowMs: () => 0 }, 1);
    bound.count(address);
    t.equal(bound.wait(same), 60, `${same} is ${address}`);
    t.equal(bound.wait(other), undefined, `${other} is not ${address}`);
  }
});

t.test('only who sends many bad ones waits, and no longer than a minute', async (t) => {
  let nowMs = 1_000_000;
  const bound = createBadTokenBound({ nowMs: () => nowMs }, 120);
  for (let n = 0; n < 119; n += 1) bound.count('192.0.2.7');
  t.equal(bound.wait('192.0.2.7'), undefined);
  nowMs += 30_000;
  bound.count('192.0.2.7');
  t.equal(bound.wait('192.0.2.7'), 30);
  t.equal(bound.wait('192.0.2.8'), undefined);
  nowMs += 30_000;
  t.equal(bound.wait('192.0.2.7'), undefined, 'a new minute');
  for (let n = 0; n < 120; n += 1) bound.count('2001:db8::1');
  t.equal(bound.wait('2001:db8::2'), 60, 'the same /64');
  nowMs -= 3_600_000;
  t.equal(bound.wait('2001:db8::2'), undefined, 'a clock that is set back holds nobody up');
});
