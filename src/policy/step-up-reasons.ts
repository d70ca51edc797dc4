/** A session's lack of AAL2, by which evidence could help. */
const levelReasons = ['aal2_required', 'attested_not_accepted'] as const;
/** A sign-in that is not known to be fresh enough. */
const freshnessReasons = ['auth_too_old', 'auth_time_missing', 'auth_time_in_future'] as const;

/** Why what a session has is too little assurance for a route: a step-up could bring more. */
export type StepUpReason = (typeof levelReasons)[number] | (typeof freshnessReasons)[number];

const all: ReadonlySet<string> = new Set([...levelReasons, ...freshnessReasons]);
const level: ReadonlySet<string> = new Set(levelReasons);

/** Whether a refusal with this code is about assurance: whoever is refused is told what their IdP said (SPEC section 10). */
export function isStepUpReason(code: string): code is StepUpReason {
  return all.has(code);
}

/** Whether it is about AAL2, and not about how fresh the sign-in is. */
export function isAboutAal2(code: string): boolean {
  return level.has(code);
}
