import t from 'tap';
import { parseConfig } from '../../src/config/load.ts';
import { readDocument } from '../../src/config/document.ts';
import { faultsOf, soundFile } from './workshop.ts';

function firstFault(text: string) {
  const parsed = parseConfig(text, 'f.yaml', {});
  return parsed.ok ? undefined : (parsed.faults.find(({ code }) => code === 'syntax') ?? parsed.faults[0]);
}

t.test('text that is no configuration is refused with its place', async (t) => {
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
  for (let index = 1; index < 12; index += 1) {
    const name = String.fromCharCode(97 + index);
    const below = String.fromCharCode(96 + index);
    bomb.push(`${name}: &${name} [${Array(10).fill(`*${below}`).join(', ')}]`);
  }
  const table: readonly (readonly [
    what: string,
    text: string,
    message: RegExp,
    line: number,
    column?: number,
  ])[] = [
    ['nothing', '', /empty/, 0],
    ['only comments', '# nothing\n', /empty/, 0],
    ['null', 'null\n', /empty/, 0],
    ['a list', '- a\n- b\n', /expected a mapping/, 0],
    ['a word', 'hello\n', /expected a mapping/, 0],
    ['a number', '42\n', /expected a mapping/, 0],
    ['a tab', 'server:\n\tlisten: x\n', /tab/, 2, 1],
    ['an open bracket', 'server: [a, b\n', /indentation|missing/, 2],
    ['an open quote', 'server: "abc\n', /missing/, 2],
    ['bad indentation', 'server:\n    a: b\n  c: d\n', /./, 3],
    ['a colon too many', 'server: a: b\n', /./, 1],
    ['two documents', 'server: {}\n---\nserver: {}\n', /second YAML document/, 2],
    ['a tag', 'server: !hunter2 {}\n', /tags/, 1],
    ['an unknown alias', 'server: *hunter2\n', /alias/, 1],
    ['a reserved character', 'server: @x\n', /reserve/, 1],
    ['zero bytes', 'server: \u0000\n', /UTF-8/, 0],
    ['binary', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0xff, 0xfe, 0x00]).toString('utf8'), /UTF-8/, 0],
    ['Latin-1', Buffer.from('server: \xe4\n', 'latin1').toString('utf8'), /UTF-8/, 0],
    ['UTF-16', Buffer.from('\ufeffserver: {}\n', 'utf16le').toString('utf8'), /UTF-8/, 0],
    ['a billion laughs', `${bomb.join('\n')}\n`, /aliases/, 0],
    ['an alias within itself', 'server: &a\n  x: *a\n', /nests/, 0],
    ['a merge of itself', 'server: &a\n  <<: *a\n', /nests|alias/, 0],
    ['deep nesting', `server: ${'['.repeat(200)}${']'.repeat(200)}\n`, /nests/, 0],
    ['two megabytes', `# ${'x'.repeat(2 * 1024 * 1024)}\n`, /1 MiB/, 0],
  ];
  for (const [what, text, message, line, column] of table) {
    const fault = firstFault(text);
    t.match(fault?.message, message, what);
    t.equal(fault?.code, 'syntax', what);
    t.equal(fault?.line, line, `${what}: line`);
    if (column !== undefined) t.equal(fault?.column, column, `${what}: column`);
    t.notMatch(JSON.stringify(fault), /hunter2/, `${what}: the report does not quote the file`);
  }
});

t.test('where one bracket too many leaves the parser lost, one mistake is told', (t) => {
  const text = ['server: { public_url: ${URL} }', soundFile.replace(/^/gm, 'x')].join('\n');
  const parsed = parseConfig(text, 'f.yaml', { URL: 'https://forge.example.com' });
  t.match(parsed.ok ? [] : parsed.faults, [{ code: 'syntax', line: 1, message: /belongs to nothing/ }]);
  t.equal(parsed.ok ? 0 : parsed.faults.length, 1);
  t.end();
});

t.test('hostile nesting and repetition are refused in a moment', async (t) => {
  const started = performance.now();
  for (const text of ['['.repeat(5000), '{a: '.repeat(5000), '- '.repeat(5000), '? '.repeat(5000)]) {
    t.equal(parseConfig(text, 'f.yaml', {}).ok, false);
  }
  t.ok(performance.now() - started < 20_000);
});

t.test('a byte order mark and CRLF line ends change nothing', async (t) => {
  t.equal(parseConfig(`\ufeff${soundFile}`, 'f.yaml', {}).ok, true);
  t.equal(parseConfig(soundFile.replaceAll('\n', '\r\n'), 'f.yaml', {}).ok, true);
  const wrong = soundFile.replace('  url: http', '  uri: http').replaceAll('\n', '\r\n');
  t.match(firstFault(wrong), { line: 4, column: 3, path: 'upstream.uri' });
});

t.test('a repeated key is a mistake at its second place, and the rest is still looked at', async (t) => {
  const parsed = parseConfig(`${soundFile}log: { level: infos, level: debug }\nupstream: {}\n`, 'f.yaml', {});
  t.equal(parsed.ok, false);
  if (parsed.ok) return;
  t.match(parsed.faults, [
    { line: 14, column: 15, path: 'log.level', code: 'bad_value' },
    { line: 14, column: 22, path: 'log.level', code: 'duplicate_key' },
    { line: 15, column: 1, path: 'upstream', code: 'duplicate_key' },
  ]);
  t.equal(parsed.faults.length, 3);
});

t.test('anchors, aliases and merge keys work', async (t) => {
  const { document } = readDocument(
    'a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: {<<: [{y: 9}, *a]}\n',
    'f',
    {},
  );
  t.same(document?.value, { a: { x: 1, y: 2 }, b: { x: 1, y: 3 }, c: { x: 1, y: 2 }, d: { x: 1, y: 9 } });
});

t.test('a merge of something else is a mistake', async (t) => {
  t.match(faultsOf(`${soundFile}log:\n  <<: 3\n`), [
    'log["<<"]: expected a mapping, or a list of mappings, to merge',
  ]);
});

t.test('keys of Object.prototype are plain keys, and unknown', async (t) => {
  for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    t.same(faultsOf(`${soundFile}${key}: { level: debug }\n`), [`${key}: unknown key`], key);
    t.same(faultsOf(`${soundFile}log: { ${key}: 1 }\n`), [`log.${key}: unknown key`], key);
  }
  t.equal(({} as Record<string, unknown>)['level'], undefined);
});

t.test('numbers, dates and words of YAML 1.1 keep their YAML 1.2 meaning', async (t) => {
  const { document } = readDocument(
    'a: no\nb: 2027-01-31\nc: 0o17\nd: 1e3\ne: 12_000\nf: on\ng: ~\n',
    'f',
    {},
  );
  t.same(document?.value, { a: 'no', b: '2027-01-31', c: 15, d: 1000, e: '12_000', f: 'on', g: null });
});
