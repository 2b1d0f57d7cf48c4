/** The README's example, run as a reader would run it. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import sharp from 'sharp';
import ts from 'typescript';
import { packageRoot } from '../lib/binding.js';
import { Cots } from '../lib/index.js';
import { temporaryFolder } from './support/tiny.js';

test("the README's TypeScript example runs and prints five results", async (t) => {
  const readme = await readFile(path.join(packageRoot(), 'README.md'), 'utf8');
  const source = /<!-- example -->\s*```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  t.regex(source, /embedImages/);
  const folder = await temporaryFolder(t);
  const images = path.join(folder, 'runs/demo/scenes/images/test');
  await mkdir(images, { recursive: true });
  for (let index = 0; index < 6; index++) {
    const background = { r: 40 * index, g: 90, b: 10 };
    const image = sharp({ create: { width: 16, height: 16, channels: 3, background } });
    await image.png().toFile(path.join(images, `${index}.png`));
  }
  const model = await Cots.create({
    image: { size: 16, patch: 8, width: 16, layers: 1, heads: 2 },
    text: { width: 16, layers: 1, heads: 2, vocabSize: 100, maxPositions: 40 },
    embedDim: 8,
  });
  await model.save(path.join(folder, 'runs/demo/run/latest'));
  model.dispose();
  // The package under its own name, as in a project that installed it.
  await mkdir(path.join(folder, 'node_modules'));
  await symlink(packageRoot(), path.join(folder, 'node_modules/cots'));
  const options = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
  await writeFile(
    path.join(folder, 'example.mjs'),
    ts.transpileModule(source, { compilerOptions: options }).outputText,
  );
  const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: folder });
  const lines = stdout.trim().split('\n');
  t.is(lines.length, 5);
  for (const line of lines) t.regex(line, /^-?[01]\.\d{3} runs\/demo\/scenes\/images\/test\/\d\.png$/);
  await rm(path.join(folder, 'node_modules'), { recursive: true });
});
