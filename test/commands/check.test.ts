import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { stringify } from 'yaml';
import { checkCommand } from '../../src/commands/check.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, testClient } from '../support/sallyport.ts';

type Json = Record<string, unknown>;

class TextSink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

t.test('check', async (t) => {
  const origin = 'https://forge.example.com';
  const op = await startOp({ clients: [clientOf(origin, 'idp')], acrValues: ['urn:example:mfa'] });
  const redis = await startRedis();
  const upstream = await startEchoUpstream();
  t.teardown(async () => {
    await op.stop();
    await redis.stop();
    await upstream.close();
  });
  const dir = t.testdir();
  const file = join(dir, 'sallyport.yaml');

  async function check(
    changes: { source?: Json; redisUrl?: string; upstreamUrl?: string; routes?: Json[]; audit?: string } = {},
    args: string[] = [],
  ) {
    writeFileSync(
      file,
      stringify({
        server: { public_url: origin },
        upstream: { url: changes.upstreamUrl ?? upstream.url, preset: 'forgejo' },
        session: {
          secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'],
          redis: { url: changes.redisUrl ?? redis.url },
        },
        sources: [
          {
            id: 'idp',
            issuer: op.issuer,
            ...testClient,
            mfa: { preset: 'generic', aal2_amr_values: 'strict' },
            ...changes.source,
          },
        ],
        ...(changes.routes === undefined ? {} : { routes: changes.routes }),
        ...(changes.audit === undefined ? {} : { audit: { file: changes.audit } }),
      }),
    );
    const stdout = new TextSink();
    const stderr = new TextSink();
    const status = await checkCommand.run(['--config', file, ...args], { stdout, stderr, env: {} });
    return { status, text: stdout.text, errors: stderr.text };
  }

  t.test('everything in order: exit 0, with what to register and the route table', async (t) => {
    const { status, text } = await check();
    t.equal(status, 0, text);
    t.match(text, /discovery: http/);
    t.match(text, /client credentials: accepted/);
    t.match(text, /reads, writes, expires and deletes/);
    t.match(text, /eviction policy noeviction/);
    t.match(text, /answers \(status 200\)/);
    t.match(text, /redirect URI https:\/\/forge\.example\.com\/_sallyport\/callback\/idp/);
    t.match(text, /post-logout redirect URI https:\/\/forge\.example\.com\/_sallyport\/signed-out/);
    t.match(text, /\/api\/internal\/\*\*\s+deny/);
    t.match(text, /default\s+\*\s+\/\*\*\s+session/);
    t.match(text, /0 failed/);
  });

  t.test('a stopped IdP is named with its cure, exit 1', async (t) => {
    await op.stop();
    const { status, text } = await check();
    await op.restart();
    t.equal(status, 1);
    t.match(text, /source idp\n\s+fail\s+discovery: .*\n\s+→ start the IdP or correct the issuer/);
  });

  t.test('a stopped Redis is named with its cure, exit 1', async (t) => {
    const { status, text } = await check({ redisUrl: `redis://127.0.0.1:${await freePort()}` });
    t.equal(status, 1);
    t.match(text, /redis\n\s+fail\s+127\.0\.0\.1:\d+: ECONNREFUSED.*\n\s+→ start the server/);
  });

  t.test('a stopped upstream is named with its cure, exit 1', async (t) => {
    const { status, text } = await check({ upstreamUrl: `http://127.0.0.1:${await freePort()}` });
    t.equal(status, 1);
    t.match(text, /upstream\n\s+fail\s+.*ECONNREFUSED\n\s+→ start the app/);
  });

  t.test('an audit file that a start could not open is named with its cure, and none is made', async (t) => {
    writeFileSync(join(dir, 'there.jsonl'), '');
    for (const name of ['there.jsonl', 'new.jsonl']) {
      const { status, text } = await check({ audit: join(dir, name) });
      t.equal(status, 0, text);
      t.match(text, /audit trail\n\s+ok\s+/);
    }
    t.notOk(existsSync(join(dir, 'new.jsonl')));
    for (const [name, cure] of [
      ['absent/audit.jsonl', /ENOENT\n\s+→ serve does not start like this/],
      ['there.jsonl/audit.jsonl', /ENOTDIR\n\s+→ serve does not start like this/],
      ['.', /is a folder\n\s+→ name a file in it/],
    ] as const) {
      const { status, text } = await check({ audit: join(dir, name) });
      t.equal(status, 1, name);
      t.match(text, cure);
    }
  });

  t.test('a wrong client secret is told from a bogus code, exit 1', async (t) => {
    const { status, text } = await check({ source: { client_secret: 'another-secret-altogether' } });
    t.equal(status, 1);
    t.match(text, /fail\s+client credentials: invalid_client/);
    t.match(text, /→ the IdP does not know client_id with this secret/);
    t.notMatch(text, /another-secret-altogether/, 'and the secret is not shown');
  });

  t.test('a policy that can never be met is named with its cure, exit 1', async (t) => {
    const { status, text } = await check({
      source: { mfa: { preset: 'keycloak', aal2_acr_values: ['gold'] } },
    });
    t.equal(status, 1);
    t.match(
      text,
      /fail\s+this policy can never be met: acr_values_supported is \[urn:example:mfa\], without gold/,
    );
    t.match(text, /→ let aal2_acr_values/);
  });

  t.test('the same policy outside enforce locks nobody out: a warning, exit 0', async (t) => {
    const { status, text } = await check({
      source: { mfa: { mode: 'report_only', preset: 'keycloak', aal2_acr_values: ['gold'] } },
    });
    t.equal(status, 0, text);
    t.match(text, /warn\s+this policy can never be met/);
  });

  t.test('a policy that accepts nothing is said to, and not left without a reason', async (t) => {
    const { text } = await check({ source: { mfa: { mode: 'carry_over', aal2_amr_values: [] } } });
    t.match(text, /warn\s+this policy can never be met: accept: amr finds nothing to accept$/m);
  });

  t.test('a rule that can be met without two factors is said in plain words', async (t) => {
    const { status, text } = await check({ source: { mfa: { preset: 'generic' } } });
    t.equal(status, 0);
    t.match(text, /warn\s+mfa\.aal2_amr_values: standard accepts single values that are no second factor/);
    t.match(text, /→ write aal2_amr_values: strict/);
  });

  t.test('an eviction policy that drops sessions fails where memory has a limit', async (t) => {
    const full = await startRedis({ args: ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'] });
    t.teardown(() => full.stop());
    const { status, text } = await check({ redisUrl: full.url });
    t.equal(status, 1);
    t.match(text, /fail\s+127\.0\.0\.1:\d+: eviction policy allkeys-lru drops sessions/);
  });

  t.test('a route that can never match, or opens what the preset closes, is a warning, exit 0', async (t) => {
    const { status, text } = await check({
      routes: [
        { name: 'users', path: '/user/**', access: 'public' },
        { name: 'late', path: '/user/settings/**', require_aal: 'aal2' },
      ],
    });
    t.equal(status, 0, text);
    t.match(text, /^routes\n {2}warn {2}the route users is wider than it looks: .*forge-login/m);
    t.match(text, /warn {2}the route late never matches: users stands before it/);
    const { text: fine } = await check({ routes: [{ name: 'a', path: '/a/**', require_aal: 'aal2' }] });
    const key = { name: 'api', path: '/api/**', access: 'credentials', credential_headers: ['X-Api-Key'] };
    t.match(
      (await check({ routes: [key] })).text,
      /api +\* +\/api\/\*\* +credentials \(or a header x-api-key\)/,
    );
    t.match(fine, /ok {4}every rule can match, and lets in what it says/);
  });

  t.test(
    'a route that asks for freshness, and an IdP that announces no auth_time: a warning, exit 0',
    async (t) => {
      const routes = [
        { name: 'fresh', path: '/a/**', max_auth_age: '15m' },
        { name: 'others', path: '/b/**', require_aal: 'aal2' },
      ];
      t.notMatch((await check({ routes })).text, /auth_time/, 'it is announced');
      op.metadataOverride = { claims_supported: ['sub', 'amr'] };
      const { status, text } = await check({ routes });
      const without = await check({ routes: routes.slice(1) });
      op.metadataOverride = {};
      t.equal(status, 0, text);
      t.match(text, /warn\s+claims_supported lacks auth_time, which the route fresh is judged by/);
      t.match(text, /→ run sallyport canary/);
      t.notMatch(without.text, /auth_time/, 'where nothing asks for it');
    },
  );

  t.test('--json says the same by machine', async (t) => {
    const { status, text } = await check({}, ['--json']);
    t.equal(status, 0);
    const report = JSON.parse(text) as { failed: number; areas: { name: string }[] };
    t.equal(report.failed, 0);
    t.strictSame(
      report.areas.map(({ name }) => name),
      ['configuration', 'source idp', 'redis', 'durable records', 'sessions', 'upstream'],
    );
  });

  t.test('a faulty file: exit 2, nothing tried', async (t) => {
    const { status, errors, text } = await check({ source: { issuer: 'not a url' } });
    t.equal(status, 2);
    t.match(errors, /sources\[0\]\.issuer/);
    t.equal(text, '');
  });
});
