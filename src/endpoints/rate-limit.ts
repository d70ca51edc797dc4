import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { parseRateLimit, type RateLimit } from '../config/addresses.ts';
import { SallyportError } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { RateCounter } from '../kernel/rate.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { EndpointTools } from './endpoint.ts';

/**
 * The bound on sign-ins, for each endpoint by client address (IPv6: its /64, which one client has to itself) and source. The plugin
 * `@fastify/rate-limit` must be registered in `scope`.
 */
export function createLimit(scope: FastifyInstance, meter: Meter): EndpointTools['limit'] {
  const keys = new WeakMap<FastifyRequest, string>();
  const rateOf = ({ generation }: FastifyRequest): RateLimit => {
    const rate = parseRateLimit(generation.config.server.rate_limit.sign_in);
    if (rate === undefined)
      throw new SallyportError('internal', 'a rate that loading the file should have refused');
    return rate;
  };
  const check = scope.createRateLimit({
    max: (request) => rateOf(request).count,
    timeWindow: (request) => rateOf(request).windowMs,
    keyGenerator: (request) => keys.get(request) ?? normalizeIP(request.facts.clientIp),
  });

  return async (request, endpoint, sourceId) => {
    keys.set(request, `${normalizeIP(request.facts.clientIp)} ${endpoint} ${sourceId ?? ''}`);
    const result = await check(request);
    if (result.isAllowed || !result.isExceeded) return undefined;
    meter.rateLimited(endpoint);
    const refusal: Refusal = {
      status: 429,
      code: 'rate_limited',
      headers: { 'retry-after': String(Math.max(1, result.ttlInSeconds)) },
    };
    return refusal;
  };
}

/** A store of the plugin's kind over a counter that others count on as well. */
export function rateStoreOn(rates: RateCounter): FastifyRateLimitStoreCtor {
  return class implements FastifyRateLimitStore {
    incr(
      key: string,
      callback: (error: Error | null, result?: { current: number; ttl: number }) => void,
      windowMs: number,
    ): void {
      void Promise.resolve(rates.count(key, windowMs)).then(({ count, remainingMs }) =>
        callback(null, { current: count, ttl: remainingMs }),
      );
    }

    child(): FastifyRateLimitStore {
      return this;
    }
  };
}
