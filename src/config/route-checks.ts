import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config, RouteConfig } from './schema.ts';
import { tokenPattern } from './server-checks.ts';

/** Labels that log and metrics use for what no rule decided. */
const reservedNames: ReadonlySet<string> = new Set(['sallyport', 'none']);

/** `routes`. */
export function checkRoutes(judge: Judge, config: Config): void {
  const names = new Map<string, number>();
  for (const [index, route] of config.routes.entries()) {
    const path: KeyPath = ['routes', index];
    const first = names.get(route.name);
    if (first !== undefined) {
      const message = `${quote(route.name)} is already the name of routes[${first}]`;
      judge.refuseTogether(
        [...path, 'name'],
        [['routes', first, 'name']],
        message,
        'give each rule its own name',
      );
    } else if (reservedNames.has(route.name)) {
      judge.refuse(
        [...path, 'name'],
        `the name ${route.name} is Sallyport's own in log and metrics`,
        'choose another name',
      );
    }
    if (first === undefined) names.set(route.name, index);
    checkPattern(judge, path, route, config.server.path_prefix);
    checkMethods(judge, path, route);
    checkNarrowing(judge, path, route);
    checkSourcesOf(judge, path, route, config);
  }
}

function checkPattern(judge: Judge, path: KeyPath, route: RouteConfig, prefix: string): void {
  if (route.path === prefix || route.path.startsWith(`${prefix}/`)) {
    judge.warn([...path, 'path'], `never matches: everything under ${prefix} is Sallyport's own`);
  }
}

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

/** Keys that narrow a session say nothing where no session is asked for; an empty list would let nobody in. */
function checkNarrowing(judge: Judge, path: KeyPath, route: RouteConfig): void {
  for (const key of ['methods', 'sources', 'groups', 'emails'] as const) {
    if (route[key]?.length !== 0) continue;
    judge.refuse(
      [...path, key],
      'expected at least one entry: an empty list matches nobody',
      `remove ${key}, or fill it`,
    );
  }
  const unconditional = route.access === 'public' || route.access === 'upstream' || route.access === 'deny';
  for (const key of ['require_aal', 'max_auth_age', 'sources', 'groups', 'emails', 'source'] as const) {
    if (!unconditional || route[key] === undefined) continue;
    const message = `${key} has no effect beside access: ${route.access}, which asks for no session`;
    judge.refuseTogether(
      [...path, key],
      [[...path, 'access']],
      message,
      `write access: session, or remove ${key}`,
    );
  }
  if (unconditional && route.accept_attested) {
    judge.refuseTogether(
      [...path, 'accept_attested'],
      [[...path, 'access']],
      `accept_attested has no effect beside access: ${route.access}`,
      'remove it',
    );
  }
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
    if (groupsOrEmails === undefined) {
      judge.refuseTogether(
        [...path, 'source'],
        [
          [...path, 'groups'],
          [...path, 'emails'],
        ],
        'source says whose groups and emails are meant, but there are none',
        'write sources: [ … ] to narrow the rule to a source',
      );
    } else if (route.sources !== undefined && !route.sources.includes(route.source)) {
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
