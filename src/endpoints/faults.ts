import { SallyportError } from '../kernel/error.ts';
import type { Refusal } from '../kernel/refusal.ts';

/** How long to wait before asking again, in seconds, where something we depend on is down. */
const retryAfterSeconds: Readonly<Partial<Record<SallyportError['code'], number>>> = {
  store_unavailable: 5,
  idp_unavailable: 10,
};

/** The refusal that answers a fault: its public half only. */
export function refusalOfFault(error: SallyportError): Refusal {
  const seconds = retryAfterSeconds[error.code];
  return {
    status: error.statusCode,
    code: error.code,
    ...(seconds === undefined ? {} : { headers: { 'retry-after': String(seconds) } }),
  };
}

/**
 * The refusal that answers anything thrown: a fault by its code, the HTTP layer's own complaints by their status (its
 * words could repeat what the client sent), all else as `internal`.
 */
export function refusalOfError(error: unknown): Refusal {
  if (error instanceof SallyportError) return refusalOfFault(error);
  const status = httpStatusOf(error);
  if (status === undefined) return { status: 500, code: 'internal' };
  return { status, code: status === 413 ? 'request_too_large' : 'request_malformed' };
}

function httpStatusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 ? statusCode : undefined;
}
