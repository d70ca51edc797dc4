import { describeReason } from '../assurance/reasons.ts';
import type { Generation, Source } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { bounded, shown } from '../pages/html.ts';
import type { Action, Detail } from '../pages/layout.ts';
import { errorPage } from '../pages/plain-pages.ts';
import { mfaPage } from '../pages/sign-in-pages.ts';
import { textOfCode, texts } from '../pages/texts.ts';
import { isAboutAal2, isStepUpReason } from '../policy/step-up-reasons.ts';
import type { IdpRefusal } from '../provider/types.ts';
import { localReturnTo } from '../signin/return-to.ts';
import type { SignInRefused } from '../signin/types.ts';
import { appearanceOf } from './branding.ts';
import { signInPath } from './sign-in-path.ts';

/** What a sign-in knows about its refusal beyond the refusal itself. */
export interface RefusalContext {
  readonly source?: Source;
  /** A narrower code, with words of its own. */
  readonly detail?: string | undefined;
  readonly mfa?: SignInRefused['mfa'];
  /** The IdP's own words. */
  readonly idp?: IdpRefusal | undefined;
  /** A sign-in failed, and this is where it was to lead: "try again" is another sign-in. A local path. */
  readonly signInFor?: string;
}

/** A refusal as a page. */
export function refusalPage(
  refusal: Refusal,
  facts: RequestFacts,
  generation: Generation,
  context: RefusalContext,
  nowMs: number,
): string {
  const { branding } = appearanceOf(generation);
  // Signed in, but with too little assurance for this page, and asked once already.
  const isGateMfa = refusal.status === 403 && isStepUpReason(refusal.code);
  const source = context.source ?? (isGateMfa ? sourceOf(refusal, generation) : undefined);
  const details: Detail[] = [
    { label: texts.labels.time, value: new Date(nowMs).toISOString() },
    { label: texts.labels.requestId, value: facts.id },
    ...(source === undefined ? [] : [{ label: texts.labels.source, value: source.config.id }]),
  ];
  const idpSaid = context.idp === undefined ? undefined : wordsOf(context.idp);
  if (context.mfa !== undefined || isGateMfa) {
    const observed = context.mfa?.observed ?? observedIn(refusal);
    const reason = context.mfa?.reason ?? refusal.code;
    // The page needs AAL2: what the sign-in lacked for that says more than that it does.
    const lacked = isGateMfa && isAboutAal2(refusal.code) ? reasonIn(refusal) : undefined;
    const returnTo = context.signInFor ?? returnPath(facts, generation);
    // What is not known here is left out, rather than called "not sent".
    const claims = observed === undefined ? [] : [...new Set(['amr', 'acr', ...Object.keys(observed)])];
    return mfaPage(branding, {
      sourceName: nameOf(source),
      signedIn: isGateMfa,
      reasonText: [describeReason(reason), lacked === undefined ? undefined : describeReason(lacked)]
        .filter((text) => text !== undefined)
        .join(' '),
      idpSaid,
      setupUrl: source?.config.mfa_setup_url,
      // For a page that asks for more it is a step-up again: as any other fresh sign-in, it would be followed by one at once.
      tryAgainUrl: signInPath(generation, {
        source: source?.config.id,
        returnTo,
        fresh: true,
        stepUp: isGateMfa,
      }),
      otherAccountUrl: signInPath(generation, { source: source?.config.id, returnTo, selectAccount: true }),
      details: [
        ...details,
        ...claims.map((claim) => ({ label: bounded(claim, 40), value: shown(observed?.[claim]) })),
        { label: texts.labels.reason, value: lacked === undefined ? reason : `${reason}: ${lacked}` },
      ],
    });
  }
  const words = textOfCode(context.detail ?? refusal.code, refusal.status);
  return errorPage(branding, {
    title: words.title,
    message: refusal.message ?? words.message,
    idpSaid,
    actions: actionsOf(refusal, facts, generation, context),
    details: [
      ...details,
      { label: texts.labels.reason, value: refusal.code },
      ...(context.detail === undefined ? [] : [{ label: texts.labels.detail, value: context.detail }]),
    ],
  });
}

/** What a person calls a source. */
export function nameOf(source: Source | undefined): string {
  return source === undefined ? texts.anySource : (source.config.display_name ?? source.config.id);
}

function actionsOf(
  { status, code }: Refusal,
  facts: RequestFacts,
  generation: Generation,
  context: RefusalContext,
): readonly Action[] {
  const { actions } = texts;
  const home: Action = { label: actions.home, href: '/' };
  if (context.signInFor !== undefined) {
    const ask = { source: context.source?.config.id, returnTo: context.signInFor };
    const again: Action = { label: actions.again, href: signInPath(generation, ask), primary: true };
    if (status === 503 || status === 400) return [again, home];
    return [
      again,
      { label: actions.otherAccount, href: signInPath(generation, { ...ask, selectAccount: true }) },
    ];
  }
  switch (status) {
    case 401:
      // In a new tab: what was typed into the form stands in this one.
      return [
        {
          label: actions.signIn,
          // Who is signed in already is asked for more, once; what that does not mend is then said, instead of asked for again. As fresh
          // as can be: the page that it leads to may do with less than the form.
          href: signInPath(generation, {
            returnTo: '/',
            fresh: code === 'insufficient_user_authentication',
            stepUp: code === 'insufficient_user_authentication',
          }),
          primary: true,
          newTab: true,
        },
      ];
    case 421:
      return [{ label: actions.home, href: `${generation.publicOrigins[0] ?? ''}/`, primary: true }];
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      if (!facts.navigation) return [home];
      return [{ label: actions.reload, href: returnPath(facts, generation), primary: true }, home];
    default:
      return code === 'source_unknown'
        ? [{ label: actions.signIn, href: signInPath(generation, { returnTo: '/' }), primary: true }]
        : [home];
  }
}

/** Where to come back to: the page asked for, when it was asked for by a navigation. */
function returnPath(facts: RequestFacts, generation: Generation): string {
  return facts.navigation ? localReturnTo(facts.rawTarget, generation.config.server.path_prefix) : '/';
}

function wordsOf({ error, description }: IdpRefusal): string {
  const code = bounded(error, 100);
  return description === undefined ? code : `${code}: ${bounded(description, 300)}`;
}

/** The source that a refusal of the gate names in its body; else the only one there is. */
function sourceOf({ body }: Refusal, { sources }: Generation): Source | undefined {
  const id = body?.['source'];
  if (typeof id === 'string') return sources.get(id);
  return sources.size === 1 ? sources.values().next().value : undefined;
}

/** The reason code of the session's own verdict, which the gate names in its body. */
function reasonIn({ body }: Refusal): string | undefined {
  const reason = body?.['reason'];
  return typeof reason === 'string' ? reason : undefined;
}

function observedIn({ body }: Refusal): Readonly<Record<string, unknown>> | undefined {
  const observed = body?.['observed'];
  return typeof observed === 'object' && observed !== null ? { ...observed } : undefined;
}
