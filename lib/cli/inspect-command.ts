/** `cots inspect attention`: where an image answers a text, as a picture. */
import { type Command, Option } from 'commander';
import { writeAttentionPicture } from '../inspect/attention-picture.js';
import { type MapMethod, mapMethods } from '../model/attention.js';
import { readModelDescription } from '../model/config-file.js';
import { Cots } from '../model/cots.js';
import { imageView } from '../model/image-input.js';
import { rulesAt } from '../model/image-rules.js';
import { type CommonOptions, newCommand, newGroup, wholeNumber } from './command.js';
import { printResult } from './output.js';

interface Options extends CommonOptions {
  readonly model: string;
  readonly out: string;
  readonly method: MapMethod;
  readonly startLayer?: number;
}

/** Pixels a side of the picture. */
const side = 448;

export function inspectCommand(): Command {
  const inspect = newGroup(
    'inspect',
    'look into a model',
    "cots inspect attention beach.jpg 'kite' --model runs/demo/run/latest --out kite.png",
  );
  inspect.addCommand(attentionCommand());
  return inspect;
}

function attentionCommand(): Command {
  return newCommand(
    'attention',
    "paint where an image answers a word or a text over it; what the model's own crop leaves out is not shown",
    "cots inspect attention beach.jpg 'kite' --model runs/demo/run/latest --out kite.png",
  )
    .argument('<image>', 'image file')
    .argument('<text>', 'a word or a text')
    .requiredOption('--model <dir>', 'model folder with both towers')
    .requiredOption('--out <file>', 'PNG to write')
    .addOption(
      new Option('--method <name>', 'how the map is made (docs/inference.md)')
        .choices([...mapMethods])
        .default('relevancy'),
    )
    .option(
      '--start-layer <number>',
      'of relevancy: the first layer that counts, from 0 (default: the last)',
      wholeNumber(0, 10_000),
    )
    .action(async (image: string, text: string, options: Options) => {
      const { model: directory, out, method, startLayer } = options;
      const model = await Cots.load(directory);
      const found = await model
        .attention(image, text, { method, ...(startLayer === undefined ? {} : { startLayer }) })
        .finally(() => model.dispose());
      const { config, image: rules } = await readModelDescription(directory);
      const pixels = await imageView(image, side, rulesAt(rules, config.image.size, side));
      await writeAttentionPicture(out, pixels, side, found);
      const [rows, columns] = found.grid;
      printResult(options, { image, text, model: directory, method, out, ...found, map: [...found.map] }, [
        `${out}: ${rows} x ${columns} patches, score ${found.score.toFixed(4)}`,
      ]);
    });
}
