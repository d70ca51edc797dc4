import type { Generation } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { textOfCode } from '../pages/texts.ts';
import type { RenderedResponse, RenderRefusal } from '../proxy/types.ts';
import { refusalPage, type RefusalContext } from './refusal-page.ts';
import { answerHeaders, jsonHeaders, pageHeaders } from './security-headers.ts';

export type { RefusalContext } from './refusal-page.ts';

/** The one place that turns refusals into answers: a redirect, a page for a person, JSON for everything else. */
export function createRenderer({ clock }: { readonly clock: Clock }): RenderRefusal {
  return (refusal, facts, generation) => renderRefusal(refusal, facts, generation, {}, clock.nowMs());
}

/**
 * Renders a refusal, with what only the sign-in knows about it.
 *
 * @param nowMs milliseconds since the epoch, for the details that go to support
 */
export function renderRefusal(
  refusal: Refusal,
  facts: RequestFacts,
  generation: Generation,
  context: RefusalContext,
  nowMs: number,
): RenderedResponse {
  const { status, location } = refusal;
  if (location !== undefined) {
    return { status, headers: { ...answerHeaders, ...refusal.headers, location }, body: '' };
  }
  if (refusal.plainText === true) {
    const message = messageOf(refusal, refusal.code);
    const headers = { ...answerHeaders, 'content-type': 'text/plain; charset=utf-8', ...refusal.headers };
    return { status, headers, body: `${message}\n` };
  }
  if (facts.navigation || facts.formNavigation === true) {
    const body = refusalPage(refusal, facts, generation, context, nowMs);
    return { status, headers: { ...pageHeaders(), ...refusal.headers }, body };
  }
  const body = JSON.stringify({
    ...refusal.body,
    error: refusal.code,
    ...(context.detail === undefined ? {} : { detail: context.detail }),
    message: messageOf(refusal, context.detail ?? refusal.code),
    request_id: facts.id,
  });
  return { status, headers: { ...jsonHeaders, ...refusal.headers }, body };
}

/** What a program is told. */
function messageOf(refusal: Refusal, code: string): string {
  const { message, toProgram = message } = textOfCode(code, refusal.status);
  return refusal.message ?? toProgram;
}
