import { asymmetricAlgorithms } from '../kernel/signature-algorithms.ts';
import { resolvePolicy } from '../assurance/policy.ts';
import { isLoopback, parseWebUrl } from './addresses.ts';
import { checkEmails } from './email-checks.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config, SourceConfig } from './schema.ts';

/** What Sallyport itself sends, and what must never travel in an authorization request. */
const ownParameters: ReadonlySet<string> = new Set([
  'response_type',
  'response_mode',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'redirect_uri',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'acr_values',
  'claims',
  'max_age',
  'request',
  'request_uri',
  'registration',
  'grant_type',
  'code',
  'id_token_hint',
]);

/** `sources`. */
export function checkSources(judge: Judge, { sources }: Config): void {
  const ids = new Map<string, number>();
  for (const [index, source] of sources.entries()) {
    const path: KeyPath = ['sources', index];
    const first = ids.get(source.id);
    if (first === undefined) ids.set(source.id, index);
    else {
      const message = `${quote(source.id)} is already the id of sources[${first}]`;
      judge.refuseTogether(
        [...path, 'id'],
        [['sources', first, 'id']],
        message,
        'give each source its own id',
      );
    }
    checkSource(judge, path, source);
    checkMfa(judge, path, source);
  }
}

function checkSource(judge: Judge, path: KeyPath, source: SourceConfig): void {
  checkIssuer(judge, [...path, 'issuer'], source.issuer);
  checkClientAuthentication(judge, path, source);
  if (!source.scopes.some((scope) => scope.split(' ').includes('openid'))) {
    judge.refuse(
      [...path, 'scopes'],
      'expected openid among the scopes: without it there is no ID token',
      'add openid',
    );
  }
  for (const [index, scope] of source.scopes.entries()) {
    // RFC 6749 section 3.3: scope-token.
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) {
      judge.refuse(
        [...path, 'scopes', index],
        `expected one scope, found ${quote(scope)}`,
        'one list entry per scope',
      );
    }
  }
  for (const name of Object.keys(source.authorization_params)) {
    if (!ownParameters.has(name.toLowerCase())) continue;
    judge.refuse(
      [...path, 'authorization_params', name],
      `${name} is set by Sallyport itself`,
      parameterCures[name] ?? 'remove it',
    );
  }
  if (source.authorization_params['prompt']?.split(' ').includes('none') === true) {
    const at: KeyPath = [...path, 'authorization_params', 'prompt'];
    judge.refuse(
      at,
      'prompt: none lets the IdP show nothing: nobody without a session there could sign in',
      'remove it',
    );
  }
  checkAlgorithm(judge, [...path, 'id_token_signed_response_alg'], source.id_token_signed_response_alg);
  checkAlgorithm(judge, [...path, 'private_key_jwt', 'alg'], source.private_key_jwt?.alg);
  for (const [index, domain] of source.email_domains.entries()) {
    if (
      /^(?=.{1,253}$)([\p{L}\p{N}]([\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)*[\p{L}\p{N}][\p{L}\p{N}-]*$/u.test(
        domain,
      )
    )
      continue;
    const cure = domain.includes('@')
      ? `write ${quote(domain.slice(domain.lastIndexOf('@') + 1))}`
      : undefined;
    judge.refuse(
      [...path, 'email_domains', index],
      `expected a domain such as example.com, found ${quote(domain)}`,
      cure,
    );
  }
  if (source.proxy !== undefined && parseWebUrl(source.proxy) === undefined) {
    judge.refuse(
      [...path, 'proxy'],
      'expected the URL of an HTTP proxy, such as http://proxy.example.com:3128',
    );
  }
  const setup = source.mfa_setup_url;
  if (setup !== undefined && parseWebUrl(setup) === undefined) {
    judge.refuse([...path, 'mfa_setup_url'], `expected an http or https URL, found ${quote(setup)}`);
  }
}

const parameterCures: Readonly<Record<string, string | undefined>> = {
  scope: 'write scopes',
  acr_values: 'write mfa.acr_values',
  claims: 'write mfa.requested_claims',
  max_age: 'write mfa.max_auth_age',
};

function checkIssuer(judge: Judge, path: KeyPath, issuer: string): void {
  const url = parseWebUrl(issuer);
  if (url === undefined) {
    judge.refuse(path, `expected the issuer's https URL, found ${quote(issuer)}`);
  } else if (url.protocol === 'http:' && !isLoopback(url)) {
    judge.refuse(
      path,
      `expected https, because ${url.hostname} is no loopback`,
      'the keys are fetched from there',
    );
  } else if (/[?#]/.test(issuer) || url.username !== '' || url.password !== '') {
    judge.refuse(path, 'expected no query, fragment or user name in an issuer (OIDC Discovery, section 2)');
  }
  if (/\/\.well-known\/openid-configuration\/?$/.test(issuer)) {
    judge.refuse(
      path,
      'expected the issuer, not its discovery document',
      'remove /.well-known/openid-configuration',
    );
  }
}

/**
 * Exactly one way to authenticate the client. A public client (PKCE alone) is refused: then anyone could redeem
 * a code for which they hold the verifier, and PAR and the token endpoint would not know who asks.
 */
function checkClientAuthentication(judge: Judge, path: KeyPath, source: SourceConfig): void {
  const keys = ['client_secret', 'client_secret_file', 'private_key_jwt'] as const;
  const paths = keys.map((key): KeyPath => [...path, key]);
  const given = keys.filter((key) => source[key] !== undefined);
  const [first, second] = given;
  if (first === undefined) {
    const cure = 'Sallyport is a confidential client: make a secret (or register a key) at the IdP';
    const message = 'required: expected client_secret_file, client_secret or private_key_jwt';
    judge.miss([...path, 'client_secret_file'], paths, message, cure);
  } else if (second !== undefined) {
    judge.refuseTogether([...path, second], paths, `${given.join(' and ')} are given`, 'keep one of them');
  }
}

function checkAlgorithm(judge: Judge, path: KeyPath, algorithm: string | undefined): void {
  if (algorithm === undefined || asymmetricAlgorithms.includes(algorithm)) return;
  judge.refuse(path, `expected one of ${asymmetricAlgorithms.join(', ')}, found ${quote(algorithm)}`);
}

/** The MFA policy, by the room that owns it; silent while a key below `mfa` is not the operator's. */
function checkMfa(judge: Judge, sourcePath: KeyPath, source: SourceConfig): void {
  const path: KeyPath = [...sourcePath, 'mfa'];
  const { mfa } = source;
  if (mfa.enforce_for?.groups.length === 0 && mfa.enforce_for.emails.length === 0) {
    judge.refuse(
      [...path, 'enforce_for'],
      'expected groups or emails: this names nobody',
      'remove it, or name somebody',
    );
  }
  checkEmails(judge, [...path, 'enforce_for', 'emails'], mfa.enforce_for?.emails);
  if (mfa.max_auth_age !== undefined && mfa.max_auth_age % 1000 !== 0) {
    judge.refuse([...path, 'max_auth_age'], 'expected whole seconds: max_age knows no smaller unit');
  }
  for (const claim of Object.keys(mfa.aal2_claims ?? {})) {
    const instead = { amr: 'aal2_amr_values', acr: 'aal2_acr_values' }[claim];
    if (instead !== undefined)
      judge.refuse(
        [...path, 'aal2_claims', claim],
        `expected another claim than ${claim}`,
        `write ${instead}`,
      );
  }
  if (!judge.isSound(path) || !judge.isSound([...sourcePath, 'issuer'])) return;
  const { faults, warnings } = resolvePolicy(mfa, source);
  for (const fault of faults) judge.refuseTogether([...path, ...fault.path], [], fault.message, fault.cure);
  for (const warning of warnings)
    judge.warn([...path, ...warning.path], `${warning.message}; ${warning.cure}`);
}
