#!/usr/bin/env node
/**
 * Does training on clips beat averaging the frames' vectors of a model that saw images alone? Three models on the same test clips, each
 * embedding them as the mean of 12 frames: trained on images; trained on, with one frame of each training clip as its image; trained on
 * the same clips with several frames each. A stage whose result is there is not repeated.
 * `node dist/examples/emoji-scenes/clip-study.js --out runs/clip-study`
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../../lib/binding.js';
import { loadConfig } from '../../lib/config/load.js';
import type { TrainConfig } from '../../lib/config/schema.js';
import { type ManifestEntry, readManifest, writeManifest } from '../../lib/data/manifest.js';
import { CotsError } from '../../lib/errors.js';
import { embedSplit } from '../../lib/evaluate/embed-split.js';
import { evaluateRetrieval, type RetrievalResult } from '../../lib/evaluate/retrieval.js';
import { Cots } from '../../lib/model/cots.js';
import { exists } from '../../lib/read-file.js';
import { Trainer } from '../../lib/train/trainer.js';
import { requireFfmpeg } from '../../lib/video/find-ffmpeg.js';
import { generateScenes } from './generate.js';

interface Sizes {
  readonly images: number;
  readonly clips: number;
  readonly testClips: number;
  readonly imageSteps: number;
  readonly clipSteps: number;
  /** Frames of a clip in training. */
  readonly frames: number;
}

const sizes: Sizes = {
  images: 8000,
  clips: 1500,
  testClips: 300,
  imageSteps: 800,
  clipSteps: 200,
  frames: 4,
};

/** Frames that stand for a clip in the evaluation (SPEC `eval.frames`). */
const evaluatedFrames = 12;

/** The contrast alone, so that nothing but the frames differs; captions of clips are all true. */
const common = [
  'loss.weights={cmvm: 0, cmlm: 0, task: 0}',
  'amf.enabled=false',
  'queue.size=512',
  'train.batchSize=32',
];

async function main(): Promise<void> {
  const command = new Command('clip-study')
    .description('Compares training on clips with averaging the frames of an image model, on emoji scenes.')
    .option('--out <folder>', 'folder to write; a study that was stopped goes on there', 'runs/clip-study')
    .addHelpText(
      'after',
      '\nExample:\n  $ node dist/examples/emoji-scenes/clip-study.js --out runs/clip-study',
    );
  command.parse();
  const out = path.resolve(command.opts<{ out: string }>().out);
  const data = await makeData(out);
  const images = await trained(out, 'images', data.scenes, [
    `train.steps=${sizes.imageSteps}`,
    'train.batchSize=64',
  ]);
  const further = (name: string, frames: number): Promise<string> =>
    trained(out, name, data.train, [
      `train.steps=${sizes.clipSteps}`,
      `train.init=${images}`,
      `train.frames=${frames}`,
      'optim.lr=1.0e-3',
      'sched.warmupSteps=20',
    ]);
  const models = {
    'images alone': images,
    'one frame a clip': await further('one-frame', 1),
    [`${sizes.frames} frames a clip`]: await further('clips', sizes.frames),
  };
  const rows: [string, RetrievalResult][] = [];
  for (const [name, model] of Object.entries(models)) rows.push([name, await evaluate(model, data.test)]);
  await report(out, rows);
}

interface Data {
  readonly scenes: string;
  readonly train: string;
  readonly test: string;
}

/** Scenes, and clips of the same emoji in two manifests. */
async function makeData(out: string): Promise<Data> {
  const folder = path.join(out, 'data');
  const scenes = path.join(folder, 'manifest.jsonl');
  const data = {
    scenes,
    train: path.join(folder, 'clips-train.jsonl'),
    test: path.join(folder, 'clips-test.jsonl'),
  };
  if (await exists(data.test)) return data;
  const { path: ffmpeg } = await requireFfmpeg();
  await generateScenes({
    out: folder,
    size: 64,
    count: sizes.images,
    test: 0,
    clips: sizes.clips,
    clipSize: 64,
    ffmpeg,
  });
  const clips = (await readManifest(scenes, { captions: false })).filter(({ video }) => video !== undefined);
  const write = (file: string, split: string, part: readonly ManifestEntry[]): Promise<void> =>
    writeManifest(
      file,
      part.map((entry) => ({ ...entry, split })),
    );
  await write(data.train, 'train', clips.slice(sizes.testClips));
  await write(data.test, 'test', clips.slice(0, sizes.testClips));
  return data;
}

/** The model folder of a run, trained unless it is there. */
async function trained(out: string, name: string, manifest: string, overrides: string[]): Promise<string> {
  const run = path.join(out, name);
  const done = path.join(run, 'done');
  if (!(await exists(done))) {
    const all = [
      ...common,
      ...overrides,
      `train.out=${run}`,
      `data.train=${manifest}`,
      'token.tokenizer=null',
    ];
    await train(await loadConfig(path.join(packageRoot(), 'configs', 'demo.yaml'), all), run);
    await writeFile(done, '');
  }

  return path.join(run, 'latest');
}

async function train(config: TrainConfig, run: string): Promise<void> {
  const resume = await exists(path.join(run, 'latest'));
  const trainer = await Trainer.create(config, resume ? { resume: 'latest' } : {});
  try {
    for await (const event of trainer.run()) {
      if (event.type === 'step' && event.step % 20 === 0)
        console.error(
          `${path.basename(run)} ${event.step}/${trainer.totalSteps}: loss ${event.loss.toFixed(3)}, ${event.pairs_per_second.toFixed(0)} pairs/s`,
        );
    }
  } finally {
    trainer.dispose();
  }
}

async function evaluate(folder: string, manifest: string): Promise<RetrievalResult> {
  const model = await Cots.load(folder);
  try {
    const entries = await readManifest(manifest, { root: path.dirname(manifest) });
    const embedded = await embedSplit(model, entries, { frames: evaluatedFrames });
    return await evaluateRetrieval({ ...embedded, protocol: 'plain' });
  } finally {
    model.dispose();
  }
}

async function report(out: string, rows: readonly [string, RetrievalResult][]): Promise<void> {
  const recalls = (result: RetrievalResult) => ({
    textToVideo: result.textToImage,
    videoToText: result.imageToText,
    chance: result.chance.textToImage,
  });
  const document = {
    sizes,
    evaluatedFrames,
    models: Object.fromEntries(rows.map(([name, result]) => [name, recalls(result)])),
  };
  await writeFile(path.join(out, 'report.json'), `${JSON.stringify(document, null, 2)}\n`);
  console.log(`${sizes.testClips} clips x 5 captions, text to video, percent`);
  console.log(`${''.padEnd(20)}   R@1    R@5   R@10  MedR`);
  for (const [name, { textToImage: found }] of rows) {
    const cells = [found.r1, found.r5, found.r10].map((value) => value.toFixed(1).padStart(6)).join(' ');
    console.log(`${name.padEnd(20)}${cells} ${String(found.medianRank).padStart(5)}`);
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof CotsError ? `${error.code}: ${error.message}` : error);
  process.exitCode = 1;
});
