import type { Test } from 'tap';
import { upstreamTarget } from '../../src/policy/canonical-target.ts';
import { hostileTargets, type HostileTarget } from './hostile-targets.ts';
import { startOp } from './op.ts';
import { resourceIn, type PathUpstream } from './path-upstreams.ts';
import { exchange } from './raw-http.ts';
import { clientOf, loopbackOrigin, startSallyport } from './sallyport.ts';
import { UserAgent } from './user-agent.ts';

/*
 * Every hostile target, as everybody, through Sallyport to one upstream: whatever rule the gate found, what the upstream serves must be
 * no better guarded than that, and nothing that this somebody may not have.
 */

/** How well a resource is guarded; who may have `n` may have everything below. */
const guards: Readonly<Record<string, number>> = {
  '/open/a': 0,
  '/open/b/c': 0,
  '/machine/poll': 0,
  '/tool/fetch': 1,
  '/private/page': 2,
  '/open/inner/page': 2,
  '/admin/panel': 3,
  '/tool/keys/new': 3,
  '/closed/thing': 4,
  '/open/closed/thing': 4,
  '/tool/closed/thing': 4,
};

/** What an upstream of the walk serves. */
export const resources: readonly string[] = Object.keys(guards);

/** In the order in which they are tried; the guard that each rule stands for. */
const rules: readonly { readonly guard: number; readonly route: Readonly<Record<string, unknown>> }[] = [
  { guard: 2, route: { name: 'inner', path: '/open/inner/**', access: 'session' } },
  { guard: 4, route: { name: 'open-closed', path: '/open/closed/**', access: 'deny' } },
  { guard: 4, route: { name: 'tool-closed', path: '/tool/closed/**', access: 'deny' } },
  { guard: 4, route: { name: 'closed', path: '/closed/**', access: 'deny' } },
  { guard: 3, route: { name: 'keys', path: '/tool/keys/**', access: 'session', require_aal: 'aal2' } },
  { guard: 3, route: { name: 'admin', path: '/admin/**', access: 'session', require_aal: 'aal2' } },
  { guard: 1, route: { name: 'tools', path: '/tool/**', access: 'credentials' } },
  { guard: 0, route: { name: 'machines', path: '/machine/**', access: 'upstream' } },
  { guard: 0, route: { name: 'open', path: '/open/**', access: 'public' } },
];
const guardOfRule = new Map([
  ...rules.map(({ route, guard }) => [route['name'], guard] as const),
  ['default', 2] as const,
  // They let nobody through.
  ['ambiguous', 4] as const,
]);

/** Each closed path with each open folder that an attacker would start from. */
const corpus: readonly HostileTarget[] = [
  ...new Map(
    [
      ['/open', '/admin/panel'],
      ['/open', '/closed/thing'],
      ['/open', '/private/page'],
      ['/machine', '/admin/panel'],
      ['/open', '/open/inner/page'],
      ['/tool', '/tool/keys/new'],
    ]
      .flatMap(([open = '', closed = '']) => hostileTargets(open, closed))
      .map((entry) => [entry.target, entry]),
  ).values(),
];

const personalToken = '0123456789abcdef0123456789abcdef01234567';

const lastLine = (text: string): string => text.slice(text.lastIndexOf('\n', text.length - 2) + 1);

/** Walks the corpus through Sallyport to this upstream. */
export async function walkHostileTargets(t: Test, upstream: PathUpstream): Promise<void> {
  t.teardown(() => upstream.close());
  const origin = await loopbackOrigin();
  const port = Number(new URL(origin).port);
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  t.teardown(() => op.stop());
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [{ id: 'idp', issuer: op.issuer, mfa: { mode: 'carry_over', preset: 'generic' } }],
    config: { routes: rules.map(({ route }) => route), log: { access: true } },
  });
  t.teardown(() => sallyport.close());
  const signIn = async (amr: readonly string[]): Promise<string> => {
    op.nextLogin = { ...op.nextLogin, amr };
    const browser = new UserAgent();
    await browser.follow(`${origin}/_sallyport/signin?return_to=/`);
    return `cookie: sallyport=${browser.cookie(origin, 'sallyport') ?? ''}\r\n`;
  };
  const attackers = [
    { name: 'nobody', reach: 0, headers: '' },
    { name: 'a token', reach: 1, headers: `authorization: Bearer ${personalToken}\r\n` },
    { name: 'a session at AAL1', reach: 2, headers: await signIn(['pwd']) },
    { name: 'a session at AAL2', reach: 3, headers: await signIn(['pwd', 'mfa']) },
  ];
  const send = (to: number, target: string, headers = '') =>
    exchange(to, `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${to}\r\nconnection: close\r\n${headers}\r\n`);

  t.test('what is asked for plainly is served to those who may have it, and to nobody else', async (t) => {
    for (const { name, reach, headers } of attackers) {
      for (const resource of resources) {
        const guard = guards[resource] ?? 4;
        const served = resourceIn((await send(port, resource, headers)).body.toString());
        // A token opens what takes one, and what is open to everyone.
        const may = guard <= reach;
        t.equal(served, may ? resource : undefined, `${name}: ${resource}`);
      }
    }
  });

  t.test('no hostile target is served to anybody who may not have it, nor past its rule', async (t) => {
    let dangerous = 0;
    let served = 0;
    const wrong: string[] = [];
    const upstreamPort = Number(new URL(upstream.url).port);
    for (const { target, trick } of corpus) {
      const plain = resourceIn((await send(upstreamPort, target)).body.toString());
      if (plain !== undefined && plain !== target) dangerous += 1;
      // What the upstream takes for no resource in either form it could get, it serves to nobody: one try will do.
      const possible =
        plain ?? resourceIn((await send(upstreamPort, upstreamTarget(target))).body.toString());
      const tries = possible === undefined ? attackers.slice(-1) : attackers;
      for (const { name, reach, headers } of tries) {
        const answer = await send(port, target, headers);
        const resource = resourceIn(answer.body.toString());
        if (resource === undefined) continue;
        served += 1;
        const guard = guards[resource] ?? 4;
        const rule = /"route":"([^"]*)"/.exec(lastLine(sallyport.log.text))?.[1] ?? '';
        const story = `${name}: ${JSON.stringify(target)} (${trick}) matched ${rule} and was served ${resource}`;
        if (guard > reach) wrong.push(`${story}, which is not theirs`);
        if (guard > (guardOfRule.get(rule) ?? -1)) wrong.push(`${story}, which is better guarded`);
      }
    }
    t.strictSame(wrong, []);
    t.comment(
      `${corpus.length} targets; ${dangerous} of them read as another path by ${upstream.name}; ${served} answers`,
    );
    t.ok(corpus.length >= 150 * 5, 'the corpus is what it claims to be');
    t.ok(dangerous >= 50, `${upstream.name} does read targets otherwise: ${dangerous}`);
    t.ok(served > 0, 'harmless ones are served, so that a served one would show');
  });
}
