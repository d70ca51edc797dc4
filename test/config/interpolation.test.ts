import fc from 'fast-check';
import t from 'tap';
import { interpolate } from '../../src/config/interpolation.ts';

const env = { A: 'alpha', EMPTY: '', NESTED: '${A}', YAML: 'x: [1, 2] # {', B_2: 'beta' };

t.test('fills variables into a scalar', async (t) => {
  const table: readonly (readonly [template: string, expected: string])[] = [
    ['${A}', 'alpha'],
    ['-${A}-${B_2}-', '-alpha-beta-'],
    ['${UNSET:-fallback}', 'fallback'],
    ['${UNSET:-}', ''],
    ['${EMPTY:-fallback}', 'fallback'],
    ['${EMPTY}', ''],
    ['${A:-fallback}', 'alpha'],
    ['${UNSET:-a:-b}', 'a:-b'],
    ['$${A}', '${A}'],
    ['$$${A}', '$${A}'],
    ['$${', '${'],
    ['$A $ $$ {A}', '$A $ $$ {A}'],
    ['100$', '100$'],
    ['${NESTED}', '${A}'],
    ['${YAML}', 'x: [1, 2] # {'],
    ['', ''],
  ];
  for (const [template, expected] of table) {
    t.match(interpolate(template, env), { ok: true, text: expected }, template);
  }
});

t.test('refuses what is no variable, and an unset one', async (t) => {
  for (const template of [
    '${UNSET}',
    '${',
    '${}',
    '${A',
    '${1A}',
    '${A-b}',
    '${ A }',
    '${A:fallback}',
    'x${A}${UNSET}',
  ]) {
    t.equal(interpolate(template, env).ok, false, template);
  }
});

t.test('names of Object.prototype are not variables', async (t) => {
  t.equal(interpolate('${__proto__x}', {}).ok, false);
  for (const name of ['constructor', 'toString', '__proto__']) {
    t.equal(interpolate(`\${${name}}`, {}).ok, false, name);
  }
});

t.test('text without a dollar sign stays as it is, and an escaped text comes back', async () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const plain = text.replaceAll('$', '');
      const result = interpolate(plain, env);
      return result.ok && result.text === plain && !result.fromEnvironment;
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.constantFrom('a', '{', '}', '${', ':-', ' ')), (parts) => {
      const text = parts.join('');
      const result = interpolate(text.split('${').join('$${'), env);
      return result.ok && result.text === text;
    }),
  );
});

t.test('a value is filled in once, whatever it holds', async () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const result = interpolate('<${V}>', { V: value });
      return result.ok && result.text === `<${value}>`;
    }),
  );
});
