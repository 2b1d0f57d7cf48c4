/** The layout rules of the project, on a map of file paths to contents, so that a test can plant a violation. */
import path from 'node:path';

export type Files = ReadonlyMap<string, string>;

type Rule = (files: Files) => string[];

/** A folder of native/ may include folders of a lower rank and itself; two folders of one rank are apart. */
const ranks: Readonly<Record<string, number>> = {
  device: 0,
  ops: 0,
  loss: 1,
  model: 2,
  io: 3,
  infer: 4,
  search: 4,
  train: 5, // tokenizes its images as inference does
  addon: 6,
};

/** The failure that every layer throws: a header of its own without any include of ours. */
const includableByAll = new Set(['io/failure.h']);

const isOwnCode = (file: string): boolean =>
  /\.(cpp|h|cu|cuh)$/.test(file) && !file.startsWith('native/third_party/');

const included = (text: string): string[] =>
  [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map((match) => match[1] ?? '');

const nativeFiles = (files: Files): [file: string, text: string][] =>
  [...files].filter(([file]) => file.startsWith('native/') && isOwnCode(file));

const napiOnlyInAddon: Rule = (files) =>
  nativeFiles(files)
    .filter(([file]) => !file.startsWith('native/addon/'))
    .filter(([, text]) => included(text).some((header) => /^(napi|node_api|js_native_api)\b/.test(header)))
    .map(([file]) => `${file} includes a Node-API header; only native/addon may`);

const cudaOnlyInCudaOps: Rule = (files) =>
  nativeFiles(files)
    .filter(
      ([file]) => !file.startsWith('native/ops/cuda/') && !/^native\/device\/(cuda|nccl)\.cpp$/.test(file),
    )
    .filter(
      ([file, text]) =>
        /\.cuh?$/.test(file) ||
        included(text).some((header) => /cuda|cublas|cudnn|nccl|\.cuh$/i.test(header)),
    )
    .map(
      ([file]) =>
        `${file} is CUDA or includes a CUDA header; only native/ops/cuda and cuda.cpp and nccl.cpp of native/device may`,
    );

const includesPointDown: Rule = (files) =>
  nativeFiles(files).flatMap(([file, text]) => {
    const from = file.split('/')[1] ?? '';
    const isWrong = (header: string): boolean => {
      const to = header.split('/')[0] ?? '';
      const [own, other] = [ranks[from], ranks[to]];
      if (own === undefined || other === undefined || from === to || includableByAll.has(header))
        return false;
      return other >= own;
    };
    return included(text)
      .filter(isWrong)
      .map(
        (header) =>
          `${file} includes ${header}: includes go addon -> train -> infer, search -> io -> model -> loss -> ops`,
      );
  });

/** An op is a file of native/ops that defines a schema; the other files there are plain functions. */
const everyOpHasItsTwins: Rule = (files) => {
  const pending = files.get('native/ops/cuda/PENDING.md') ?? '';
  const ops = [...files]
    .filter(
      ([file, text]) => /^native\/ops\/\w+\.cpp$/.test(file) && /TORCH_LIBRARY(_FRAGMENT)?\(/.test(text),
    )
    .map(([file]) => path.basename(file, '.cpp'));
  return ops.flatMap((op) => {
    const problems: string[] = [];
    if (!files.has(`native/ops/cpu/${op}.cpp`)) problems.push(`op ${op} has no native/ops/cpu/${op}.cpp`);
    const reason = pending.match(new RegExp(`^\\|\\s*${op}\\s*\\|\\s*(.*?)\\s*\\|`, 'm'))?.[1];
    const twin = files.has(`native/ops/cuda/${op}.cu`);
    if (!twin && !reason)
      problems.push(`op ${op} has no native/ops/cuda/${op}.cu and no reason in native/ops/cuda/PENDING.md`);
    if (twin && reason)
      problems.push(`op ${op} has its CUDA twin, so its line in native/ops/cuda/PENDING.md is out of date`);
    return problems;
  });
};

const everyTwinHasItsOp: Rule = (files) =>
  [...files.keys()]
    .filter((file) => /^native\/ops\/(cpu|cuda)\/\w+\.(cpp|cu)$/.test(file))
    .filter((file) => !files.has(`native/ops/${path.basename(file).replace(/\.(cpp|cu)$/, '.cpp')}`))
    .map((file) => `${file} has no op of its name in native/ops`);

const everySourceIsListed: Rule = (files) => {
  const listed =
    (files.get('native/sources.cmake') ?? '').match(/^\s+\S+\.(cpp|cu)$/gm)?.map((line) => line.trim()) ?? [];
  const present = [...files.keys()].filter(
    (file) => /^(native|test\/native)\/.*\.(cpp|cu)$/.test(file) && !file.startsWith('native/third_party/'),
  );
  return [
    ...present
      .filter((file) => !listed.includes(file))
      .map((file) => `${file} is not listed in native/sources.cmake`),
    ...listed
      .filter((file) => !files.has(file))
      .map((file) => `native/sources.cmake lists ${file}, which does not exist`),
  ];
};

const addonLoadedInOnePlace: Rule = (files) =>
  [...files]
    .filter(([file]) => /^(lib|bench|examples)\/.*\.ts$/.test(file) && file !== 'lib/binding.ts')
    .filter(([, text]) => /['"`/][\w-]*\.node['"`]/.test(text))
    .map(([file]) => `${file} names a .node file; only lib/binding.ts loads the addon`);

/** lib/ serves cli/, bench/, examples/ and test/, never the other way; index.ts is the face and nobody's part. */
const libraryImportsNothingAbove: Rule = (files) =>
  [...files]
    .filter(([file]) => file.startsWith('lib/') && file.endsWith('.ts'))
    .flatMap(([file, text]) => {
      const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)].map((match) =>
        path.posix.join(path.posix.dirname(file), match[1] ?? ''),
      );
      const isAbove = (target: string): boolean =>
        (target.startsWith('lib/cli/') && !file.startsWith('lib/cli/')) ||
        (target === 'lib/index.js' && !file.startsWith('lib/cli/')) ||
        !target.startsWith('lib/');
      return targets.filter(isAbove).map((target) => `${file} imports ${target}, which lies above it`);
    });

const rules: readonly Rule[] = [
  napiOnlyInAddon,
  cudaOnlyInCudaOps,
  includesPointDown,
  everyOpHasItsTwins,
  everyTwinHasItsOp,
  everySourceIsListed,
  addonLoadedInOnePlace,
  libraryImportsNothingAbove,
];

/** Every breach of a rule, a sentence each. */
export const layoutProblems = (files: Files): string[] => rules.flatMap((rule) => rule(files));
