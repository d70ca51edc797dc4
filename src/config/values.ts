import { z } from 'zod';
import { durationPattern, parseDuration } from '../kernel/duration.ts';
import { parseSize, sizePattern } from '../kernel/size.ts';
import { Secret } from '../kernel/secret.ts';

/** What the reference page, the JSON Schema and the fault report say about a key. */
export interface KeyNotes {
  readonly description: string;
  /** The first stands in the reference page; every one is valid. */
  readonly examples?: readonly unknown[];
}

/** A duration (`30s 15m 12h 7d`); milliseconds once parsed. */
export const duration = () =>
  z
    .string()
    .regex(durationPattern)
    .meta({ title: 'a duration such as 30s, 15m, 12h or 7d' })
    .transform((text) => parseDuration(text) ?? Number.NaN);

/** A size (`64KiB 2GiB`); bytes once parsed. */
export const size = () =>
  z
    .string()
    .regex(sizePattern)
    .meta({ title: 'a size such as 64KiB or 2GiB' })
    .transform((text) => parseSize(text) ?? Number.NaN);

/** A secret written inline; redacted everywhere once parsed. */
export const secret = () =>
  z
    .string()
    .min(1)
    .meta({ title: 'a secret' })
    .transform((text) => new Secret(text));

/** A path of a readable file; relative ones start at the configuration file's directory. */
export const file = () => z.string().min(1).meta({ title: 'the path of a file' });

/** A non-empty string. */
export const text = () => z.string().min(1);

/** A list of non-empty strings. */
export const texts = () => z.array(text());
