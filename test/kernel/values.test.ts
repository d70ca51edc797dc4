import { inspect } from 'node:util';
import t from 'tap';
import { parseDuration } from '../../src/kernel/duration.ts';
import { isFault, SallyportError } from '../../src/kernel/error.ts';
import { jsonText } from '../../src/kernel/json-text.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { parseSize } from '../../src/kernel/size.ts';

t.test('durations are an integer and a unit, nothing else', async (t) => {
  const good: [string, number][] = [
    ['0s', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['15m', 900_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
  ];
  for (const [text, ms] of good) t.equal(parseDuration(text), ms, text);
  for (const text of ['', '30', 's', '-1s', '1.5h', '01s', '1 s', '1S', '1w', '1h30m', ' 1s', '1s\n']) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text));
  }
});

t.test('sizes are an integer and a binary unit, nothing else', async (t) => {
  t.equal(parseSize('64KiB'), 65_536);
  t.equal(parseSize('2GiB'), 2_147_483_648);
  t.equal(parseSize('1B'), 1);
  for (const text of ['', '64', '64KB', '64kib', '-1B', '1.5MiB', '1 MiB', '1MiB\n']) {
    t.equal(parseSize(text), undefined, JSON.stringify(text));
  }
});

t.test('a secret never shows itself, however it is printed', async (t) => {
  const secret = new Secret('hunter2-hunter2');
  const shown = [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9, showHidden: true }),
  ];
  for (const text of shown) t.notMatch(text, /hunter2/);
  t.equal(secret.reveal(), 'hunter2-hunter2');
});

t.test('a fault is recognised by its code, and keeps its message from the public', async (t) => {
  const fault = new SallyportError('store_unavailable', 'connect ECONNREFUSED 10.0.0.7:6379');
  t.ok(isFault(fault, 'store_unavailable'));
  t.notOk(isFault(fault, 'internal'));
  t.notOk(isFault(new Error('x'), 'internal'));
  t.equal(fault.statusCode, 503);
  t.notMatch(fault.publicMessage, /10\.0\.0\.7/);
});

t.test('JSON is on one line, or indented where somebody is to read it', async (t) => {
  t.equal(jsonText({ a: [1] }), '{"a":[1]}');
  t.equal(jsonText({ a: [1] }, 2), '{\n  "a": [\n    1\n  ]\n}');
});
