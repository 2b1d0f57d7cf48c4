/** A folder that a test may fill; it is gone when the test ends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';

export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cots-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
