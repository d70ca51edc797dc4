import { type Config, configSchema } from '../config/schema.ts';
import { demoOperator } from './users.ts';

/** What varies from one start of the demo to the next. */
export interface DemoAddresses {
  /** Port of 127.0.0.1 on which Sallyport listens. */
  readonly port: number;
  readonly issuer: string;
  readonly upstream: string;
  readonly clientSecret: string;
  /** Seals the sessions of this run; 32 bytes or more. */
  readonly sessionSecret: string;
}

/** The only source's id; part of its callback. */
export const demoSourceId = 'demo';
/** The client id of Sallyport at the demo identity provider. */
export const demoClientId = 'sallyport-demo';

/**
 * The demo's own configuration: loopback only, sessions in memory, and the strict rule for what counts as MFA.
 *
 * Parsed by the same definition as a file, so that the demo cannot drift away from what an operator can write.
 */
export function demoConfiguration(addresses: DemoAddresses): Config {
  return configSchema.parse({
    server: {
      listen: `127.0.0.1:${addresses.port}`,
      public_url: `http://localhost:${addresses.port}`,
      shutdown_grace: '1s',
    },
    operations: { listen: '127.0.0.1:0' },
    upstream: { url: addresses.upstream, preset: 'forgejo' },
    session: { secrets: [addresses.sessionSecret], assertion_audience: addresses.upstream },
    sources: [
      {
        id: demoSourceId,
        display_name: 'Demo identity provider',
        issuer: addresses.issuer,
        client_id: demoClientId,
        client_secret: addresses.clientSecret,
        mfa: { mode: 'enforce', preset: 'generic', aal2_amr_values: 'strict' },
      },
    ],
    // Status and canary are for operators: somebody has to be one, or the demo could not show them.
    operators: [{ emails: [demoOperator.email] }],
    log: { level: 'error', access: false },
  });
}
