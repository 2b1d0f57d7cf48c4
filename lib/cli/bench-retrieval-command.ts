/** `cots bench retrieval`: two towers against a single-stream model over a whole test set. */
import type { Command } from 'commander';
import { type BenchRetrievalResult, benchRetrieval } from '../bench/retrieval.js';
import { loadConfig } from '../config/load.js';
import type { Device } from '../device.js';
import { type CommonOptions, collectOverride, newCommand, wholeNumber } from './command.js';
import { note, printResult, table } from './output.js';

interface Options extends CommonOptions {
  readonly config: string;
  readonly images: number;
  readonly texts: number;
  readonly sampleImages: number;
  readonly sampleTexts: number;
  readonly calls: number;
  readonly pairs?: number;
  readonly threads?: number;
  readonly device: Device;
}

export function retrievalBenchCommand(): Command {
  return newCommand(
    'retrieval',
    'retrieval over a whole test set (default: of the size of COCO 5K) by two towers, and by a model that takes every pair: rates of samples, multiplied out',
    'cots bench retrieval --config configs/base.yaml --json',
  )
    .requiredOption('--config <file>', 'YAML config: random weights')
    .argument('[overrides...]', 'key.path=value', collectOverride)
    .option('--images <number>', 'images of the test set', wholeNumber(1, 1_000_000), 5000)
    .option('--texts <number>', 'texts of the test set', wholeNumber(1, 10_000_000), 25_000)
    .option('--sample-images <number>', 'images that are embedded', wholeNumber(1, 1_000_000), 256)
    .option('--sample-texts <number>', 'texts that are embedded', wholeNumber(1, 10_000_000), 2000)
    .option('--calls <number>', 'calls of each model of pairs', wholeNumber(1, 1_000_000), 3)
    .option('--pairs <number>', 'pairs of one of them (default: of 4,608 tokens)', wholeNumber(1, 100_000))
    .option('--threads <number>', 'threads of native work', wholeNumber(1, 1024))
    .option(
      '--device <device>',
      'cpu, cuda or cuda:N: of the towers; a model of pairs runs beside a CPU alone',
      'cpu',
    )
    .action(async (overrides: string[] | undefined, options: Options) => {
      const { images, texts, sampleImages, sampleTexts, calls, pairs, threads, device } = options;
      const result = await benchRetrieval({
        config: await loadConfig(options.config, overrides, 'bench'),
        images,
        texts,
        sampleImages,
        sampleTexts,
        calls,
        pairs,
        threads,
        device,
        onStage: note,
      });
      printResult(options, result, describe(result));
    });
}

function describe({
  images,
  texts,
  precision,
  twoStream,
  singleStream,
  detector,
}: BenchRetrievalResult): string[] {
  const { image, text, scoreAndRankSeconds, seconds, query } = twoStream;
  const row = (term: string, rate: string, total: number) => [term, rate, total.toFixed(1)];
  return [
    `${images} images, ${texts} texts, ${precision}`,
    ...table(
      ['term', 'measured', 'seconds for all'],
      [
        row('image tower', `${image.perSecond.toFixed(2)} images/s of ${image.measured}`, image.seconds),
        row('text tower', `${text.perSecond.toFixed(1)} texts/s of ${text.measured}`, text.seconds),
        row('scores and ranks', 'whole', scoreAndRankSeconds),
        row('two towers', 'sum', seconds),
        ...singleStream.map(({ name, pairs }) =>
          row(name, `${pairs.perSecond.toFixed(2)} pairs/s of ${pairs.measured}`, pairs.seconds),
        ),
        row('region detector', `quoted: ${detector.secondsAnImage} s an image`, detector.seconds),
      ],
    ),
    ...singleStream.map(
      ({ name, ratio, ratioWithDetector }) =>
        `two towers against ${name}: ${Math.round(ratio)} times faster${ratioWithDetector === null ? '' : `, ${Math.round(ratioWithDetector)} with the detector`}`,
    ),
    `one text query: ${query.towerMs.toFixed(1)} ms the tower, ${query.searchMs.toFixed(2)} ms the search of ${images} images`,
  ];
}
