import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../lib/binding.js';
import { layoutProblems } from './layout/rules.js';

const readFiles = (): Map<string, string> => {
  const root = packageRoot();
  const files = new Map<string, string>();
  for (const folder of ['native', 'lib', 'bench', 'examples', 'test/native']) {
    for (const entry of readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath, entry.name);
      if (entry.isFile() && /\.(cpp|h|cu|cuh|cmake|ts|md)$/.test(entry.name)) {
        files.set(path.relative(root, file), readFileSync(file, 'utf8'));
      }
    }
  }
  return files;
};

test('the repository keeps the layout rules', (t) => {
  const files = readFiles();
  t.true(files.size > 100);
  t.deepEqual(layoutProblems(files), []);
});

/** A project in small that keeps every rule. */
const good: Readonly<Record<string, string>> = {
  'native/sources.cmake': 'set(COTS_CORE_SOURCES\n  native/ops/scale.cpp\n  native/ops/cpu/scale.cpp\n)\n',
  'native/ops/scale.cpp': 'TORCH_LIBRARY_FRAGMENT(cots, m) {}\n',
  'native/ops/cpu/scale.cpp': '#include "ops/scale.h"\n',
  'native/ops/cuda/PENDING.md': '| op | why |\n|---|---|\n| scale | comes later |\n',
  'native/model/cots.h': '#include "io/failure.h"\n#include "loss/contrast.h"\n',
  'native/addon/addon.h': '#include <napi.h>\n#include "train/trainer.h"\n',
  'lib/binding.ts': "require('build/Release/cots.node');\n",
  'lib/cli/main.ts': "import { x } from '../index.js';\n",
};

const broken = test.macro({
  exec(t, changes: Record<string, string | undefined>, ...expected: RegExp[]) {
    const files = new Map(Object.entries(good));
    for (const [file, text] of Object.entries(changes)) {
      if (text === undefined) files.delete(file);
      else files.set(file, text);
    }
    const problems = layoutProblems(files);
    t.is(problems.length, expected.length, problems.join('\n'));
    for (const [index, pattern] of expected.entries()) t.regex(problems[index] ?? '', pattern);
  },
  title: (name) => `a breach is found: ${name}`,
});

test('the good example has no breach', (t) => t.deepEqual(layoutProblems(new Map(Object.entries(good))), []));
test(
  'napi.h outside addon',
  broken,
  { 'native/model/a.h': '#include <napi.h>\n' },
  /a\.h includes a Node-API/,
);
test(
  'a CUDA header outside ops/cuda',
  broken,
  { 'native/model/a.h': '#include <c10/cuda/CUDAGuard.h>\n' },
  /a\.h is CUDA/,
);
test(
  'CUDA in native/device beside cuda.cpp',
  broken,
  {
    'native/device/cuda.cpp': '#include <cuda_runtime_api.h>\n',
    'native/device/memory.h': '#include <cuda_runtime_api.h>\n',
    'native/sources.cmake': `${good['native/sources.cmake']}  native/device/cuda.cpp\n`,
  },
  /device\/memory\.h is CUDA/,
);
test(
  'an include upwards',
  broken,
  { 'native/ops/a.h': '#include "model/cots.h"\n' },
  /a\.h includes model\/cots\.h/,
);
test(
  'an include across one rank',
  broken,
  { 'native/infer/a.h': '#include "train/trainer.h"\n' },
  /includes train\/trainer\.h/,
);
test(
  'io included from the model',
  broken,
  { 'native/model/a.h': '#include "io/pixels.h"\n' },
  /includes io\/pixels\.h/,
);
test(
  'an op without its CPU twin',
  broken,
  { 'native/ops/cpu/scale.cpp': undefined },
  /scale has no native\/ops\/cpu/,
  /lists native\/ops\/cpu\/scale\.cpp, which does not exist/,
);
test('an op without CUDA twin or reason', broken, { 'native/ops/cuda/PENDING.md': '' }, /no reason in/);
test(
  'an old reason',
  broken,
  {
    'native/ops/cuda/scale.cu': '',
    'native/sources.cmake': `${good['native/sources.cmake']}  native/ops/cuda/scale.cu\n`,
  },
  /out of date/,
);
test(
  'a twin without its op',
  broken,
  {
    'native/ops/cpu/other.cpp': '',
    'native/sources.cmake': `${good['native/sources.cmake']}  native/ops/cpu/other.cpp\n`,
  },
  /other\.cpp has no op/,
);
test('a source that is not listed', broken, { 'native/train/a.cpp': '' }, /a\.cpp is not listed/);
test(
  'a .node named outside binding.ts',
  broken,
  { 'lib/a.ts': "load('./cots.node');\n" },
  /lib\/a\.ts names a \.node/,
);
test(
  'lib importing cli',
  broken,
  { 'lib/a.ts': "import { b } from './cli/b.js';\n" },
  /imports lib\/cli\/b\.js/,
);
test(
  'lib importing the index',
  broken,
  { 'lib/model/a.ts': "import { b } from '../index.js';\n" },
  /imports lib\/index\.js/,
);
test(
  'lib importing test',
  broken,
  { 'lib/a.ts': "import { b } from '../test/b.js';\n" },
  /imports test\/b\.js/,
);
