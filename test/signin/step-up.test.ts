import t from 'tap';
import { compileRoutes, plainRule } from '../../src/policy/routes.ts';
import { stepUpMaxAgeSeconds } from '../../src/signin/step-up.ts';
import { buildSource } from './source.ts';

t.test('a step-up asks for what is younger: the route’s bound on age, or the source’s', (t) => {
  const matchRoute = compileRoutes([
    { ...plainRule('fresh', '/fresh/**', 'session'), maxAuthAgeSeconds: 600 },
    { ...plainRule('strong', '/strong/**', 'session'), requireAal: 'aal2' },
  ]);
  for (const [bound, path, seconds] of [
    [undefined, '/fresh/x', 600],
    ['1h', '/fresh/x', 600],
    ['1m', '/fresh/x', 60],
    ['1m', '/strong/x', 0],
    ['1m', '/else', 0],
    ['1m', '/fresh/../x', 0],
  ] as const) {
    const { policy } = buildSource({ mfa: bound === undefined ? {} : { max_auth_age: bound } });
    t.equal(stepUpMaxAgeSeconds({ matchRoute }, { policy }, path), seconds, `${bound ?? 'none'} ${path}`);
  }
  t.end();
});
