import type { Writable } from 'node:stream';
import { startApp } from '../app.ts';
import { randomToken, systemRandomness } from '../kernel/randomness.ts';
import { demoClientId, demoConfiguration, demoSourceId } from './configuration.ts';
import { createForge } from './forge.ts';
import { createIdentityProvider } from './identity-provider.ts';
import { openLoopbackServer } from './loopback-server.ts';

/** A running demo. */
export interface Demo {
  /** The address to open. */
  readonly origin: string;
  readonly issuer: string;
  /** The demo forge itself, past Sallyport. */
  readonly upstream: string;
  close(): Promise<void>;
}

/** Where the demo listens, and where its lines go. */
export interface DemoOptions {
  /** A free port of the loopback addresses for Sallyport. */
  readonly port: number;
  readonly log: Writable;
  /** Takes the audit trail as JSON lines. */
  readonly audit: Writable;
}

/** Starts the demo identity provider, the demo forge, and a real Sallyport between them, all on loopback. */
export async function startDemo(options: DemoOptions): Promise<Demo> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closers.reverse().splice(0)) await each();
  };
  try {
    const idp = await openLoopbackServer();
    closers.push(() => idp.close());
    const forge = await openLoopbackServer();
    closers.push(() => forge.close());
    // `localhost` for Sallyport and 127.0.0.1 for the others: cookies know no ports, only hosts.
    const origin = `http://localhost:${options.port}`;
    const clientSecret = randomToken(systemRandomness);
    const config = demoConfiguration({
      port: options.port,
      issuer: idp.origin,
      upstream: forge.origin,
      clientSecret,
      sessionSecret: randomToken(systemRandomness),
    });
    const prefix = config.server.path_prefix;
    const client = {
      clientId: demoClientId,
      clientSecret,
      redirectUri: `${origin}${prefix}/callback/${demoSourceId}`,
      postLogoutRedirectUri: `${origin}${prefix}/signed-out`,
    };
    idp.serve(await createIdentityProvider(idp.origin, client, systemRandomness));
    forge.serve(createForge({ sallyportOrigin: origin, pathPrefix: prefix, audience: forge.origin }));
    const app = await startApp(config, { log: options.log, audit: options.audit });
    closers.push(() => app.close());
    return { origin, issuer: idp.origin, upstream: forge.origin, close };
  } catch (error) {
    await close();
    throw error;
  }
}
