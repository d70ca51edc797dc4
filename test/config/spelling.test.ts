import fc from 'fast-check';
import t from 'tap';
import { editDistance, nearestName } from '../../src/config/spelling.ts';

t.test('finds the name that was probably meant', async (t) => {
  const names = ['public_url', 'path_prefix', 'trusted_proxies', 'tls', 'listen', 'workers'];
  const table: readonly (readonly [written: string, meant: string | undefined])[] = [
    ['public_ulr', 'public_url'],
    ['publicUrl', 'public_url'],
    ['public-url', 'public_url'],
    ['PUBLIC_URL', 'public_url'],
    ['trustedproxy', 'trusted_proxies'],
    ['lisen', 'listen'],
    ['tsl', 'tls'],
    ['worker', 'workers'],
    ['banana', undefined],
    ['', undefined],
    ['x'.repeat(10_000), undefined],
  ];
  for (const [written, meant] of table) t.equal(nearestName(written, names), meant, written.slice(0, 20));
  t.equal(nearestName('anything', []), undefined);
});

t.test('the distance is a distance', async () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      const distance = editDistance(a, b);
      return (
        distance === editDistance(b, a) &&
        (distance === 0) === (a === b) &&
        distance >= Math.abs(a.length - b.length) &&
        distance <= Math.max(a.length, b.length)
      );
    }),
  );
});
