import { presetRoutes } from '../policy/forge-routes.ts';
import { fateOfHeader } from '../policy/header-fate.ts';
import { normalizeHeaderName } from '../policy/identity-header-names.ts';
import { compilePattern } from '../policy/pattern.ts';
import { findRouteFaults } from '../policy/routes.ts';
import { checkEmails } from './email-checks.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config, RouteConfig } from './schema.ts';
import { tokenPattern } from './upstream-checks.ts';

/** `routes`. */
export function checkRoutes(judge: Judge, config: Config): void {
  checkByPolicy(judge, config);
  const ours = new Set(
    (config.upstream.identity_headers ?? []).map(({ header }) => normalizeHeaderName(header)),
  );
  for (const [index, route] of config.routes.entries()) {
    const path: KeyPath = ['routes', index];
    checkReach(judge, path, route, config.server.path_prefix);
    checkMethods(judge, path, route);
    checkNarrowing(judge, path, route);
    checkCredentialHeaders(judge, path, route, ours);
    checkSourcesOf(judge, path, route, config);
  }
}

/** Patterns, names and keys without effect, by the room that owns the rules. */
function checkByPolicy(judge: Judge, { routes, upstream }: Config): void {
  // A placeholder's name must not clash with a real one.
  const named = routes.map((route, index) =>
    judge.isSound(['routes', index, 'name']) ? route : { ...route, name: `placeholder ${index}` },
  );
  const preset = judge.isSound(['upstream', 'preset']) ? presetRoutes(upstream.preset) : [];
  for (const { index, path, message, cure } of findRouteFaults(named, preset)) {
    const at: KeyPath = ['routes', index, ...path];
    const others: readonly KeyPath[] = path[0] === 'path' ? [] : [['routes', index, 'access']];
    judge.refuseTogether(at, others, message, cure);
  }
}

/** A pattern that only our own endpoints could match, by case folded as the gate does, is no fault, but no rule either. */
function checkReach(judge: Judge, path: KeyPath, route: RouteConfig, prefix: string): void {
  const compiled = compilePattern(route.path);
  const segments = 'fault' in compiled ? [] : compiled.pattern.segments;
  const own = prefix.toLowerCase().split('/').slice(1);
  const isOwn = (literal: string, at: number) => {
    const segment = segments[at];
    return typeof segment === 'object' && segment.literal.toLowerCase() === literal;
  };
  if (own.every(isOwn)) {
    judge.warn([...path, 'path'], `never matches: everything under ${prefix} is Sallyport's own`);
  }
}

/** Methods are case-sensitive tokens (RFC 9110 section 9.1), and nobody means one in small letters. */
function checkMethods(judge: Judge, path: KeyPath, { methods }: RouteConfig): void {
  for (const [index, method] of (methods ?? []).entries()) {
    const upper = method.toUpperCase();
    if (tokenPattern.test(method) && method === upper) continue;
    const cure = tokenPattern.test(upper) ? `write ${upper}` : undefined;
    judge.refuse(
      [...path, 'methods', index],
      `expected an HTTP method in capitals, found ${quote(method)}`,
      cure,
    );
  }
}

/**
 * Headers that browsers send of themselves, or that say what a message is. Taken for a credential, they would let everyone in, as one that is
 * dropped on the way (policy/header-fate.ts) would without ever reaching the app.
 */
const noCredential =
  /^(?:origin|referer|user-agent|accept(?:-.*)?|content-.*|sec-.*|if-.*|range|cache-control|pragma|priority|dnt|upgrade-insecure-requests|via)$/;

/** @param ours folded names of `upstream.identity_headers` */
function checkCredentialHeaders(
  judge: Judge,
  path: KeyPath,
  route: RouteConfig,
  ours: ReadonlySet<string>,
): void {
  if (route.credential_headers?.length === 0) {
    judge.refuse([...path, 'credential_headers'], 'expected at least one name', 'leave it out');
  }
  for (const [index, name] of (route.credential_headers ?? []).entries()) {
    const at: KeyPath = [...path, 'credential_headers', index];
    if (!tokenPattern.test(name)) judge.refuse(at, `expected the name of a header, found ${quote(name)}`);
    else if (noCredential.test(normalizeHeaderName(name)) || fateOfHeader(name, ours) !== 'keep')
      judge.refuse(at, `${name} cannot be a credential: it has a meaning of its own`);
  }
}

/** An empty list lets nobody in, which the operator hardly means; `access: deny` says that. */
function checkNarrowing(judge: Judge, path: KeyPath, route: RouteConfig): void {
  for (const key of ['sources', 'groups', 'emails'] as const) {
    if (route[key]?.length !== 0) continue;
    judge.refuse(
      [...path, key],
      'expected at least one entry: an empty list matches nobody',
      `remove ${key}, or fill it`,
    );
  }
  checkEmails(judge, [...path, 'emails'], route.emails);
  if (route.max_auth_age !== undefined && route.max_auth_age % 1000 !== 0) {
    judge.refuse([...path, 'max_auth_age'], 'expected whole seconds: auth_time knows no smaller unit');
  }
}

function checkSourcesOf(judge: Judge, path: KeyPath, route: RouteConfig, { sources }: Config): void {
  const ids = sources.map(({ id }) => id);
  const idsAreSound = sources.every((_, index) => judge.isSound(['sources', index, 'id']));
  const checkId = (at: KeyPath, id: string) => {
    if (!ids.includes(id) && idsAreSound)
      judge.refuse(at, `no source has the id ${quote(id)}`, `the sources are ${ids.join(', ')}`);
  };
  for (const [index, id] of (route.sources ?? []).entries()) checkId([...path, 'sources', index], id);
  const groupsOrEmails = route.groups ?? route.emails;
  if (route.source !== undefined) {
    checkId([...path, 'source'], route.source);
    if (route.sources !== undefined && !route.sources.includes(route.source)) {
      judge.refuseTogether(
        [...path, 'source'],
        [[...path, 'sources']],
        'source is not among sources: nobody could pass',
      );
    }
  } else if (groupsOrEmails !== undefined && sources.length > 1) {
    judge.miss(
      [...path, 'source'],
      [],
      "required beside groups and emails as soon as there is more than one source: another IdP's group is another group",
      `write source: with one of ${ids.join(', ')}`,
    );
  }
}
