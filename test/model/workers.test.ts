/** The addon in two worker threads, and processes that end in the middle of native work. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { makeShapes, temporaryFolder, tinyConfig } from '../support/tiny.js';

const library = new URL('../../lib/index.js', import.meta.url).href;
const sizes = `{ image: { size: 32, patch: 8, width: 32, layers: 2, heads: 2 }, text: { width: 32, layers: 2, heads: 2, vocabSize: 200, maxPositions: 64 }, embedDim: 16 }`;

/** Embeds without end and tells the first vector each time. */
const embedder = `
  import { parentPort } from 'node:worker_threads';
  import { Cots } from '${library}';
  const model = await Cots.create(${sizes}, { seed: 1 });
  for (;;) {
    const { data } = await model.embedTexts(Array.from({ length: 300 }, (_, i) => 'text ' + i));
    parentPort.postMessage([...data.subarray(0, 16)]);
  }
`;

function start(): { worker: Worker; vectors: number[][]; reach: (count: number) => Promise<void> } {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(embedder)}`));
  const vectors: number[][] = [];
  const reach = async (count: number): Promise<void> => {
    while (vectors.length < count) {
      await new Promise<void>((resolve, reject) => {
        worker.once('message', () => resolve());
        worker.once('error', reject);
      });
    }
  };
  worker.on('message', (vector: number[]) => vectors.push(vector));
  return { worker, vectors, reach };
}

test('two workers embed the same; one is terminated in the middle, the other goes on', async (t) => {
  const [first, second] = [start(), start()];
  await Promise.all([first.reach(2), second.reach(2)]);
  t.deepEqual(first.vectors[0], second.vectors[0]);
  const begin = performance.now();
  await first.worker.terminate();
  t.true(performance.now() - begin < 2000, `${performance.now() - begin} ms`);
  const seen = second.vectors.length;
  await second.reach(seen + 3);
  t.deepEqual(second.vectors.at(-1), second.vectors[0]);
  await second.worker.terminate();
});

/** Runs a module's text in a process of its own. */
function runModule(
  text: string,
): Promise<{ code: number | null; signal: string | null; stderr: string; milliseconds: number }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
    });
    let stderr = '';
    let exiting = 0;
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if (stderr.includes('exiting')) exiting ||= performance.now();
    });
    child.on('close', (code, signal) =>
      resolve({ code, signal, stderr, milliseconds: performance.now() - exiting }),
    );
  });
}

test('process.exit in the middle of a training step ends within 2 s, cleanly', async (t) => {
  const folder = await temporaryFolder(t);
  const config = tinyConfig(await makeShapes(folder, 24), `${folder}/run`, {
    train: { steps: 100_000, batchSize: 64 },
  });
  const { code, signal, stderr, milliseconds } = await runModule(`
    import { Trainer } from '${library}';
    const trainer = await Trainer.create(${JSON.stringify(config)});
    setInterval(() => { if (trainer.step >= 2) { console.error('exiting'); process.exit(3); } }, 1);
    for await (const event of trainer.run()) if (event.type === 'end') throw new Error('ended');
  `);
  t.is(signal, null);
  t.is(code, 3, stderr);
  t.is(stderr.trim(), 'exiting');
  t.true(milliseconds < 2000, `${milliseconds} ms`);
});

test('a process that forgets to dispose ends by itself', async (t) => {
  const { code, stderr } = await runModule(`
    import { Cots } from '${library}';
    const model = await Cots.create(${sizes});
    await model.embedTexts(['a']);
    console.error('exiting');
  `);
  t.is(code, 0, stderr);
});
