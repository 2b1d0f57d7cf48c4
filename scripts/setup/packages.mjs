// Step "packages": npm ci, when package.json or package-lock.json changed since the last one that ended well.
// The stamp lies inside node_modules, which npm ci removes first: half an installation never looks whole.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root, SetupError } from './project.mjs';
import { lastLines, run } from './run.mjs';
import { hashOf, isCurrent, writeStamp } from './stamp.mjs';

const kTries = 2;

export async function installPackages(say) {
  if (!existsSync(join(root, 'package-lock.json'))) {
    return { line: 'installed with cots itself', did: false }; // cots is a dependency of someone's project
  }
  const stamp = join(root, 'node_modules', '.cots-packages');
  const hash = hashOf(['package.json', 'package-lock.json'], {
    platform: process.platform,
    arch: process.arch,
  });
  if (isCurrent(stamp, hash, [])) return { line: 'nothing to do', did: false };
  say('npm ci ...');
  let failure = '';
  for (let attempt = 1; attempt <= kTries; attempt++) {
    const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root });
    if (code === 0) {
      writeStamp(stamp, hash);
      return { line: output.match(/added \d+ packages?/)?.[0] ?? 'installed', did: true };
    }
    failure = lastLines(output);
    say(`npm ci failed (try ${attempt} of ${kTries}): ${failure}`);
  }
  throw new SetupError(`npm ci failed ${kTries} times: ${failure}`, [
    'Check that the npm registry is reachable (npm ping) and that the disk is not full, then run set-up again.',
  ]);
}
