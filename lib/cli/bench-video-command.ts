/** `cots bench video`. */
import type { Command } from 'commander';
import { benchVideo } from '../bench/video.js';
import { loadConfig } from '../config/load.js';
import { readInput } from '../search/read-input.js';
import { defaultFrames } from '../video/sample-frames.js';
import { type CommonOptions, collectOverride, newCommand, wholeNumber } from './command.js';
import { printResult, UsageError } from './output.js';

interface Options extends CommonOptions {
  readonly input?: string;
  readonly model?: string;
  readonly config?: string;
  readonly frames: number;
  readonly rounds: number;
  readonly limit?: number;
  readonly threads?: number;
}

export function videoBenchCommand(): Command {
  return newCommand(
    'video',
    'rate and latency of reading frames of clips; with a model also how busy its forward stage is while it embeds them',
    'cots bench video --config configs/base.yaml --limit 2 --json',
  )
    .argument('[overrides...]', 'key.path=value, with --config', collectOverride)
    .option(
      '--input <path>',
      'videos: a folder, a data set or one (default: six made clips of 10 to 60 s, 320 x 240)',
    )
    .option('--model <dir>', 'model folder to embed with')
    .option('--config <file>', 'YAML config to embed with: random weights')
    .option('--frames <number>', 'frames of a clip', wholeNumber(1, 100_000), defaultFrames)
    .option(
      '--rounds <number>',
      'times that all clips are read, after one to warm up',
      wholeNumber(1, 10_000),
      3,
    )
    .option('--limit <number>', 'clips to take, or to make', wholeNumber(1))
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .action(async (overrides: string[] | undefined, options: Options) => {
      const { input, frames, rounds, limit = Infinity, threads } = options;
      const entries = input === undefined ? null : await readInput(input, 'video', null);
      const result = await benchVideo({
        clips: entries?.map(({ video }) => video as string) ?? null,
        frames,
        rounds,
        limit,
        model: await modelOf(overrides, options),
        threads,
      });
      const { clipsPerSecond, framesPerSecond, latencyMs, stages, decodedShare, embed } = result;
      printResult(options, result, [
        `${result.clips} clips, ${frames} frames each: ${clipsPerSecond.toFixed(2)} clips/s (${framesPerSecond.toFixed(1)} frames/s), one alone p50 ${latencyMs.p50.toFixed(0)} ms`,
        `stages (ms): table ${stages.table.toFixed(0)}, decode ${stages.decode.toFixed(0)}; ${(100 * decodedShare).toFixed(0)} % of the packets decoded`,
        ...(embed === null
          ? []
          : [
              `embedding: ${embed.framesPerSecond.toFixed(2)} frames/s, forward busy ${(100 * embed.forwardBusy).toFixed(1)} % of ${embed.seconds.toFixed(1)} s, begun after ${embed.secondsToFirst.toFixed(2)} s`,
            ]),
      ]);
    });
}

async function modelOf(overrides: string[] | undefined, { model, config }: Options) {
  if (model !== undefined && config !== undefined)
    throw new UsageError('Expected either --model DIR or --config FILE, got both. Leave one out.');
  if (overrides !== undefined && overrides.length > 0 && config === undefined)
    throw new UsageError(`Expected key.path=value only with --config, got '${overrides[0]}'. Leave it out.`);
  if (model !== undefined) return { directory: model };
  return config === undefined ? null : { config: await loadConfig(config, overrides, 'bench') };
}
