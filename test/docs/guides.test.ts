import { readdirSync } from 'node:fs';
import t from 'tap';
import { resolvePolicy } from '../../src/assurance/policy.ts';
import { hintFor, reasonCodes } from '../../src/assurance/reasons.ts';
import { vendorHints } from '../../src/assurance/vendor-hints.ts';
import { fillGuide, type GuideSources, type VendorFacts } from '../../src/commands/guides.ts';
import { parseConfig } from '../../src/config/load.ts';
import { fencedBlocks, markdownIn, readText } from './documents.ts';

const examples = readdirSync(new URL('../../config/idp/', import.meta.url)).map((name) =>
  name.replace(/\.yaml$/, ''),
);
const facts = JSON.parse(readText('test/fixtures/idp-claims.json')) as VendorFacts[];
const sources: GuideSources = { exampleOf: (name) => readText(`config/idp/${name}.yaml`), facts };
const guides = markdownIn('docs/idp/');
const vendorGuides = guides.filter((path) => !path.endsWith('README.md'));
const nameOf = (path: string) => path.replace(/^.*\/|\.md$/g, '');

/** The Markdown escapes of the generator, taken back. */
const plain = (text: string) => text.replace(/\\([<*|])/g, '$1');

function sourceOf(path: string) {
  const parsed = parseConfig(sources.exampleOf(nameOf(path)), path, {});
  if (!parsed.ok) throw new Error(parsed.report);
  return parsed.config.sources[0]!;
}

t.test('what is generated in the guides is that of the code: npm run generate', async (t) => {
  for (const path of guides) t.ok(readText(path) === fillGuide(readText(path), sources), path);
});

t.test('a generated part that there is not is a fault', async (t) => {
  const filled = (instruction: string) => () =>
    fillGuide(`<!-- generated: ${instruction} -->\n<!-- end -->`, sources);
  t.throws(filled('poetry'), /poetry/);
  t.throws(filled('facts nobody'), /nobody/);
  t.throws(filled('hints entra_c2 okta_2fa'), /not the same/);
});

t.test('every example has its guide, and the overview leads to it', async (t) => {
  t.same(vendorGuides.map(nameOf).sort(), examples.toSorted());
  const overview = readText('docs/idp/README.md');
  for (const path of vendorGuides) t.match(overview, `(${nameOf(path)}.md)`);
});

t.test('each guide has its parts, in one order', async (t) => {
  for (const path of vendorGuides) {
    const headings = [...readText(path).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    t.same(
      headings,
      [
        'What to do at the provider',
        'What to write here',
        'What goes over the wire',
        'What the canary should show',
        'What goes wrong',
        'What is known of its tokens',
      ],
      path,
    );
  }
});

t.test('the configuration in each guide is whole, and valid', async (t) => {
  for (const path of vendorGuides) {
    const whole = fencedBlocks(readText(path), 'yaml').filter((block) => /^sources:/m.test(block));
    t.equal(whole.length, 1, path);
    for (const text of whole) {
      const parsed = parseConfig(text, path, {});
      t.equal(parsed.ok ? '' : parsed.report, '');
    }
  }
});

t.test('the addresses to register are those of the source', async (t) => {
  for (const path of vendorGuides) {
    const { id } = sourceOf(path);
    const named = [
      ...readText(path).matchAll(
        /\/_sallyport\/(?:callback|backchannel-logout|frontchannel-logout|canary)\/([a-z0-9-]+)/g,
      ),
    ];
    t.ok(named.length >= 4, path);
    for (const [address, source] of named) t.equal(source, id, `${path}: ${address}`);
  }
});

t.test('what goes over the wire is what the policy asks for', async (t) => {
  for (const path of vendorGuides) {
    const source = sourceOf(path);
    const { acrValues, requestedClaims, maxAuthAgeSeconds } = resolvePolicy(source.mfa, source).policy;
    const [wire = ''] = fencedBlocks(readText(path), 'text');
    const sent = new Map(
      wire
        .trimEnd()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    t.equal(sent.get('acr_values'), acrValues.length === 0 ? undefined : acrValues.join(' '), path);
    t.same(JSON.parse(sent.get('claims') ?? '{}'), requestedClaims, path);
    t.equal(
      sent.get('max_age'),
      maxAuthAgeSeconds === undefined ? undefined : String(maxAuthAgeSeconds),
      path,
    );
  }
});

t.test('the canary of each guide: AAL2 with a second factor, AAL1 without', async (t) => {
  for (const path of vendorGuides) {
    const verdicts = [...readText(path).matchAll(/^→ \*\*(AAL\d)\*\*/gm)].map(([, aal]) => aal);
    t.same(verdicts, ['AAL2', 'AAL1'], path);
  }
});

t.test('a hint is one text: whatever a refusal says of a vendor stands in its guide', async (t) => {
  const overview = plain(readText('docs/idp/README.md'));
  for (const path of vendorGuides) {
    const guide = plain(readText(path));
    const { preset } = sourceOf(path).mfa;
    for (const reason of reasonCodes) {
      const general = hintFor(reason, '');
      t.ok(overview.includes(general), `${reason} in the overview`);
      const ofVendor = hintFor(reason, preset).slice(general.length).trim();
      const { always = '', byReason = {} } = vendorHints.get(preset) ?? {};
      const parts =
        ofVendor === ''
          ? []
          : [
              always,
              ...Object.entries(byReason)
                .filter(([code]) => code === reason)
                .map(([, text]) => text),
            ];
      t.equal(ofVendor.length, parts.reverse().join(' ').length, `${preset} ${reason}: nothing more is said`);
      for (const part of parts) t.ok(guide.includes(part), `${preset} ${reason}`);
    }
  }
});

t.test("the seeds' troubleshooting lists stand in the guides whole", async (t) => {
  const wanted: Readonly<Record<string, readonly RegExp[]>> = {
    entra: [/not bound to it/, /no policy targets/, /Microsoft Authenticator/, /excludes?/],
    okta: [/Any factor type allowed/, /phishing-resistant/],
    google: [
      /2-Step Verification is enforced/,
      /not merely set up by some users/,
      /opted in|enabled "Authentication strength claims"/,
    ],
    keycloak: [/max age .* defaults to \*?\*?0/],
    authelia: [/"pwd","kba"|pwd and kba/, /never `?mfa`?/],
    README: [
      /still AAL1 after a successful sign-in/,
      /claims_source: userinfo/,
      /never did MFA/,
      /Audit the lists/,
    ],
  };
  for (const [name, patterns] of Object.entries(wanted)) {
    for (const pattern of patterns) t.match(plain(readText(`docs/idp/${name}.md`)), pattern, name);
  }
});

t.test(
  'every fact bears a mark that says how it is known, and every vendor of a guide its sources',
  async (t) => {
    for (const path of vendorGuides) {
      const known = readText(path).split('## What is known of its tokens')[1] ?? '';
      t.match(known, /Sources: (?!none)/, path);
      t.match(known, /- \[[VOIM]/, path);
      t.match(
        readText(path).split('## What to write here')[0] ?? '',
        /\[(?:V|M)[ \]]/,
        `${path}: steps are marked`,
      );
    }
  },
);
