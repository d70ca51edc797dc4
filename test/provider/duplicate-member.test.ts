import fc from 'fast-check';
import t from 'tap';
import { findDuplicateMember } from '../../src/provider/duplicate-member.ts';

t.test('a name that stands twice at the top is found, however it is written', async (t) => {
  const rows: [string, string | undefined][] = [
    ['{"a":1,"a":2}', 'a'],
    ['{"a":1,"b":{"a":2}}', undefined],
    ['{"a":"a","b":"b"}', undefined],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{ "x" : [ {"y":1}, {"y":2} ] , "y" : "}" }', undefined],
    ['{"q\\"":1,"q\\"":2}', 'q"'],
    ['{"a":"\\\\","a":1}', 'a'],
    ['{}', undefined],
  ];
  for (const [json, found] of rows) t.equal(findDuplicateMember(json), found, json);
});

t.test('what JSON.stringify writes has no duplicates, and one that is put in is found', async (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue(), (object, value) => {
      const json = JSON.stringify(object);
      const name = Object.keys(object)[0];
      const doubled =
        name === undefined ? undefined : `{${JSON.stringify(name)}:${JSON.stringify(value)},${json.slice(1)}`;
      return (
        findDuplicateMember(json) === undefined &&
        (doubled === undefined || findDuplicateMember(doubled) === name)
      );
    }),
  );
  t.pass();
});
