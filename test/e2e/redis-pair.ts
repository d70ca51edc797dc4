import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { signJws, startOp } from '../support/op.ts';
import { freePort } from '../support/ports.ts';
import { clientOf, LineSink, startSallyport, testClient } from '../support/sallyport.ts';
import { signOutAt } from '../support/sign-out.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

/*
 * Two replicas of one Sallyport on one public origin, each with its own way to the same Redis, and the commands beside them.
 */

type Json = Record<string, unknown>;
const prefix = '/_sallyport';

/** Starts it all, with one `session.redis` for each replica; everything ends with the test. */
export async function startPair(t: Test, redis: readonly [Json, Json], session: Json = {}) {
  const origin = `http://127.0.0.1:${await freePort()}`;
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const upstream = await startEchoUpstream();
  const config = {
    server: { shutdown_grace: '200ms' },
    operators: [{ source: 'idp', emails: ['ada@example.com'] }],
  };
  const apps = await Promise.all(
    redis.map((settings) =>
      startSallyport({
        origin,
        upstream: upstream.url,
        sources: [{ id: 'idp', issuer: op.issuer }],
        config: {
          ...config,
          server: { ...config.server, listen: '127.0.0.1:0' },
          session: { redis: settings, ...session },
        },
      }),
    ),
  );
  t.teardown(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await Promise.all([op.stop(), upstream.close()]);
  });
  const dir = t.testdir({});
  const file = join(dir, 'sallyport.yaml');
  writeFileSync(
    file,
    stringify({
      server: { public_url: origin },
      upstream: { url: upstream.url },
      session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'], redis: redis[0], ...session },
      sources: [{ id: 'idp', issuer: op.issuer, ...testClient }],
      audit: { file: join(dir, 'audit.jsonl') },
    }),
  );

  return {
    origin,
    op,
    upstream,
    apps,
    /** A browser whose requests go to one replica, or to the other when told so. */
    browser() {
      const place = { host: '127.0.0.1', port: 0 };
      const at = (index: number): void => {
        place.port = Number(new URL(apps[index]!.listen).port);
      };
      at(0);
      const agent = new UserAgent({ resolve: { [new URL(origin).host]: place } });
      const ask = (path: string) => agent.request('GET', `${origin}${path}`);
      return {
        agent,
        at,
        ask,
        async status(path: string, index?: number): Promise<number> {
          if (index !== undefined) at(index);
          return (await ask(path)).status;
        },
        async signIn(sub: string, name = sub, sid?: string) {
          op.nextLogin = {
            sub,
            amr: ['pwd', 'mfa'],
            claims: { email: `${name}@example.com`, email_verified: true, preferred_username: name },
            ...(sid === undefined ? {} : { idTokenClaims: { sid } }),
          };
          return (await agent.follow(`${origin}/hello`)).last;
        },
        async signOut(): Promise<number> {
          return (await signOutAt(agent, origin)).status;
        },
        async logout(token: string): Promise<number> {
          const answer = await agent.request('POST', `${origin}${prefix}/backchannel-logout/idp`, {
            headers: { 'content-type': 'application/x-www-form-urlencoded' },
            body: new URLSearchParams({ logout_token: token }).toString(),
            withoutCookies: true,
          });
          return answer.status;
        },
      };
    },
    logoutToken(claims: Json): string {
      const now = Math.floor(Date.now() / 1000);
      const header = { alg: 'RS256', typ: 'logout+jwt', kid: op.signingKey().kid };
      const payload = {
        ...{ iss: op.issuer, aud: 'forge', iat: now, exp: now + 120, jti: `jti-${now}-${Math.random()}` },
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
        ...claims,
      };
      return signJws(header, payload, op.signingKey().privateKey, 'RS256');
    },
    async command(...args: string[]) {
      const [stdout, stderr] = [new LineSink(), new LineSink()];
      const status = await dispatch(args, { stdout, stderr, env: { SALLYPORT_CONFIG: file } });
      return { status, out: stdout.text, err: stderr.text };
    },
    audited: () => readFileSync(join(dir, 'audit.jsonl'), 'utf8'),
    async readiness(index: number) {
      const answer = await fetch(`http://${apps[index]!.operations}/readyz`);
      return (await answer.json()) as { status: string; dependencies: readonly Json[] };
    },
  };
}

export type Pair = Awaited<ReturnType<typeof startPair>>;

/**
 * Everything that lives in Redis, once, across both replicas. Wants a `session.cache` far longer than any of it takes: what ends
 * sooner has been announced.
 */
export async function useEverything(t: Test, pair: Pair, tag = ''): Promise<void> {
  const who = (name: string): string => `${name}${tag}`;
  const endsEverywhere = (browser: ReturnType<Pair['browser']>) =>
    until(
      async () =>
        (await browser.status('/_sallyport/whoami', 0)) === 401 &&
        (await browser.status('/_sallyport/whoami', 1)) === 401,
      'the end on both replicas',
      2000,
    );

  const ada = pair.browser();
  t.equal((await ada.signIn(`sub-${who('ada')}`, 'ada')).status, 200, 'a sign-in');
  t.equal(await ada.status('/hello', 1), 200, 'opens the session at the other replica');
  const keys = async (index: number) => {
    ada.at(index);
    return (await ada.ask('/_sallyport/jwks.json')).body;
  };
  t.equal(await keys(0), await keys(1), 'one assertion key for both');

  const mallory = pair.browser();
  mallory.at(1);
  t.equal(
    (await mallory.signIn(`sub-${who('mallory')}`, 'ada')).status,
    403,
    'a name belongs to one subject',
  );
  const holders = await pair.command('users', 'list', '--json');
  t.match(holders.out, `sub-${who('ada')}`);
  t.notMatch(holders.out, 'mallory');

  ada.at(1);
  const canary = await ada.agent.follow(`${pair.origin}/_sallyport/canary/idp`);
  t.equal(canary.last.status, 200, 'a canary');
  t.match(canary.last.body, /AAL2/);
  const status = await ada.agent.request('GET', `${pair.origin}/_sallyport/status?format=json`);
  t.match(status.body, /"outcome":"admitted"|"count":[1-9]/, 'counts on the status page');

  const [bob, bobToo, carol, dave] = [pair.browser(), pair.browser(), pair.browser(), pair.browser()];
  for (const browser of [bob, bobToo]) await browser.signIn(who('bob'));
  await carol.signIn(who('carol'), who('carol'), `sid-${tag}`);
  await dave.signIn(who('dave'));
  for (const browser of [bob, bobToo, carol, dave])
    for (const index of [0, 1]) t.equal(await browser.status('/_sallyport/whoami', index), 200);

  const listed = JSON.parse((await pair.command('sessions', 'list', '--json')).out) as Json[];
  for (const name of ['bob', 'carol', 'dave'])
    t.equal(
      listed.filter(({ username }) => username === who(name)).length,
      name === 'bob' ? 2 : 1,
      `${name} is listed`,
    );
  const id = String(listed.find(({ username }) => username === who('dave'))?.['id']);
  t.match((await pair.command('sessions', 'show', id)).out, who('dave'));
  const revoked = await pair.command('sessions', 'revoke', '--user', `${who('bob')}@example.com`, '--json');
  t.match(JSON.parse(revoked.out), { ended: 2 });
  for (const browser of [bob, bobToo]) await endsEverywhere(browser);

  const token = pair.logoutToken({ sid: `sid-${tag}` });
  dave.at(1);
  t.equal(await dave.logout(token), 200, 'a back-channel logout');
  await endsEverywhere(carol);
  dave.at(0);
  t.equal(await dave.logout(token), 400, 'a token is good once, on whichever replica');

  t.equal(await dave.status('/_sallyport/whoami', 1), 200, 'nobody else is signed out');
  t.equal(await dave.signOut(), 303);
  await endsEverywhere(dave);

  t.equal((await pair.command('users', 'release', 'ada')).status, 0, 'a name is freed');
  mallory.at(0);
  t.equal(
    (await mallory.signIn(`sub-${who('mallory')}`, 'ada')).status,
    200,
    'and belongs to who comes next',
  );
  t.equal((await pair.command('users', 'release', 'ada')).status, 0);
  t.match(pair.audited(), 'users.changed');
}
