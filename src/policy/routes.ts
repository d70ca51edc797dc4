import { compilePattern, firstLiteral, matchPattern, type Pattern, type PatternFault } from './pattern.ts';
import type { Access, CanonicalTarget, RouteRule } from './types.ts';

/** A route as the configuration has it once parsed: keys as in the file, durations in milliseconds. */
export interface RouteSettings {
  readonly name: string;
  readonly path: string;
  readonly methods?: readonly string[] | undefined;
  readonly access: Access;
  readonly require_aal?: 'aal1' | 'aal2' | undefined;
  /** Milliseconds. */
  readonly max_auth_age?: number | undefined;
  readonly accept_attested: boolean;
  readonly sources?: readonly string[] | undefined;
  readonly groups?: readonly string[] | undefined;
  readonly emails?: readonly string[] | undefined;
  /** The one source whose `groups` and `emails` are meant. */
  readonly source?: string | undefined;
  readonly credential_headers?: readonly string[] | undefined;
}

/** The rule that a configured route stands for. `source` and `sources` both narrow: a session has to satisfy each. */
export function ruleOfConfig(route: RouteSettings): RouteRule {
  const { source, sources } = route;
  const narrowed = source === undefined ? sources : [source].filter((id) => sources?.includes(id) !== false);
  return {
    name: route.name,
    path: route.path,
    methods: route.methods?.map((method) => method.toUpperCase()),
    access: route.access,
    requireAal: route.require_aal,
    maxAuthAgeSeconds: route.max_auth_age === undefined ? undefined : Math.floor(route.max_auth_age / 1000),
    acceptAttested: route.accept_attested,
    sources: narrowed,
    groups: route.groups,
    emails: route.emails,
    signInInstead: false,
    credentialHeaders: route.credential_headers?.map((name) => name.toLowerCase()),
    endsSession: false,
  };
}

/** A rule with nothing but a name, a path and who may pass. */
export function plainRule(name: string, path: string, access: Access): RouteRule {
  return {
    name,
    path,
    methods: undefined,
    access,
    requireAal: undefined,
    maxAuthAgeSeconds: undefined,
    acceptAttested: false,
    sources: undefined,
    groups: undefined,
    emails: undefined,
    signInInstead: false,
    credentialHeaders: undefined,
    endsSession: false,
  };
}

/** What holds where no rule matches: a session. */
export const defaultRule: RouteRule = plainRule('default', '/**', 'session');

/** What holds for a target that another reading would take past a stricter rule: see {@link compileRoutes}. */
export const ambiguousRule: RouteRule = plainRule('ambiguous', '/**', 'deny');

/** Why a path pattern cannot be used; undefined when it can. */
export function validateRoutePattern(path: string): PatternFault | undefined {
  const compiled = compilePattern(path);
  return 'fault' in compiled ? compiled.fault : undefined;
}

interface CompiledRule {
  readonly rule: RouteRule;
  readonly pattern: Pattern;
}

/**
 * The matcher over `rules`: the first that matches wins, {@link defaultRule} ends the list. HEAD matches where GET does (RFC 9110
 * section 9.3.2). Matching is exact, case included, as Forgejo and Gitea route their fixed paths (chi).
 *
 * A target with `;`, `%2F`, `%25` or upper-case letters has more than one reading: some upstreams drop path parameters, decode before
 * they route, decode twice, or fold case (Express does, unless told otherwise). What the rules read is the canonical path; yet where
 * another reading meets a written rule that lets fewer in, or leads from a rule for everybody to none, nobody passes
 * ({@link ambiguousRule}).
 *
 * @throws never for rules whose patterns {@link validateRoutePattern} accepts; a faulty pattern is a fault of ours and throws.
 */
export function compileRoutes(
  rules: readonly RouteRule[],
): (method: string, target: CanonicalTarget & { ok: true }) => RouteRule {
  const compiled = rules.map((rule): CompiledRule => {
    const result = compilePattern(rule.path);
    if ('fault' in result) throw new TypeError(`route ${rule.name}: ${result.fault.message}`);
    return { rule, pattern: result.pattern };
  });
  // Most rules begin with a literal: a request only meets the few that begin as it does, and those that begin with a star.
  const starred = compiled.filter(({ pattern }) => firstLiteral(pattern) === undefined);
  const byFirst = new Map<string, readonly CompiledRule[]>();
  for (const { pattern } of compiled) {
    const first = firstLiteral(pattern);
    if (first === undefined || byFirst.has(first)) continue;
    byFirst.set(
      first,
      compiled.filter((entry) => [first, undefined].includes(firstLiteral(entry.pattern))),
    );
  }
  const find = (method: string, segments: readonly string[]): RouteRule => {
    for (const { rule, pattern } of byFirst.get(segments[0] ?? '') ?? starred) {
      if (allowsMethod(rule, method) && matchPattern(pattern, segments)) return rule;
    }
    return defaultRule;
  };
  return (method, target) => {
    const rule = find(method, target.segments);
    if (!hasOtherReadings.test(target.path)) return rule;
    const evaded = otherReadings(target.path).some(({ segments, folded }) => {
      const other = find(method, segments);
      // What no rule names is for sessions: a reading that gets there leaves what was opened to everybody. (By case alone it does not count:
      // `/README` may be public where `/readme` is nothing.)
      return other === defaultRule ? !folded && strictness[rule.access] === 0 : isStricter(other, rule);
    });
    return evaded ? ambiguousRule : rule;
  };
}

function allowsMethod(rule: RouteRule, method: string): boolean {
  return (
    rule.methods === undefined ||
    rule.methods.includes(method) ||
    (method === 'HEAD' && rule.methods.includes('GET'))
  );
}

const hasOtherReadings = /[;A-Z]|%2[F5]/;

/**
 * How other software may read a path: without parameters (RFC 3986 section 3.3), with `%2F` decoded, decoded again until nothing
 * changes (backslashes for slashes then, as Windows and URL parsers have it), without regard to case; and all of that together.
 */
function otherReadings(path: string): readonly Reading[] {
  // The frequent case, on the path of every request: nothing but upper-case letters.
  if (!/[;%]/.test(path)) return [{ segments: split(path.toLowerCase()), folded: true }];
  const slashed = path.replace(/%2F/g, '/');
  const decoded = decodeThrough(path).replace(/\\/g, '/');
  const readings = new Set([path, slashed, decoded]);
  for (const reading of [...readings]) readings.add(reading.replace(/;[^/]*/g, ''));
  const exact = [...readings];
  for (const reading of exact) readings.add(reading.toLowerCase());
  readings.delete(path);
  return [...readings].map((reading) => ({ segments: split(reading), folded: !exact.includes(reading) }));
}

/** One way to read a path. */
interface Reading {
  readonly segments: readonly string[];
  /** Whether case had to be folded for it. */
  readonly folded: boolean;
}

const split = (path: string): readonly string[] => path.split('/').filter((segment) => segment !== '');

/** More rounds than anybody's decoding has; targets that are nested deeper have been refused before. */
const maxDecodings = 10;

/** ASCII escapes decoded over and over. */
function decodeThrough(path: string): string {
  let text = path;
  for (let round = 0; round < maxDecodings && text.includes('%'); round += 1) {
    text = text.replace(/%([0-7][0-9A-Fa-f])/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
  }
  return text;
}

const strictness: Record<Access, number> = {
  public: 0,
  upstream: 0,
  credentials: 1,
  bearer: 1,
  session: 2,
  deny: 3,
};

/** Whether a written rule may keep somebody out whom `rule` lets in. */
export function isStricter(other: RouteRule, rule: RouteRule): boolean {
  if (other === rule || other === defaultRule) return false;
  const narrows =
    other.requireAal === 'aal2' ||
    other.maxAuthAgeSeconds !== undefined ||
    (other.sources ?? other.groups ?? other.emails) !== undefined;
  return narrows || strictness[other.access] > strictness[rule.access];
}

/** A route that cannot be used as written. */
export interface RouteFault extends PatternFault {
  /** Which of the routes; counted from 0. */
  readonly index: number;
  /** Key path relative to the route. */
  readonly path: readonly string[];
}

/** Names that the access log and the metrics use for other things. */
const takenNames: ReadonlySet<string> = new Set(['default', 'ambiguous', 'sallyport', 'none']);

/** What is wrong with the operator's routes: patterns, names (among themselves, and with the preset's), keys without effect. */
export function findRouteFaults(
  routes: readonly RouteSettings[],
  preset: readonly RouteRule[] = [],
): readonly RouteFault[] {
  const names = new Set([...takenNames, ...preset.map(({ name }) => name)]);
  return routes.flatMap((route, index) => {
    const faults: RouteFault[] = [];
    const pattern = validateRoutePattern(route.path);
    if (pattern !== undefined) faults.push({ ...pattern, index, path: ['path'] });
    if (names.has(route.name)) {
      const message = `the name ${route.name} is taken`;
      faults.push({
        index,
        path: ['name'],
        message,
        cure: 'names label metrics and log: give every route its own',
      });
    }
    names.add(route.name);
    if (route.methods?.length === 0) {
      const cure = 'leave it out for every method, or name some';
      faults.push({ index, path: ['methods'], message: 'methods: [] matches no request', cure });
    }
    return [...faults, ...judgeNarrowing(route, index), ...judgeCredentialHeaders(route, index)];
  });
}

/** Headers that count as a credential where no credential counts. */
function judgeCredentialHeaders(route: RouteSettings, index: number): readonly RouteFault[] {
  if (route.credential_headers === undefined || route.access === 'credentials') return [];
  const message = `credential_headers has no effect on a route with access: ${route.access}`;
  return [
    { index, path: ['credential_headers'], message, cure: 'write access: credentials, or leave it out' },
  ];
}

/** Keys that narrow a session, on a route that asks for none: they would look like protection and be none. */
function judgeNarrowing(route: RouteSettings, index: number): readonly RouteFault[] {
  if (!['public', 'upstream', 'deny'].includes(route.access)) return [];
  const keys = [
    'require_aal',
    'max_auth_age',
    'accept_attested',
    'sources',
    'groups',
    'emails',
    'source',
  ] as const;
  return keys
    .filter((key) => route[key] !== undefined && route[key] !== false)
    .map((key) => ({
      index,
      path: [key],
      message: `${key} has no effect on a route with access: ${route.access}`,
      cure: `write access: session, or leave ${key} out`,
    }));
}
