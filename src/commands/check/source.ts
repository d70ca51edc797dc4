import { resolvePolicy } from '../../assurance/policy.ts';
import type { SourceConfig } from '../../config/schema.ts';
import { inspectProvider, type Inspection } from '../../provider/inspection.ts';
import { fail, ok, warn, type Area, type Finding } from './finding.ts';
import { checkPolicy } from './policy.ts';

/**
 * One source: its policy on paper, its IdP for real, and the one against the other.
 *
 * @param freshRoutes names of the routes with `max_auth_age` that its users may open
 */
export async function checkSource(
  source: SourceConfig,
  redirectUri: string,
  freshRoutes: readonly string[] = [],
): Promise<Area> {
  const { policy, warnings } = resolvePolicy(source.mfa, source);
  const onPaper = warnings.map(({ path, message, cure }) => warn(`mfa.${path.join('.')}: ${message}`, cure));
  const inspection = await inspectProvider(source, policy, redirectUri);
  const name = `source ${source.id}`;
  if (!inspection.reached) {
    return {
      name,
      findings: [fail(`discovery: ${inspection.message}`, cureOfDiscovery(inspection.detail)), ...onPaper],
    };
  }
  return {
    name,
    findings: [
      ok(`discovery: ${source.issuer}`),
      judgeKeys(inspection.keys),
      judgeClient(inspection.client),
      ...judgeScopes(source, inspection.metadata.scopes_supported),
      ...inspection.doubts.map((doubt) =>
        warn(doubt, 'see whether the source asks for what this IdP can do'),
      ),
      ...checkPolicy(policy, inspection.metadata),
      ...judgeFreshness(source, freshRoutes, inspection.metadata.claims_supported),
      ...onPaper,
    ],
  };
}

/** Whether `auth_time` can come, where something is judged by it. With `max_age` it has to, announced or not; some vendors do otherwise. */
function judgeFreshness(
  { mfa }: SourceConfig,
  routes: readonly string[],
  announced: readonly string[] | undefined,
): readonly Finding[] {
  const needed = [
    ...(mfa.max_auth_age === undefined ? [] : ['mfa.max_auth_age']),
    ...routes.map((name) => `the route ${name}`),
  ];
  if (needed.length === 0 || announced === undefined || announced.includes('auth_time')) return [];
  const message = `claims_supported lacks auth_time, which ${needed.join(' and ')} is judged by: nobody passes if it does not come`;
  return [warn(message, 'run sallyport canary and see whether auth_time comes; else take max_auth_age out')];
}

type Reached = Extract<Inspection, { reached: true }>;

function judgeKeys(keys: Reached['keys']): Finding {
  if ('failure' in keys)
    return fail(
      `JWKS: ${keys.failure}`,
      "without the IdP's keys no ID token can be verified: ask its administrator",
    );
  if (keys.algs.length === 0) {
    return fail(
      'JWKS: no asymmetric signature algorithm in common',
      'let the IdP sign ID tokens with RS256, PS256, ES256 or EdDSA',
    );
  }
  return ok(`JWKS: ${keys.count} key(s), ${keys.algs.join(' ')}`);
}

function judgeClient(client: Reached['client']): Finding {
  switch (client.result) {
    case 'accepted':
      return ok('client credentials: accepted (a bogus code got invalid_grant)');
    case 'invalid_client':
      return fail(
        `client credentials: invalid_client: ${client.message}`,
        'the IdP does not know client_id with this secret or key: copy both from its client registration again, and look whether the secret has expired',
      );
    case 'unclear':
    default:
      return warn(
        `client credentials: ${client.message}`,
        'the answer tells neither invalid_client nor invalid_grant; a sign-in will show',
      );
  }
}

function judgeScopes(source: SourceConfig, supported: readonly string[] | undefined): readonly Finding[] {
  const unknown = supported === undefined ? [] : source.scopes.filter((scope) => !supported.includes(scope));
  return unknown.length === 0
    ? []
    : [
        warn(
          `scopes_supported lacks ${unknown.join(' ')}`,
          'take it out of scopes, or grant it to this client',
        ),
      ];
}

function cureOfDiscovery(detail: string): string {
  switch (detail) {
    case 'connection':
      return 'start the IdP or correct the issuer; see DNS, firewall, sources[].proxy and tls.ca_file';
    case 'timeout':
      return 'the IdP did not answer within 10 s: see whether it is up and reachable from here';
    case 'issuer_mismatch':
      return 'write the issuer exactly as its discovery document has it, slash for slash';
    case 'redirected':
      return 'redirects are not followed: write the address that it leads to';
    case 'status':
    case 'content_type':
    case 'not_json':
      return 'no discovery document stands at <issuer>/.well-known/openid-configuration: correct the issuer';
    default:
      return "ask the IdP's administrator: its discovery document can't be used";
  }
}
