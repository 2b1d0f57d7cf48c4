#!/usr/bin/env node
/** The whole path on real drawings: scenes, tokenizer, pre-training, evaluation, embedding, index, search. `npm run demo`. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { binding, packageRoot } from '../../lib/binding.js';
import { startProgress } from '../../lib/cli/progress.js';
import { loadConfig } from '../../lib/config/load.js';
import type { TrainConfig } from '../../lib/config/schema.js';
import { openDataset } from '../../lib/data/open.js';
import { CotsError } from '../../lib/errors.js';
import { embedSplit } from '../../lib/evaluate/embed-split.js';
import { evaluateRetrieval, type RetrievalResult } from '../../lib/evaluate/retrieval.js';
import { Cots } from '../../lib/model/cots.js';
import { embedInto } from '../../lib/search/embed-input.js';
import { buildIndex, loadIndex } from '../../lib/search/index-folder.js';
import { readInput } from '../../lib/search/read-input.js';
import { search } from '../../lib/search/search.js';
import { trainImageTokenizer } from '../../lib/train/tokenizer-trainer.js';
import { Trainer } from '../../lib/train/trainer.js';
import { type DemoReport, printReport, stageClock } from './demo-report.js';
import { demoMakeUp } from './demo-scenes.js';
import { judgeFilter, readLastDecisions } from './filter-truth.js';
import { generateScenes } from './generate.js';
import { writeSearchGrid } from './grid.js';

/** Minutes on two quiet cores, measured; printed before anything starts. */
const expectedMinutes = { scenes: 0.5, tokenizer: 1.5, train: 6.5, rest: 0.5 };
const mismatchedShare = 0.2;
const exampleQueries = 3;
const shownResults = 5;

interface Folders {
  readonly out: string;
  readonly manifest: string;
  readonly run: string;
  readonly tokenizer: string;
  readonly embeddings: string;
  readonly index: string;
}

async function main(): Promise<void> {
  const options = readOptions();
  const out = path.resolve(options.out);
  const folders: Folders = {
    out,
    manifest: path.join(out, 'scenes', 'manifest.jsonl'),
    run: path.join(out, 'run'),
    tokenizer: path.join(out, 'tokenizer'),
    embeddings: path.join(out, 'embeddings'),
    index: path.join(out, 'index'),
  };
  const config = await demoConfig(folders, options.overrides);
  announce(config, folders);
  const clock = stageClock();
  await freshFolder(folders);
  await clock.stage('scenes', () => makeScenes(config, folders));
  await clock.stage('tokenizer', () => trainTokenizer(config));
  await clock.stage('train', () => pretrain(config));
  const model = await Cots.load(path.join(folders.run, 'latest'));
  try {
    const { test, unseen } = await clock.stage('evaluate', () => evaluate(model, folders));
    await clock.stage('embed', () => embedTest(model, folders));
    await clock.stage('search', () => answerQueries(model, folders));
    const filter = await filterReport(folders);
    const report: DemoReport = {
      test,
      unseen,
      filter,
      seconds: clock.seconds(),
      config,
      versions: versions(),
    };
    await writeFile(path.join(out, 'report.json'), `${JSON.stringify(report, null, 1)}\n`);
    printReport(report, path.relative(process.cwd(), out));
  } finally {
    model.dispose();
  }
}

function readOptions(): { out: string; overrides: string[] } {
  const command = new Command('demo')
    .description(
      'Makes emoji scenes, pre-trains COTS on them with 20 % mismatched captions, evaluates, embeds and searches.',
    )
    .option('--out <folder>', 'folder to write; what an earlier demo left there is replaced', 'runs/demo')
    .argument('[overrides...]', 'key.path=value over configs/demo.yaml')
    .addHelpText('after', '\nExample:\n  $ npm run demo -- --out runs/quick train.steps=100');
  command.parse();
  return { out: command.opts<{ out: string }>().out, overrides: command.args };
}

/** configs/demo.yaml with the folders of this run. */
async function demoConfig(folders: Folders, overrides: string[]): Promise<TrainConfig> {
  const own = [
    `train.out=${folders.run}`,
    `token.tokenizer=${folders.tokenizer}`,
    `data.train=${folders.manifest}`,
    `data.validation=${folders.manifest}`,
  ];
  return loadConfig(path.join(packageRoot(), 'configs', 'demo.yaml'), [...own, ...overrides], 'tokenizer');
}

function announce(config: TrainConfig, { out }: Folders): void {
  const { scenes, tokenizer, train, rest } = expectedMinutes;
  console.log(
    `COTS on emoji scenes: ${config.train.steps} steps of ${config.train.batchSize} pairs, ${100 * mismatchedShare} % of the captions mismatched.`,
  );
  console.log(
    `On two cores this takes about ${Math.round(scenes + tokenizer + train + rest)} minutes: scenes ${scenes}, tokenizer ${tokenizer}, pre-training ${train}, the rest ${rest}.`,
  );
  console.log(`Everything is written to ${path.relative(process.cwd(), out) || '.'}.\n`);
}

async function freshFolder(folders: Folders): Promise<void> {
  for (const name of ['scenes', 'run', 'tokenizer', 'embeddings', 'index']) {
    await rm(path.join(folders.out, name), { recursive: true, force: true });
  }
  await mkdir(folders.out, { recursive: true });
}

async function makeScenes(config: TrainConfig, { manifest }: Folders): Promise<void> {
  let progress: ReturnType<typeof startProgress> | undefined;
  const onProgress = ({ done, total }: { done: number; total: number }): void => {
    progress ??= startProgress({ title: 'scenes', total, unit: 'images' });
    progress.update(done);
  };
  await generateScenes({
    out: path.dirname(manifest),
    seed: config.train.seed,
    size: config.model.image.size,
    ...demoMakeUp,
    mismatched: mismatchedShare,
    onProgress,
  });
  progress?.stop();
}

async function trainTokenizer(config: TrainConfig): Promise<void> {
  let progress: ReturnType<typeof startProgress> | undefined;
  const onStart = (total: number): void => {
    progress = startProgress({ title: 'image tokenizer', total, unit: 'steps' });
  };
  for await (const event of trainImageTokenizer(config, { onStart })) {
    if (event.type === 'step') {
      progress?.update(
        event.step,
        `loss ${event.loss.toFixed(4)}, perplexity ${event.perplexity.toFixed(0)}`,
      );
      continue;
    }
    progress?.stop();
    const { hardError, perplexity, unigramEntropy } = event.health;
    console.log(
      `tokenizer: mean error ${hardError.toFixed(3)}, perplexity ${perplexity.toFixed(0)}, token entropy ${unigramEntropy.toFixed(2)} nats`,
    );
  }
}

async function pretrain(config: TrainConfig): Promise<void> {
  const trainer = await Trainer.create(config);
  const progress = startProgress({ title: 'pre-training', total: trainer.totalSteps, unit: 'steps' });
  try {
    for await (const event of trainer.run()) {
      if (event.type === 'step') {
        const { loss, filter_kept, pairs, pairs_per_second } = event;
        progress.update(
          event.step,
          `loss ${loss.toFixed(3)}, kept ${filter_kept}/${pairs}, ${pairs_per_second.toFixed(0)} pairs/s`,
        );
      } else if (event.type === 'warning') {
        progress.say(event.message);
      } else if (event.type === 'evaluation') {
        progress.say(
          `step ${event.step}: validation R@1 text to image ${event.result.textToImage.r1.toFixed(1)} %`,
        );
      }
    }
  } finally {
    progress.stop();
    trainer.dispose();
  }
}

async function evaluate(
  model: Cots,
  { manifest }: Folders,
): Promise<{ test: RetrievalResult; unseen: RetrievalResult }> {
  const results: RetrievalResult[] = [];
  for (const split of ['test', 'unseen']) {
    const { entries } = await openDataset(manifest, { split });
    const embedded = await embedSplit(model, entries);
    results.push(await evaluateRetrieval({ ...embedded, protocol: 'flickr30k-1k' }));
  }
  const [test, unseen] = results as [RetrievalResult, RetrievalResult];
  return { test, unseen };
}

async function embedTest(model: Cots, { manifest, embeddings, index, run }: Folders): Promise<void> {
  const entries = await readInput(manifest, 'image', 'test');
  await embedInto(model, entries, {
    modality: 'image',
    out: embeddings,
    modelPath: path.join(run, 'latest'),
  });
  await buildIndex(embeddings, index);
}

/** A caption of every so many test images as the query; the grid shows what came back. */
async function answerQueries(model: Cots, { manifest, index, out }: Folders): Promise<void> {
  const loaded = await loadIndex(index);
  const { entries } = await openDataset(manifest, { split: 'test' });
  const rows = [];
  for (let query = 0; query < exampleQueries; query++) {
    const entry = entries[Math.floor(((query + 0.5) * entries.length) / exampleQueries)];
    const text = entry?.captions[0] ?? '';
    const hits = await search(model, loaded, { text }, { k: shownResults });
    console.log(`\n"${text}"`);
    for (const hit of hits)
      console.log(
        `  ${hit.rank}. ${hit.score.toFixed(3)}  ${hit.caption}${hit.id === entry?.id ? '  <- its own image' : ''}`,
      );
    rows.push({
      query: text,
      results: hits.map(({ id, image, score }) => ({ image, score, correct: id === entry?.id })),
    });
  }
  await writeSearchGrid({ rows, file: path.join(out, 'search.png') });
}

async function filterReport({ manifest, run }: Folders): Promise<DemoReport['filter']> {
  const { entries } = await openDataset(manifest, { split: 'train' });
  const mismatched = new Set(entries.filter((entry) => entry.mismatched === true).map(({ id }) => id));
  return judgeFilter((await readLastDecisions(path.join(run, 'scores.jsonl'))).values(), mismatched);
}

function versions(): Record<string, string> {
  return {
    node: process.versions.node,
    libtorch: binding().info().libtorch,
    cpu: binding().info().cpu.capability,
  };
}

main().catch((error: unknown) => {
  const text =
    error instanceof CotsError ? `${error.code}: ${error.message}` : String((error as Error).stack ?? error);
  console.error(`\nThe demo stopped. ${text}`);
  process.exitCode = 1;
});
