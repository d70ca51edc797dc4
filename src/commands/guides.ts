import { decide } from '../assurance/decide.ts';
import { resolvePolicy } from '../assurance/policy.ts';
import { describeReason, hintFor, reasonCodes, weakHint } from '../assurance/reasons.ts';
import type { AssuranceReason, Claims } from '../assurance/types.ts';
import { vendorHints } from '../assurance/vendor-hints.ts';
import { parseConfig } from '../config/load.ts';
import type { SourceConfig } from '../config/schema.ts';

/** What is known of one vendor's tokens (test/fixtures/idp-claims.json), each fact with the mark of how it is known. */
export interface VendorFacts {
  readonly vendor: string;
  readonly id: string;
  readonly request: { readonly notes?: string };
  readonly id_token_with_mfa: Claims;
  readonly id_token_without_mfa: Claims;
  readonly traps: readonly string[];
  readonly sources: readonly string[];
}

/** What the guides are filled from. */
export interface GuideSources {
  /** The text of config/idp/NAME.yaml. */
  readonly exampleOf: (name: string) => string;
  readonly facts: readonly VendorFacts[];
}

const block = /<!-- generated: (.+?) -->\n[\s\S]*?<!-- end -->/g;

/**
 * A guide with its generated parts written anew: `<!-- generated: KIND ARGUMENTS -->` to `<!-- end -->`. What a refusal, the
 * canary and `check` say stands in the guides by this alone, so that it is one text.
 *
 * @throws Error for a kind, an example or a vendor that there is not
 */
export function fillGuide(text: string, sources: GuideSources): string {
  return text.replace(block, (_, instruction: string) => {
    const [kind = '', ...args] = instruction.split(' ');
    return `<!-- generated: ${instruction} -->\n\n${write(kind, args, sources)}\n\n<!-- end -->`;
  });
}

function write(kind: string, args: readonly string[], sources: GuideSources): string {
  const [first = ''] = args;
  switch (kind) {
    case 'config':
      return fenced('yaml', sources.exampleOf(first).replace(/^# yaml-language-server.*\n/, ''));
    case 'wire':
      return wire(exampleSource(first, sources));
    case 'canary':
      return canary(exampleSource(first, sources), factsOf(args[1], sources), args[2]);
    case 'hints':
      return hints(args);
    case 'warnings':
      return warnings(exampleSource(first, sources));
    case 'facts':
      return args.map((id) => facts(factsOf(id, sources))).join('\n\n');
    case 'reasons':
      return reasons();
    default:
      throw new Error(`no generated part of a guide is called ${kind}`);
  }
}

function exampleSource(name: string, { exampleOf }: GuideSources): SourceConfig {
  const parsed = parseConfig(exampleOf(name), `${name}.yaml`, {});
  if (!parsed.ok) throw new Error(parsed.report);
  const [source] = parsed.config.sources;
  if (source === undefined) throw new Error(`${name}.yaml has no source`);
  return source;
}

function factsOf(id: string | undefined, { facts: all }: GuideSources): VendorFacts {
  const found = all.find((each) => each.id === id);
  if (found === undefined) throw new Error(`nothing is known of a vendor ${String(id)}`);
  return found;
}

/** The parameters of the authorization request that depend on the source. */
function wire(source: SourceConfig): string {
  const { policy } = resolvePolicy(source.mfa, source);
  const { acrValues, requestedClaims, maxAuthAgeSeconds } = policy;
  const lines = [
    `client_id=${source.client_id}`,
    `scope=${source.scopes.join(' ')}`,
    ...(acrValues.length === 0 ? [] : [`acr_values=${acrValues.join(' ')}`]),
    ...(Object.keys(requestedClaims).length === 0 ? [] : [`claims=${JSON.stringify(requestedClaims)}`]),
    ...(maxAuthAgeSeconds === undefined ? [] : [`max_age=${maxAuthAgeSeconds}`]),
    ...Object.entries(source.authorization_params).map(([name, value]) => `${name}=${value}`),
  ];
  return fenced('text', lines.join('\n'));
}

/** Both samples, and what the policy of the example makes of them. */
function canary(source: SourceConfig, known: VendorFacts, replacement: string | undefined): string {
  return [
    'With a second factor:',
    sample(source, replaced(known.id_token_with_mfa, replacement)),
    'Without:',
    sample(source, replaced(known.id_token_without_mfa, replacement)),
  ].join('\n\n');
}

/** `c1=c2` puts c2 where the sample has c1: contexts and names are the tenant's own. */
function replaced(claims: Claims, replacement: string | undefined): Claims {
  const [from, to] = replacement?.split('=') ?? [];
  if (from === undefined || to === undefined) return claims;
  return JSON.parse(JSON.stringify(claims).replaceAll(`"${from}"`, JSON.stringify(to))) as Claims;
}

function sample(source: SourceConfig, claims: Claims): string {
  const { policy } = resolvePolicy(source.mfa, source);
  const authTime = claims['auth_time'];
  const nowSeconds = (typeof authTime === 'number' ? authTime : 0) + 60;
  const { aal, evidence, weak, reason, observed } = decide(claims, policy, nowSeconds);
  const shown = fenced('json', JSON.stringify(claims, null, 2));
  if (reason === undefined) {
    const value = `\`${evidence?.claim ?? ''}\` = \`${JSON.stringify(evidence?.value)}\``;
    return `${shown}\n\n→ **${aal.toUpperCase()}**, evidence ${value}${weak ? `, marked **weak**: ${weakHint}` : ''}`;
  }
  return `${shown}\n\n→ **${aal.toUpperCase()}**, \`${reason}\`: ${describeReason(reason)}\n\n> ${hintFor(reason, policy.preset, observed)}`;
}

/** All that the hints of a preset can say. */
function hints(presets: readonly string[]): string {
  const [hint, ...others] = presets.map((preset) => vendorHints.get(preset));
  if (hint === undefined || others.some((other) => other !== hint)) {
    throw new Error(`${presets.join(', ')}: no hints, or not the same`);
  }
  const rows = Object.entries(hint.byReason ?? {}).map(([reason, text]) => [`\`${reason}\``, text]);
  return [hint.always, ...(rows.length === 0 ? [] : [table(['reason', 'look at'], rows)])].join('\n\n');
}

function warnings(source: SourceConfig): string {
  const { warnings: found } = resolvePolicy(source.mfa, source);
  if (found.length === 0) return '`check` has nothing to say against this policy.';
  return found.map(({ message, cure }) => `- ${message}. Cure: ${cure}.`).join('\n');
}

function facts({ vendor, request, traps, sources }: VendorFacts): string {
  const lines = [...(request.notes === undefined ? [] : [request.notes]), ...traps];
  return [
    `**${vendor}**`,
    lines.map((line) => `- ${escape(line)}`).join('\n'),
    `Sources: ${sources.length === 0 ? 'none' : sources.map((source) => (source.startsWith('http') ? `<${source}>` : escape(source))).join('; ')}.`,
  ].join('\n\n');
}

function reasons(): string {
  return table(
    ['reason', 'what the user reads', 'what the operator is told, with any vendor'],
    reasonCodes.map((code) => [`\`${code}\``, describeReason(code), hintFor(code as AssuranceReason, '')]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => escape(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `| ${head.map(() => '---').join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** Angle brackets and underscores in the texts mean themselves. */
function escape(text: string): string {
  return text.replace(/<(?=[a-z])/g, '\\<').replaceAll('*', '\\*');
}

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
}
