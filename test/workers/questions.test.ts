import t from 'tap';
import { createQuestions } from '../../src/workers/questions.ts';

/** Longer than any of these tests takes. */
const patienceMs = 60_000;

t.test('an answer goes to the question of its number, and only once', async (t) => {
  const questions = createQuestions<string, string>();
  const ids: number[] = [];
  const first = questions.ask('a', (id) => ids.push(id), patienceMs);
  const second = questions.ask('b', (id) => ids.push(id), patienceMs);
  questions.answered(ids[1]!, 'to b');
  questions.answered(ids[1]!, 'too late');
  questions.answered(1234, 'to nobody');
  questions.answered(ids[0]!, 'to a');
  t.same([await first, await second], ['to a', 'to b']);
});

t.test('whoever is gone answers nothing any more; the others still may', async (t) => {
  const questions = createQuestions<string, string>();
  const ids: number[] = [];
  const lost = ['x', 'y'].map(() => questions.ask('gone', () => undefined, patienceMs));
  const other = questions.ask('here', (id) => ids.push(id), patienceMs);
  questions.gone('gone');
  t.same(await Promise.all(lost), [undefined, undefined]);
  questions.answered(ids[0]!, 'still here');
  t.equal(await other, 'still here');
});

t.test('nobody is waited for longer than patience lasts', async (t) => {
  const questions = createQuestions<string, string>();
  t.equal(await questions.ask('silent', () => undefined, 1), undefined);
});
