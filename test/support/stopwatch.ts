import { readFileSync } from 'node:fs';

/**
 * How long a process (its main thread) has been ready to run while others had the cores, since it began. Milliseconds; 0 where the system
 * does not tell.
 *
 * @see https://docs.kernel.org/scheduler/sched-stats.html the time on a core, the time waiting for one (both in ns), the turns
 */
export function waitedForCoreMs(pid: number | 'self' = 'self'): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

/**
 * Starts a watch that stands still while this process is kept from running: on a machine that others use as well, what a test promises of
 * the time that something takes is judged by what it had of the machine. Reading it gives milliseconds.
 */
export function stopwatch(): () => number {
  const startedAt = performance.now();
  const waitedMs = waitedForCoreMs();
  return () => performance.now() - startedAt - (waitedForCoreMs() - waitedMs);
}
