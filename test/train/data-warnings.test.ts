/** What is odd in a data set is told by everything that reads it, not by `cots data` alone. */
import { cp, readFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openSources } from '../../lib/data/training-set.js';
import { Trainer } from '../../lib/index.js';
import { readInput } from '../../lib/search/read-input.js';
import { cots } from '../support/cli.js';
import { fixturePath } from '../support/fixtures.js';
import { temporaryFolder } from '../support/tiny.js';
import { fresh } from './runs.js';

const told = /cut\.tar ends inside \S+; the \d+ samples before are read/;

/** A shard that ends inside its last sample. */
async function cutShard(t: ExecutionContext): Promise<string> {
  const file = path.join(await temporaryFolder(t), 'cut.tar');
  await cp(fixturePath('formats/webdataset/pairs-000000.tar'), file);
  await truncate(file, (await readFile(file)).indexOf('000000001.txt') + 516);
  return file;
}

test('a run that trains on a shard that is cut begins with a warning', async (t) => {
  const { config } = await fresh(t);
  const shard = await cutShard(t);
  const trainer = await Trainer.create({
    ...config,
    data: { ...config.data, train: [shard, ...[config.data?.train ?? []].flat()] },
  } as typeof config);
  try {
    for await (const event of trainer.run()) {
      t.like(event, { type: 'warning', code: 'WARN_COTS_DATA' });
      t.regex('message' in event ? event.message : '', told);
      break;
    }
  } finally {
    trainer.dispose();
  }
});

test('the dry run and an input of embed tell it too', async (t) => {
  const shard = await cutShard(t);
  const messages: string[] = [];
  await readInput(shard, 'image', null, { warn: (message) => messages.push(message) });
  t.is(messages.length, 1);
  t.regex(messages[0] as string, told);
  t.deepEqual(
    (await openSources([{ path: shard, split: null, images: null, columns: null, weight: 1 }], 'any'))
      .warnings,
    messages,
  );
  const plan = await cots(
    'train',
    '--config',
    'configs/demo.yaml',
    '--dry-run',
    `data.train=${shard}`,
    'token.tokenizer=null',
    'loss.weights.cmvm=0',
  );
  t.is(plan.code, 0, plan.stderr);
  t.regex(plan.stderr, told);
});
