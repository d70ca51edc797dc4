import { stopwatch } from '../support/stopwatch.ts';

/** How a piece of work fails: with which code and cause, and how long that takes, in milliseconds. @throws Error when it does not */
export async function failureOf(
  work: Promise<unknown>,
): Promise<{ code: unknown; detail: string; message: string; ms: number }> {
  const elapsedMs = stopwatch();
  try {
    await work;
  } catch (error) {
    const { code, detail, message } = error as { code: unknown; detail: string; message: string };
    return { code, detail, message, ms: elapsedMs() };
  }
  throw new Error('it did not fail');
}
