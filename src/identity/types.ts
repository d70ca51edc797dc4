/** What this room needs to know of a session's standing: `Standing` of assurance/types.ts fits (identity may not import that room). */
export interface IdentityStanding {
  readonly verdict: {
    readonly evidence: { readonly claim: string; readonly value: string | readonly string[] } | undefined;
  };
  readonly outcome: {
    readonly admit: boolean;
    readonly aal: 'aal1' | 'aal2';
    readonly status: string;
    readonly weak?: boolean;
  };
}
