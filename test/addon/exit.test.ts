/** Ends in the middle of native work: process.exit(), a terminated worker thread, and an event loop that runs dry. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test from 'ava';

const tiny = new URL('./tiny.js', import.meta.url).href;

/** A step of a bigger model, so that every end falls into the middle of one. */
const start = `
  const { batch, config, createTrainer } = await import('${tiny}');
  const tower = { width: 256, layers: 12, heads: 4 };
  const model = { ...config.model, image: { ...config.model.image, ...tower }, text: { ...config.model.text, ...tower } };
  const trainer = await createTrainer({ model });
  const forever = async () => { for (let step = 0; ; step++) await trainer.step({ batch: batch(step), cancel: null }); };
`;

async function run(
  text: string,
): Promise<{ code: number | null; signal: string | null; stderr: string; afterMark: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', text]);
  let [stderr, mark] = ['', 0];
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdout.on('data', () => {
    mark = performance.now();
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stderr, afterMark: performance.now() - mark };
}

for (const delay of [20, 90, 170]) {
  test.serial(`process.exit() in the middle of a step ends within 2 s (${delay} ms into it)`, async (t) => {
    const ended = await run(
      `${start} forever(); setTimeout(() => { process.stdout.write('x'); process.exit(7); }, ${delay});`,
    );
    t.is(ended.code, 7, ended.stderr);
    t.is(ended.signal, null);
    t.is(ended.stderr, '');
    t.true(ended.afterMark < 2000, `${ended.afterMark} ms`);
  });
}

test.serial('an uncaught error in the middle of a step is reported as itself', async (t) => {
  const ended = await run(`${start} forever(); setTimeout(() => { throw new Error('mine'); }, 50);`);
  t.is(ended.code, 1);
  t.is(ended.signal, null);
  t.regex(ended.stderr, /mine/);
});

test.serial('a disposed trainer does not keep the process, an idle one neither', async (t) => {
  const disposed = await run(
    `${start} forever().catch((error) => process.stdout.write(error.code)); setTimeout(() => trainer.dispose(), 50);`,
  );
  t.is(disposed.code, 0, disposed.stderr);
  const idle = await run(`${start} process.stdout.write('x');`);
  t.is(idle.code, 0, idle.stderr);
});

test.serial(
  'two threads train at once; one is terminated in the middle of a step, the other goes on',
  async (t) => {
    const text = `
    const { parentPort } = await import('node:worker_threads');
    const { batch, createTrainer } = await import('${tiny}');
    const trainer = await createTrainer();
    for (let step = 0; ; step++) parentPort.postMessage((await trainer.step({ batch: batch(step), cancel: null })).loss);
  `;
    const workers = [0, 1].map(() => new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`)));
    const losses: number[][] = [[], []];
    workers.forEach((worker, i) => {
      worker.on('message', (loss: number) => losses[i]?.push(loss));
    });
    const reach = async (i: number, count: number): Promise<void> => {
      while ((losses[i] as number[]).length < count) await once(workers[i] as Worker, 'message');
    };
    await Promise.all([reach(0, 3), reach(1, 3)]);
    t.deepEqual(losses[0]?.slice(0, 3), losses[1]?.slice(0, 3));
    const begin = performance.now();
    await workers[0]?.terminate();
    t.true(performance.now() - begin < 2000);
    await reach(1, (losses[1] as number[]).length + 3);
    await workers[1]?.terminate();
  },
);
