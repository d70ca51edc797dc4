import { compilePattern, firstLiteral, type Pattern } from './pattern.ts';
import { isStricter } from './routes.ts';
import type { RouteRule } from './types.ts';

/** What is doubtful about a rule that can be used as written. */
export interface RouteWarning {
  readonly code:
    | 'shadowed'
    | 'partly_shadowed'
    | 'opens_preset'
    | 'drops_aal2'
    | 'open_to_everyone'
    | 'credentials_not_narrowed'
    | 'method_never_passes'
    | 'attested_without_effect'
    | 'no_source_can_give'
    | 'email_never_signs_in';
  readonly rule: string;
  readonly message: string;
  readonly cure: string;
}

/** What a rule may ask of a source. */
export interface SourceAbility {
  readonly id: string;
  /** Whether any sign-in through it can be AAL2. */
  readonly reachesAal2: boolean;
  /** Whether it attests what it has no proof of. */
  readonly attests: boolean;
  /** Whose verified addresses sign in; empty: all. */
  readonly emailDomains: readonly string[];
}

interface Compiled {
  readonly rule: RouteRule;
  readonly pattern: Pattern;
}

/**
 * What an operator should know of the rules that are allowed all the same: which never match, which let more in than they seem to, and
 * which ask for what nobody can bring. What it says holds; what it does not see (several rules that together shadow one) it leaves out.
 *
 * @param operators the rules of the file, in order; they are tried before `preset`
 */
export function warnAboutRoutes(
  operators: readonly RouteRule[],
  preset: readonly RouteRule[],
  sources: readonly SourceAbility[],
): readonly RouteWarning[] {
  const own = compileAll(operators);
  const brought = compileAll(preset);
  return own.flatMap((entry, index) => [
    ...warnAboutOrder(entry, own.slice(0, index)),
    ...warnAboutPreset(entry, own.slice(0, index), brought),
    ...warnAboutReach(entry.rule),
    ...warnAboutSources(entry.rule, sources),
  ]);
}

function compileAll(rules: readonly RouteRule[]): readonly Compiled[] {
  return rules.flatMap((rule) => {
    const compiled = compilePattern(rule.path);
    return 'fault' in compiled ? [] : [{ rule, pattern: compiled.pattern }];
  });
}

function warnAboutOrder({ rule, pattern }: Compiled, earlier: readonly Compiled[]): readonly RouteWarning[] {
  const shadow = earlier.find((other) => coversMethods(other.rule, rule) && covers(other.pattern, pattern));
  if (shadow !== undefined) {
    return [
      {
        code: 'shadowed',
        rule: rule.name,
        message: `the route ${rule.name} never matches: ${shadow.rule.name} stands before it and takes all that it could`,
        cure: `put ${rule.name} before ${shadow.rule.name}, or remove it`,
      },
    ];
  }
  return earlier
    .filter(
      (other) =>
        isStricter(rule, other.rule) &&
        shareMethods(other.rule, rule) &&
        overlaps(other.pattern, pattern) &&
        // An exception inside of what it is an exception to is what one writes first.
        !covers(pattern, other.pattern),
    )
    .map((other) => ({
      code: 'partly_shadowed' as const,
      rule: rule.name,
      message: `the route ${other.rule.name} is wider than it looks: it takes a part of ${rule.path}, which the stricter ${rule.name} behind it does not see`,
      cure: `put ${rule.name} before ${other.rule.name}`,
    }));
}

/** The preset's rules keep closed what a forge must not show: an operator's rule before them may open it unawares. */
function warnAboutPreset(
  { rule, pattern }: Compiled,
  earlier: readonly Compiled[],
  preset: readonly Compiled[],
): readonly RouteWarning[] {
  const takes = (before: Compiled, other: Compiled): boolean =>
    coversMethods(before.rule, other.rule) && covers(before.pattern, other.pattern);
  const weakened = preset.filter(
    (other) =>
      isStricter(other.rule, rule) &&
      !asksAsMuch(rule, other.rule) &&
      shareMethods(rule, other.rule) &&
      // What another rule of the operator's takes first is not this one's to open.
      !earlier.some((before) => takes(before, other) || takes(before, { rule, pattern })),
  );
  const opened = weakened.filter(
    (other) =>
      // One that begins with a star meets nearly everything by some name that nobody has.
      (covers(pattern, other.pattern) ||
        (firstLiteral(other.pattern) !== undefined && overlaps(pattern, other.pattern))) &&
      // Whoever writes that very path, or less, means it.
      !covers(other.pattern, pattern),
  );
  // But for MFA: rules are no sum, and whoever writes one to narrow that path (to a group, say) seldom means to do without.
  const dropped = weakened.filter(
    (other) =>
      other.rule.requireAal === 'aal2' && covers(other.pattern, pattern) && !asksForAal2(rule, other.rule),
  );
  const found: RouteWarning[] = [];
  if (opened.length > 0)
    found.push({
      code: 'opens_preset',
      rule: rule.name,
      message: `the route ${rule.name} is wider than it looks: it stands before the preset's stricter ${listed(opened)}`,
      cure: 'write a narrower path, or rules of your own for these before it',
    });
  if (dropped.length > 0)
    found.push({
      code: 'drops_aal2',
      rule: rule.name,
      message: `the route ${rule.name} opens without AAL2 what the preset asks AAL2 for: it stands before ${listed(dropped)}`,
      cure: 'write require_aal: aal2 (and max_auth_age) beside it, unless that is meant',
    });
  return found;
}

function listed(rules: readonly Compiled[]): string {
  const names = rules.slice(0, 5).map(({ rule }) => `${rule.name} (${rule.path})`);
  const more = rules.length > names.length ? ` and ${rules.length - names.length} more` : '';
  return `${names.join(', ')}${more}`;
}

/** Whether no session passes `rule` without AAL2, nor a token where `other` takes none. */
function asksForAal2(rule: RouteRule, other: RouteRule): boolean {
  if (rule.access === 'deny') return true;
  return rule.requireAal === 'aal2' && (rule.access !== 'credentials' || other.access === 'credentials');
}

/** Whether nobody passes `rule` whom `other` would keep out for want of assurance. */
function asksAsMuch(rule: RouteRule, other: RouteRule): boolean {
  if (rule.access === 'deny') return true;
  if (rule.access !== 'session' || other.access === 'deny') return false;
  if ((other.sources ?? other.groups ?? other.emails) !== undefined) return false;
  const strong = other.requireAal !== 'aal2' || (rule.requireAal === 'aal2' && !rule.acceptAttested);
  const wanted = other.maxAuthAgeSeconds;
  return strong && (wanted === undefined || (rule.maxAuthAgeSeconds ?? Infinity) <= wanted);
}

function warnAboutReach(rule: RouteRule): readonly RouteWarning[] {
  const found: RouteWarning[] = [];
  const open = rule.access === 'public' || rule.access === 'upstream';
  if (open && /^\/(?:\*\*?\/?)*$/.test(rule.path)) {
    found.push({
      code: 'open_to_everyone',
      rule: rule.name,
      message: `the route ${rule.name} lets everyone reach every path that no rule before it takes, without signing in`,
      cure: 'name the paths that are meant',
    });
  }
  const narrows =
    rule.requireAal === 'aal2' ||
    rule.maxAuthAgeSeconds !== undefined ||
    (rule.sources ?? rule.groups ?? rule.emails) !== undefined;
  if (rule.access === 'credentials' && narrows) {
    found.push({
      code: 'credentials_not_narrowed',
      rule: rule.name,
      message: `what the route ${rule.name} requires holds for sessions alone: a request with a token of the app passes without it`,
      cure: 'write access: session where no token shall open it',
    });
  }
  const never = (rule.methods ?? []).filter((method) => method === 'TRACE' || method === 'CONNECT');
  if (never.length > 0) {
    found.push({
      code: 'method_never_passes',
      rule: rule.name,
      message: `the route ${rule.name} names ${never.join(' and ')}, which no route ever sees: 405`,
      cure: `remove ${never.join(' and ')}`,
    });
  }
  return found;
}

function warnAboutSources(rule: RouteRule, sources: readonly SourceAbility[]): readonly RouteWarning[] {
  const found: RouteWarning[] = [];
  const meant = sources.filter(({ id }) => rule.sources?.includes(id) !== false);
  const can = (source: SourceAbility): boolean =>
    source.reachesAal2 || (rule.acceptAttested && source.attests);
  const names = meant.map(({ id }) => id).join(', ');
  if (rule.acceptAttested && rule.requireAal !== 'aal2') {
    found.push({
      code: 'attested_without_effect',
      rule: rule.name,
      message: `accept_attested of the route ${rule.name} has no effect: without require_aal: aal2 an attested session passes anyway`,
      cure: 'write require_aal: aal2 beside it, or remove it',
    });
  } else if (rule.acceptAttested && !meant.some(({ attests }) => attests)) {
    found.push({
      code: 'attested_without_effect',
      rule: rule.name,
      message: `accept_attested of the route ${rule.name} has no effect: ${names} attests nothing`,
      cure: 'remove it: it is about sources with mfa.mode: trust_idp',
    });
  }
  if (rule.requireAal === 'aal2' && meant.length > 0 && !meant.some(can)) {
    found.push({
      code: 'no_source_can_give',
      rule: rule.name,
      message: `the route ${rule.name} opens to no session: it requires aal2, and no sign-in through ${names} can reach it`,
      cure: 'give the mfa of a source something to accept, or change require_aal',
    });
  }
  const strangers = (rule.emails ?? []).filter((email) => {
    const domain = email.slice(email.lastIndexOf('@') + 1).toLowerCase();
    return !meant.some(
      ({ emailDomains }) =>
        emailDomains.length === 0 || emailDomains.some((each) => each.toLowerCase() === domain),
    );
  });
  if (strangers.length > 0) {
    found.push({
      code: 'email_never_signs_in',
      rule: rule.name,
      message: `the route ${rule.name} names ${strangers.join(', ')}, whose domain is in the email_domains of none of ${names}`,
      cure: 'correct the address, or add its domain to email_domains',
    });
  }
  return found;
}

/** HEAD goes where GET goes. */
function allows({ methods }: RouteRule, method: string): boolean {
  return methods === undefined || methods.includes(method) || (method === 'HEAD' && methods.includes('GET'));
}

function coversMethods(wide: RouteRule, narrow: RouteRule): boolean {
  if (wide.methods === undefined) return true;
  return narrow.methods?.every((method) => allows(wide, method)) === true;
}

function shareMethods(one: RouteRule, other: RouteRule): boolean {
  if (one.methods === undefined || other.methods === undefined) return true;
  return [...one.methods, ...other.methods].some((method) => allows(one, method) && allows(other, method));
}

/** Whether every path that `narrow` matches is matched by `wide`; false where that cannot be told. */
export function covers(wide: Pattern, narrow: Pattern): boolean {
  const [a, b] = [wide.segments, narrow.segments];
  const from = (i: number, j: number): boolean => {
    const want = a[i];
    const given = b[j];
    if (want === undefined) return given === undefined;
    if (want === '**') return from(i + 1, j) || (given !== undefined && from(i, j + 1));
    if (given === undefined || given === '**') return false;
    if (want === '*') return from(i + 1, j + 1);
    return given !== '*' && given.literal === want.literal && from(i + 1, j + 1);
  };
  return from(0, 0);
}

/** Whether some path is matched by both. */
export function overlaps(one: Pattern, other: Pattern): boolean {
  const [a, b] = [one.segments, other.segments];
  const from = (i: number, j: number): boolean => {
    const [left, right] = [a[i], b[j]];
    if (left === '**') return from(i + 1, j) || (right !== undefined && from(i, j + 1));
    if (right === '**') return from(i, j + 1) || (left !== undefined && from(i + 1, j));
    if (left === undefined || right === undefined) return left === right;
    const meet = left === '*' || right === '*' || left.literal === right.literal;
    return meet && from(i + 1, j + 1);
  };
  return from(0, 0);
}
