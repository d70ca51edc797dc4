import { resolvePolicy } from '../../src/assurance/policy.ts';
import { configSchema, type ConfigInput } from '../../src/config/schema.ts';

/** A source's configuration and policy, without a provider. */
export function buildSource(source: Partial<ConfigInput['sources'][number]>) {
  const { sources } = configSchema.parse({
    server: { public_url: 'https://forge.example.com' },
    upstream: { url: 'http://127.0.0.1:3000' },
    session: { secrets: ['x'.repeat(32)] },
    sources: [{ id: 'main', issuer: 'https://idp.example.com', client_id: 'forge', ...source }],
  });
  const config = sources[0]!;
  return { config, policy: resolvePolicy(config.mfa, config).policy };
}
