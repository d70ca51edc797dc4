import fc from 'fast-check';
import t from 'tap';
import { bounded, html, shown } from '../../src/pages/html.ts';
import { isWebUrl } from '../../src/pages/layout.ts';

t.test('every value in a template is escaped, markup made by the template is not', async (t) => {
  const inner = html`<b>${'<i>&"\''}</b>`;
  t.equal(inner.toString(), '<b>&lt;i&gt;&amp;&quot;&#39;</b>');
  t.equal(
    html`${inner}${[inner, 'x<']}${undefined}${false}${7}`.toString(),
    `${inner.toString()}${inner.toString()}x&lt;7`,
  );
});

t.test('no text can leave its element or its quoted attribute', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const page = html`<p title="${text}">${text}</p>`.toString();
      return (
        (page.match(/[<>]/g) ?? []).length === 4 &&
        (page.match(/"/g) ?? []).length === 2 &&
        !page.includes("'")
      );
    }),
  );
});

t.test("a stranger's text is cut, and cannot turn the line around or break it", async (t) => {
  t.equal(bounded('a\u202eb\u0000c\nd\ud800', 10), 'a\ufffdb\ufffdc\ufffdd\ufffd');
  t.equal(bounded('x'.repeat(500), 10), `${'x'.repeat(10)}…`);
  t.equal(bounded('😀'.repeat(5), 3), '😀😀😀…', 'between characters, never inside one');
  t.equal(bounded('déjà vu 名', 20), 'déjà vu 名');
});

t.test('a claim is shown as received, an absent one as not sent', async (t) => {
  t.equal(shown(['pwd', ' mfa ']), '["pwd"," mfa "]');
  t.equal(shown(undefined), 'not sent');
  t.equal(shown(null), 'null');
  t.ok(shown(['x'.repeat(5000)]).length < 210);
});

t.test('only web and mail addresses become links', async (t) => {
  for (const url of ['https://a.example/x', 'http://localhost/', 'mailto:help@example.com'])
    t.ok(isWebUrl(url), url);
  for (const url of [
    undefined,
    '',
    'javascript:alert(1)',
    ' https://a',
    'https://a b',
    'data:text/html,x',
    '/x',
  ]) {
    t.notOk(isWebUrl(url), String(url));
  }
});
