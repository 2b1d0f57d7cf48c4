#!/usr/bin/env node
/** Command line of the emoji scenes: `node dist/examples/emoji-scenes/main.js --out DIR`. */
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { CotsError } from '../../lib/errors.js';
import { generateScenes } from './generate.js';
import { type SceneProgress, sceneDefaults } from './options.js';

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('Expected a number.');
  return value;
}

const command = new Command('emoji-scenes')
  .description(
    'Makes image-text pairs: drawings of emoji on colored backgrounds with captions, and manifest.jsonl that names them.',
  )
  .requiredOption('--out <folder>', 'folder to write')
  .option('--count <n>', 'training images', number, sceneDefaults.count)
  .option('--validation <n>', 'validation images', number, sceneDefaults.validation)
  .option('--test <n>', 'test images, and as many by the unseen artist', number, sceneDefaults.test)
  .option('--size <pixels>', 'width and height of an image', number, sceneDefaults.size)
  .option('--seed <n>', 'the same seed gives the same bytes', number, sceneDefaults.seed)
  .option(
    '--mismatched <share>',
    'share of the training images that get the captions of another',
    number,
    sceneDefaults.mismatched,
  )
  .option('--clips <n>', 'MP4 clips, in the split "clips"', number, sceneDefaults.clips)
  .option('--ffmpeg <path>', 'ffmpeg for the clips', process.env['COTS_FFMPEG'] ?? 'ffmpeg')
  .option('--concurrency <n>', 'images in work at once; changes no byte', number, sceneDefaults.concurrency)
  .option('--json', 'print the result as JSON')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .option('--verbose', 'print the stack of an error')
  .addHelpText(
    'after',
    '\nExample:\n  $ node dist/examples/emoji-scenes/main.js --out runs/scenes --count 2000 --mismatched 0.2',
  );

/** A bar on a terminal, a line every tenth elsewhere; both on stderr. */
function progressPrinter(): { update: (progress: SceneProgress) => void; stop: () => void } {
  if (!process.stderr.isTTY) {
    const update = ({ stage, done, total }: SceneProgress) => {
      if (Math.floor((done * 10) / total) > Math.floor(((done - 1) * 10) / total))
        console.error(`${stage} ${done}/${total}`);
    };
    return { update, stop: () => {} };
  }
  const bar = new SingleBar({
    format: '{stage} {bar} {value}/{total} | {eta} s left',
    stream: process.stderr,
  });
  let shown = '';
  const update = ({ stage, done, total }: SceneProgress) => {
    if (stage !== shown) bar.start(total, done, { stage });
    else bar.update(done, { stage });
    shown = stage;
  };
  return { update, stop: () => bar.stop() };
}

async function main(): Promise<void> {
  const { json, verbose, ...options } = command.parse().opts();
  const progress = progressPrinter();
  try {
    const made = await generateScenes({ ...(options as { out: string }), onProgress: progress.update });
    progress.stop();
    const splits = Object.entries(made.splits).map(([split, rows]) => `${split} ${rows}`);
    console.log(
      json ? JSON.stringify(made) : `${made.manifest}: ${splits.join(', ')} (${made.seconds.toFixed(1)} s)`,
    );
  } catch (error) {
    progress.stop();
    if (!(error instanceof Error)) throw error;
    console.error(verbose ? error : error.message);
    process.exitCode = error instanceof CotsError && error.code === 'ERR_COTS_OPTION' ? 2 : 1;
  }
}

await main();
