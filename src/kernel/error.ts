/** Codes of the faults that cross rooms. Branch on these, never on message text. */
export type FaultCode =
  'store_unavailable' | 'idp_unavailable' | 'token_invalid' | 'config_invalid' | 'internal';

/**
 * A fault: something broke, or somebody lied. (A refusal is not a fault: it is data, see {@link Refusal}.)
 *
 * `publicMessage` may be shown to anyone; `message`, `detail` and `cause` are for the log alone.
 */
export class SallyportError extends Error {
  override readonly name = 'SallyportError';
  readonly code: FaultCode;
  /** A narrower machine-readable code, e.g. `nonce_mismatch` beside `token_invalid`. */
  readonly detail: string | undefined;
  /** The HTTP status that answers it. */
  readonly statusCode: number;
  readonly publicMessage: string;

  constructor(
    code: FaultCode,
    message: string,
    options: { cause?: unknown; detail?: string; publicMessage?: string; statusCode?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail;
    this.statusCode = options.statusCode ?? defaultStatus[code];
    this.publicMessage = options.publicMessage ?? defaultMessage[code];
  }
}

const defaultStatus: Record<FaultCode, number> = {
  store_unavailable: 503,
  idp_unavailable: 503,
  token_invalid: 403,
  config_invalid: 500,
  internal: 500,
};

const defaultMessage: Record<FaultCode, string> = {
  store_unavailable: 'The session store cannot be reached right now.',
  idp_unavailable: 'The identity provider cannot be reached right now.',
  token_invalid: "The identity provider's answer could not be verified.",
  config_invalid: 'The configuration is not valid.',
  internal: 'Something went wrong here.',
};

/** Whether `error` is a fault with this code. */
export function isFault(error: unknown, code: FaultCode): error is SallyportError {
  return error instanceof SallyportError && error.code === code;
}
