import { PassThrough } from 'node:stream';
import t from 'tap';
import { commandNames, dispatch } from '../../src/commands/index.ts';
import { parseConfig } from '../../src/config/load.ts';
import { anchorsOf, brokenLinks, fencedBlocks, markdownIn, readText } from './documents.ts';

const pages = [
  'docs/operations.md',
  'docs/rollout.md',
  'docs/migration-oauth2-proxy.md',
  'docs/migration-mod-auth-openidc.md',
];

const documents = [...markdownIn('docs/'), ...markdownIn('docs/idp/'), ...markdownIn('docs/adr/')];

t.test('every link in the guides and manuals leads somewhere', async (t) => {
  for (const path of [...documents, 'README.md', 'CHANGELOG.md']) t.same(brokenLinks(path), [], path);
  t.ok(anchorsOf('# A b: `c`\n```sh\n# d\n```\n').has('a-b-c'));
  t.notOk(anchorsOf('```sh\n# d\n```\n').has('d'));
});

t.test('the index leads to every document', async (t) => {
  const index = readText('docs/README.md');
  for (const path of documents.filter((each) => each !== 'docs/README.md'))
    t.match(index, `](${path.replace('docs/', '')})`);
  t.ok(documents.length > 20);
});

t.test('every configuration in the manuals is valid as it stands', async (t) => {
  for (const path of pages) {
    for (const text of fencedBlocks(readText(path), 'yaml').filter((block) => /^sources:/m.test(block))) {
      const parsed = parseConfig(text, path, {});
      t.equal(parsed.ok ? '' : parsed.report, '', path);
    }
  }
  t.equal(fencedBlocks(readText('docs/rollout.md'), 'yaml').length, 3, 'report, stage, enforce');
});

t.test('every mfa that a guide writes in a sentence is valid by itself', async (t) => {
  const written = documents.flatMap((path) =>
    [...readText(path).matchAll(/`(mfa: \{[^`]*\})`/g)].map(([, mfa = '']) => ({ path, mfa })),
  );
  t.ok(written.length > 0);
  for (const { path, mfa } of written) {
    const source = `{ id: idp, issuer: https://idp.example.com, client_id: c, client_secret: s, ${mfa} }`;
    const session = '{ secrets: [0123456789abcdef0123456789abcdef] }';
    const parsed = parseConfig(
      `{ server: { public_url: https://a.example.com }, upstream: { url: 'http://127.0.0.1:3000' }, session: ${session}, sources: [${source}] }`,
      path,
      {},
    );
    t.equal(parsed.ok ? '' : parsed.report, '', `${path}: ${mfa}`);
  }
});

t.test('the three steps of the roll-out are report_only, one group, everyone', async (t) => {
  const steps = fencedBlocks(readText('docs/rollout.md'), 'yaml').map((text) => {
    const parsed = parseConfig(text, 'rollout', {});
    if (!parsed.ok) throw new Error(parsed.report);
    const { mode, enforce_for: enforceFor, report_only_until: until } = parsed.config.sources[0]!.mfa;
    return { mode, staged: enforceFor !== undefined, dated: until !== undefined };
  });
  t.same(steps, [
    { mode: 'report_only', staged: false, dated: false },
    { mode: 'report_only', staged: true, dated: true },
    { mode: 'enforce', staged: false, dated: false },
  ]);
});

async function usageOf(command: string): Promise<string> {
  const stdout = new PassThrough();
  await dispatch([command, '--help'], { stdout, stderr: new PassThrough(), env: {} });
  return String(stdout.read());
}

t.test('every command in the manuals is one, knows its options, and finds what it needs', async (t) => {
  let found = 0;
  for (const path of [...documents, 'README.md']) {
    const text = readText(path);
    for (const line of fencedBlocks(text, 'sh').flatMap((block) => block.split('\n'))) {
      const [, name = '', rest = ''] =
        /^(?:sudo |npx )?(?:sallyport|node dist\/main\.js) ([a-z]+)([^#|]*)/.exec(line.trim()) ?? [];
      if (name === '') continue;
      found += 1;
      t.ok(commandNames.includes(name), `${path}: ${line}`);
      const usage = await usageOf(name);
      for (const [option] of rest.matchAll(/--[a-z-]+/g)) t.match(usage, option, `${path}: ${line}`);
    }
    // Whoever follows such a manual must have the socket that its command asks.
    if (!/^sallyport reload/m.test(text)) continue;
    for (const file of fencedBlocks(text, 'yaml').filter((block) => /^sources:/m.test(block)))
      t.match(file, 'control_socket:', path);
  }
  t.ok(found > 10, `${found} commands`);
});

/** The first cells of a document's tables: which keys of the former proxy are told of. */
function keysTold(text: string, pattern: RegExp): ReadonlySet<string> {
  const cells = [...text.matchAll(/^\| ([^|]*) \|/gm)].map(([, cell = '']) => cell);
  return new Set(cells.flatMap((cell) => [...cell.matchAll(pattern)].map(([, key = '']) => key)));
}

for (const { proxy, page, list, pattern } of [
  {
    proxy: 'oauth2-proxy',
    page: 'docs/migration-oauth2-proxy.md',
    list: 'test/fixtures/migration/oauth2-proxy-options.txt',
    pattern: /`([a-z0-9_-]+)`/g,
  },
  {
    proxy: 'mod_auth_openidc',
    page: 'docs/migration-mod-auth-openidc.md',
    list: 'test/fixtures/migration/mod-auth-openidc-directives.txt',
    pattern: /`(OIDC[A-Za-z0-9]+)`/g,
  },
]) {
  t.test(`the move from ${proxy} tells of every key that it has, and of none that it has not`, async (t) => {
    const text = readText(page);
    const known = new Set(readText(list).trimEnd().split('\n'));
    const told = keysTold(text, pattern);
    t.same(
      [...known].filter((key) => !told.has(key)),
      [],
      'forgotten',
    );
    t.same(
      [...told].filter((key) => !known.has(key)),
      [],
      'invented',
    );
    const before = fencedBlocks(text, '(?:ini|apacheconf)')[0] ?? '';
    const used = [...before.matchAll(/^\s*(OIDC\w+|[a-z0-9_]+(?= =))/gm)].map(([, key = '']) => key);
    t.ok(used.length > 10);
    for (const key of used) t.ok(known.has(key), key);
    t.match(text, '## Going back');
  });

  t.test(`every key of ours that the move from ${proxy} names is in the reference`, async (t) => {
    const reference = readText('docs/configuration.md');
    const named = [
      ...readText(page).matchAll(
        /`((?:server|operations|upstream|session|sources\[\]|routes\[\]|bearer|branding|audit|log|change)\.[a-z_.0-9]+)/g,
      ),
    ].map(([, key = '']) => key);
    t.ok(named.length > 20);
    for (const key of new Set(named)) t.match(reference, `### \`${key}\`\n`);
  });
}
