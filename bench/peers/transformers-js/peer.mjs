/**
 * transformers.js as a peer: its feature extraction pipelines on ONNX Runtime, on folders that onnx_folders.py wrote.
 *
 *     node peer.mjs PACKAGES FOLDER THREADS
 *
 * JSON lines in, JSON lines out, as in peer.py: { do, ...values } asks, the answer is an object, `error` in it a failure.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';

const [packages, folder, threads] = process.argv.slice(2);
const packageOf = createRequire(path.join(packages, 'package.json'));
const { env, pipeline } = packageOf('@huggingface/transformers');
Object.assign(env, { allowRemoteModels: false, localModelPath: folder });

const tasks = { image: 'image-feature-extraction', text: 'feature-extraction' };
/** A pipeline by tower and number type, made at its first use. */
const extractors = new Map();

async function extractorOf(tower, dtype) {
  const key = `${tower} ${dtype}`;
  if (!extractors.has(key)) {
    const session_options = { intraOpNumThreads: Number(threads), interOpNumThreads: 1 };
    extractors.set(key, await pipeline(tasks[tower], tower, { dtype, device: 'cpu', session_options }));
  }

  return extractors.get(key);
}

/** Unit rows of the CLS states. */
const vectorsOf = {
  image: async (extractor, files) => (await extractor(files)).slice(null, 0).normalize(2, -1),
  text: (extractor, texts) => extractor(texts, { pooling: 'cls', normalize: true }),
};

const requests = {
  /** Embeds items (image files or texts) in batches of `batch`, in their order. */
  async run({ tower, dtype, items, batch }) {
    const extractor = await extractorOf(tower, dtype);
    const start = performance.now();
    for (let first = 0; first < items.length; first += batch)
      await vectorsOf[tower](extractor, items.slice(first, first + batch));
    return { seconds: (performance.now() - start) / 1000, items: items.length };
  },
  async first({ tower, dtype, item }) {
    return { vector: [...(await vectorsOf[tower](await extractorOf(tower, dtype), [item])).data] };
  },
};

answer({ versions: versionsOf('@huggingface/transformers', 'onnxruntime-node') });
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...values } = JSON.parse(line);
  answer(await requests[name](values).catch((error) => ({ error: error.stack })));
}

process.exit();

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Their package.json is not always exported. */
function versionsOf(...names) {
  const fileOf = (name) => path.join(packages, 'node_modules', name, 'package.json');
  return Object.fromEntries(names.map((name) => [name, JSON.parse(readFileSync(fileOf(name))).version]));
}
