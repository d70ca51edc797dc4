import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { schemaCommand } from '../../src/commands/schema.ts';

t.test('schema prints the JSON Schema that is committed, and nothing else', async (t) => {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  t.equal(await schemaCommand.run([], { stdout, stderr, env: {} }), 0);
  const printed = String(stdout.end().read());
  t.ok(printed === readFileSync(new URL('../../config/sallyport.schema.json', import.meta.url), 'utf8'));
  t.match(JSON.parse(printed), {
    $schema: /draft\/2020-12/,
    required: ['server', 'upstream', 'session', 'sources'],
  });
  t.equal(stderr.end().read(), null);
});

t.test('schema takes no arguments', async (t) => {
  const io = { stdout: new PassThrough(), stderr: new PassThrough(), env: {} };
  await t.rejects(async () => schemaCommand.run(['x'], io), { code: /^ERR_PARSE_ARGS_/ });
  await t.rejects(async () => schemaCommand.run(['--x'], io), { code: /^ERR_PARSE_ARGS_/ });
});
