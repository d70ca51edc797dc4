import t from 'tap';
import { resources, walkHostileTargets } from '../support/hostile-walk.ts';
import { hostileTargets } from '../support/hostile-targets.ts';
import { nodeReadingNames, startNginxTree, startNodeTree } from '../support/path-upstreams.ts';

/*
 * The attack: ask for /open/..%2fadmin/panel. The gate sees an open folder; an upstream that decodes, folds, trims or normalises
 * otherwise serves the panel. Shown against upstreams with their own readings; Go's and a real forge's are in test/interop.
 */

t.test('the corpus holds at least 150 tricks, each told once', async (t) => {
  const targets = hostileTargets('/open', '/admin/panel').map(({ target }) => target);
  t.ok(targets.length >= 150, `${targets.length}`);
  t.equal(new Set(targets).size, targets.length);
  t.strictSame(
    targets.filter((target) => /[{}\r\n]/.test(target)),
    [],
    'every place is filled, and each is one request line',
  );
});

for (const reading of nodeReadingNames) {
  t.test(`Node, by the reading "${reading}"`, async (t) =>
    walkHostileTargets(t, await startNodeTree(reading, resources)),
  );
}

t.test("Debian's nginx with a tree of files", async (t) =>
  walkHostileTargets(t, await startNginxTree(resources)),
);
