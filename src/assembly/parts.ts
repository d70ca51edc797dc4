import type { AssurancePolicy } from '../assurance/types.ts';
import { digestOf } from '../config/comparison.ts';
import type { Config, SourceConfig } from '../config/schema.ts';
import { buildGeneration } from './generation-builder.ts';
import type { Generation } from '../generation.ts';
import { createAssertionSigner, type AssertionSigner } from '../identity/assertion.ts';
import { createBindings } from '../identity/binding.ts';
import { keepBindings, type BindingUpkeep } from '../identity/binding-upkeep.ts';
import { createIdentityHeaders } from '../identity/headers.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import type { SharedParts } from '../kernel/shared-parts.ts';
import { openLineWriter, type LineWriter } from '../operations/line-writer.ts';
import { createLog, type Log } from '../operations/log.ts';
import { createProvider } from '../provider/oidc-provider.ts';
import type { Provider } from '../provider/types.ts';
import { createSealing, type Sealing } from '../session/sealing.ts';
import type { OpenedSession, Store } from '../session/types.ts';

/** What outlives every reload, and what the parts are made with. */
export interface World {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly meter: Meter;
  readonly store: Store;
  /** The log's own writer. */
  readonly out: LineWriter;
  /** Where audit lines go whatever the configuration says. */
  readonly audit: LineWriter | undefined;
  readonly providers: SharedParts<Provider>;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly logFault: (error: unknown) => void;
  /** Named in the log's lines, where several processes write them. */
  readonly pid?: number | undefined;
  /** Told of sessions whose source is not configured. */
  readonly onForeignSession: (session: OpenedSession) => void;
}

/** Everything that follows from one configuration, but for the sockets that are bound: swapped whole by a reload. */
export interface Parts {
  readonly config: Config;
  readonly log: Log;
  readonly auditOut: LineWriter;
  readonly sealing: Sealing;
  readonly signer: AssertionSigner;
  readonly upkeep: BindingUpkeep | undefined;
  readonly generation: Generation;
  /** What this generation holds of {@link World.providers}. */
  readonly providerKeys: readonly string[];
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Digests of what each part follows from: the same digest, the same part. */
  readonly digests: Readonly<Record<'log' | 'audit' | 'secrets' | 'signer' | 'upkeep', string>>;
}

/** How long a reload waits for the discovery of new sources: what takes longer goes on behind it. Milliseconds. */
const discoveryPatienceMs = 2000;

/**
 * Makes the parts of a configuration, taking over from `before` what its change does not touch. Nothing is in force yet, and
 * when it throws, nothing is left behind.
 *
 * @param log what a start has made already
 * @throws config_invalid for what loading the file could not find out
 */
export async function makeParts(
  config: Config,
  world: World,
  before: Parts | { readonly log: Log },
): Promise<Parts> {
  const { clock, randomness, store, providers } = world;
  const former = 'digests' in before ? before : undefined;
  const { session } = config;
  const secrets = digestOf(session.secrets);
  const audience = session.assertion_audience ?? config.upstream.url;
  const digests = {
    log: digestOf(config.log),
    audit: digestOf(config.audit),
    secrets,
    signer: digestOf({ secrets, audience, assertion_key_file: session.assertion_key_file }),
    upkeep: config.upstream.username.bind ? secrets : 'none',
  };
  const undo: (() => unknown)[] = [];
  try {
    const log =
      former === undefined || former.digests.log === digests.log
        ? before.log
        : createLog(config.log, world.out, clock, world.pid);

    const sameAudit = former?.digests.audit === digests.audit;
    const auditOut = sameAudit ? former.auditOut : openAudit(config, world);
    if (!sameAudit) undo.push(() => closeAudit(auditOut, world));

    const sealing =
      former?.digests.secrets === secrets
        ? former.sealing
        : createSealing(
            (session.secrets ?? []).map((secret) => Buffer.from(secret.reveal(), 'utf8')),
            randomness,
          );

    const signer =
      former?.digests.signer === digests.signer
        ? former.signer
        : await createAssertionSigner({
            keyFile: session.assertion_key_file,
            store,
            sealing,
            audience,
            randomness,
          });

    let upkeep = former?.upkeep;
    if (former?.digests.upkeep !== digests.upkeep) {
      const made = config.upstream.username.bind
        ? await keepBindings(createBindings({ store, sealing, clock }), world)
        : undefined;
      if (made !== undefined) undo.push(() => made.stop());
      upkeep = made;
    }

    const providerKeys: string[] = [];
    undo.push(() => {
      for (const key of providerKeys) providers.release(key);
    });
    const fresh: Promise<void>[] = [];
    const providerOf = (source: SourceConfig, policy: AssurancePolicy): Provider => {
      const key = providerKey(source);
      const isNew = !providers.has(key);
      const provider = providers.take(key, () => createProvider(source, policy, world));
      providerKeys.push(key);
      if (isNew && former !== undefined) fresh.push(provider.start());
      return provider;
    };
    const generation = buildGeneration(config, {
      providerOf,
      identityHeaders: createIdentityHeaders(config.upstream, signer, {
        onGroupOmitted: (group, record) =>
          world.logWarning('a group was left out of a header list: it holds a comma', {
            group,
            session: record.id,
          }),
      }),
      onForeignSession: world.onForeignSession,
    });
    if (fresh.length > 0) await Promise.race([Promise.all(fresh), pause(discoveryPatienceMs)]);
    const sinceMs = clock.nowMs();
    return { config, log, auditOut, sealing, signer, upkeep, generation, providerKeys, sinceMs, digests };
  } catch (error) {
    for (const each of undo.reverse()) await each();
    throw error;
  }
}

/** Opens the audit trail's destination. @throws config_invalid when it can't be opened */
export function openAudit({ audit }: Config, { audit: given, out }: World): LineWriter {
  if (given !== undefined) return given;
  return audit.file === undefined ? out : openLineWriter({ file: audit.file });
}

/** Writes what is left and closes, unless others write there too. */
export async function closeAudit(writer: LineWriter, { audit, out }: World): Promise<void> {
  if (writer !== audit && writer !== out) await writer.close();
}

/** What a source's provider follows from; whatever else changes of the source, its discovery and keys stay as they are. */
const providerKeys = [
  'issuer',
  'client_id',
  'client_secret',
  'private_key_jwt',
  'scopes',
  'authorization_params',
  'pushed_authorization_requests',
  'id_token_signed_response_alg',
  'additional_audiences',
  'claims_source',
  'tls',
  'proxy',
] as const satisfies readonly (keyof SourceConfig)[];

function providerKey(source: SourceConfig): string {
  return `${source.id} ${digestOf(Object.fromEntries(providerKeys.map((key) => [key, source[key]])))}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
