import t from 'tap';
import { parseConfig } from '../../src/config/load.ts';
import { redactedConfig } from '../../src/config/redaction.ts';
import { soundFile } from './workshop.ts';

t.test('a printed configuration holds no secret, and everything else', async (t) => {
  const text = soundFile
    .replace('hush-hush', 'hunter2')
    .replace('redis://redis', 'redis://me:hunter2@redis')
    .replace('    mfa:', '    proxy: "http://me:hunter2@proxy:1"\n    mfa:');
  const parsed = parseConfig(text, 'f.yaml', {});
  if (!parsed.ok) throw new Error(parsed.report);
  const redacted = redactedConfig(parsed.config);
  t.notMatch(JSON.stringify(redacted), /hunter2|0123456789abcdef/);
  t.notMatch(String(parsed.config.sources[0]?.client_secret), /hunter2/);
  t.match(redacted, {
    server: { public_url: ['https://forge.example.com'] },
    session: { secrets: ['[redacted]'], redis: { url: 'redis://[redacted]@redis:6379/0' } },
    sources: [{ client_id: 'sallyport', client_secret: '[redacted]', proxy: 'http://[redacted]@proxy:1' }],
  });
});
