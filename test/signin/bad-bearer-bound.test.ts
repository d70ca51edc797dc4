import t from 'tap';
import { createBadBearerBound, networkOf } from '../../src/signin/bad-bearer-bound.ts';

t.test('an IPv6 client is its /64, however its address is written; an IPv4 client is itself', async (t) => {
  for (const [address, network] of [
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::', '2001:db8:1:2'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:db8::2:3:4:5:6', '2001:db8:0:2'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['64:ff9b::192.0.2.7', '64:ff9b:0:0'],
    ['1:2:3:4:5:6:192.0.2.7', '1:2:3:4'],
  ] as const)
    t.equal(networkOf(address), network, address);
});

t.test('only who sends many bad ones waits, and no longer than a minute', async (t) => {
  let nowMs = 1_000_000;
  const bound = createBadBearerBound({ nowMs: () => nowMs });
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
