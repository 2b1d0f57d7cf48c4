// Step "typescript": tsc from lib, test, examples and bench to dist. Outputs of sources that are gone are removed,
// so that a deleted test is not run again.

import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root, SetupError } from './project.mjs';
import { run } from './run.mjs';
import { clearStamp, hashOf, isCurrent, listFiles, writeStamp } from './stamp.mjs';

const kFolders = ['lib', 'test', 'examples', 'bench'];
const require = createRequire(join(root, 'package.json'));

export async function buildTypeScript(say) {
  if (!existsSync(join(root, 'tsconfig.json')))
    return { line: 'compiled already in the package', did: false };
  const sources = kFolders.flatMap((folder) => listFiles(folder, (name) => /\.(ts|mts|json)$/.test(name)));
  const compiler = require('typescript/package.json').version;
  const hash = hashOf(['tsconfig.json', 'package.json', ...sources], { compiler });
  const stamp = join(root, 'dist', '.stamp');
  if (isCurrent(stamp, hash, [join(root, 'dist/lib/index.js')])) return { line: 'nothing to do', did: false };
  clearStamp(stamp);
  say('tsc ...');
  removeOrphans(new Set(sources));
  const { code } = await run(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', root], {
    cwd: root,
    show: true,
  });
  if (code !== 0) throw new SetupError('The TypeScript build failed; what is wrong stands above.');
  const main = join(root, 'dist/lib/cli/main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  writeStamp(stamp, hash);
  return { line: `${sources.length} sources`, did: true };
}

function removeOrphans(sources) {
  for (const output of listFiles('dist', (name) => /\.(js|js\.map|d\.ts)$/.test(name))) {
    const source = output.replace(/^dist\//, '').replace(/\.(js|js\.map|d\.ts)$/, '.ts');
    if (!sources.has(source)) {
      rmSync(join(root, output));
      rmSync(join(root, 'dist/.tsbuildinfo'), { force: true });
    }
  }
}
