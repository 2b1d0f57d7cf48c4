/** `cots train-tokenizer`: the discrete VAE that CMVM takes its targets from. */
import type { Command } from 'commander';
import { loadConfig } from '../config/load.js';
import { tokenizerRun } from '../config/native.js';
import { type TokenizerEvent, trainImageTokenizer } from '../train/tokenizer-trainer.js';
import { type CommonOptions, collectOverride, newCommand } from './command.js';
import { interruptSignal } from './interrupt.js';
import { note, printResult } from './output.js';
import { type Progress, startProgress } from './progress.js';

interface Options extends CommonOptions {
  readonly config: string;
}

export function trainTokenizerCommand(): Command {
  return newCommand(
    'train-tokenizer',
    'train the discrete VAE that makes image tokens',
    'cots train-tokenizer --config configs/demo.yaml token.tokenizer=runs/dvae',
  )
    .requiredOption(
      '--config <file>',
      'YAML config; the folder written is tokenizer.out, else token.tokenizer, else train.out',
    )
    .argument('[overrides...]', 'key.path=value', collectOverride)
    .action(async (overrides: string[] | undefined, options: Options) => {
      const config = await loadConfig(options.config, overrides, 'tokenizer');
      const interrupt = interruptSignal(() =>
        note(
          'interrupted: the step in progress ends and the tokenizer is written as it is; once more to stop at once',
        ),
      );
      let progress: Progress | undefined;
      let end: Extract<TokenizerEvent, { type: 'end' }> | undefined;
      const onStart = (total: number): void => {
        progress = startProgress({ title: 'image tokenizer', total, unit: 'steps' });
      };
      try {
        for await (const event of trainImageTokenizer(config, {
          signal: interrupt.signal,
          onStart,
          warn: note,
        })) {
          if (event.type === 'end') end = event;
          else
            progress?.update(
              event.step,
              `loss ${event.loss.toFixed(4)}, perplexity ${event.perplexity.toFixed(0)}, ${event.images_per_second.toFixed(0)} images/s`,
            );
        }
      } finally {
        progress?.stop();
        interrupt.release();
      }

      if (end?.reason !== 'done') interrupt.endsProcess();
      const { out } = tokenizerRun(config);
      if (end === undefined)
        return printResult(options, { out, step: 0, reason: 'aborted' }, [
          'aborted before the first step: nothing was written',
        ]);
      const { hardError, perplexity, unigramEntropy, deadCodes } = end.health;
      printResult(options, { out, ...end, type: undefined }, [
        `${end.reason} at step ${end.step}: ${out}`,
        `reconstruction error ${hardError.toFixed(4)}, perplexity ${perplexity.toFixed(1)}, token entropy ${unigramEntropy.toFixed(3)} nats, ${(100 * deadCodes).toFixed(1)} % of the codes unused`,
      ]);
    });
}
