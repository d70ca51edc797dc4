import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { MemoryResult } from './memory-child.ts';

/**
 * Opens so many sessions in a process of their own, and says what it grew by.
 *
 * @param warmUp opened before, and forgotten
 */
export async function measureMemory(sessions: number, warmUp = 2_000): Promise<MemoryResult> {
  const child = fork(
    fileURLToPath(new URL('memory-child.ts', import.meta.url)),
    [String(sessions), String(warmUp)],
    {
      // Garbage of sessions that were worked on lies between them: what is measured is what stays.
      execArgv: ['--expose-gc', '--compact-on-every-full-gc', '--import=tsx'],
    },
  );
  const [answer] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
  if (typeof answer !== 'object' || answer === null) throw new Error(`the child ended: ${String(answer)}`);
  return answer as MemoryResult;
}
