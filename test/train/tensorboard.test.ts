/** TensorBoard's event files: byte for byte what its own writer makes (test/reference/read_tensorboard.py), and what a run puts in. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { crc32c, scalarsEvent, startEvent, versionEvent } from '../../lib/train/event-file.js';
import { fixturePath } from '../support/fixtures.js';
import { makeShapes } from '../support/tiny.js';
import { fresh, lines, trained } from './runs.js';

test('CRC-32C of the check string and of the vectors of RFC 3720', (t) => {
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.is(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  t.is(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
  t.is(crc32c(Buffer.from([])), 0);
});

test("records equal those of TensorBoard's own writer", async (t) => {
  const time = 1_790_000_000.25;
  const written = Buffer.concat([
    versionEvent(1.5),
    startEvent(2.5, 301),
    scalarsEvent(time, 1, { 'loss/total': 5.4321 }),
    scalarsEvent(time, 300, { 'optim/lr': 1.9e-3 }),
    scalarsEvent(time, 2_000_000_000_000, { 'filter/mean': -0.25 }),
    scalarsEvent(time, 4, { 'loss/cmvm': Number.NaN }),
  ]);
  t.is(written.toString('hex'), (await readFile(fixturePath('tensorboard.tfevents'))).toString('hex'));
});

/** The data of each record, their CRCs left aside. */
function recordsOf(file: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    found.push(file.subarray(at + 12, at + 12 + length));
    at += 16 + length;
  }

  return found;
}

async function eventFiles(out: string): Promise<Buffer[][]> {
  const folder = path.join(out, 'tensorboard');
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => recordsOf(await readFile(path.join(folder, name)))));
}

test('a run writes an event a step and one an evaluation; a resumed one goes on in another file', async (t) => {
  const { folder, out, config } = await fresh(t, { train: { tensorboard: true } });
  const validation = await makeShapes(folder, 12, 'val', 'val.jsonl');
  const judged = { ...config, data: { ...config.data, validation }, evaluate: { everySteps: 6 } };
  await trained(judged, { until: 7 });
  const [first = []] = await eventFiles(out);
  t.is(first.length, 2 + 7 + 1);
  const { loss } = (await lines(path.join(out, 'metrics.jsonl')))[2] as { loss: number };
  const wanted = Buffer.alloc(4);
  wanted.writeFloatLE(loss);
  t.is(first[4]?.indexOf(Buffer.concat([Buffer.from('loss/total\u0015'), wanted])) === -1, false);
  t.true(first[8]?.includes('evaluation/text_to_image_r10'));
  await trained(judged, { resume: 'latest' });
  const files = await eventFiles(out);
  t.deepEqual(files[0], first);
  t.is(files[1]?.length, 2 + 5 + 1);
  t.deepEqual([...(files[1]?.[1]?.subarray(9) ?? [])], [0x10, 8, 0x3a, 2, 8, 1], 'a start at step 8');
});

test('a run that begins anew leaves no events of one that was killed before its first checkpoint', async (t) => {
  const { out, config } = await fresh(t, { train: { tensorboard: true, steps: 3 } });
  await mkdir(path.join(out, 'tensorboard'), { recursive: true });
  await writeFile(path.join(out, 'tensorboard', 'events.out.tfevents.00000000000001.host.1'), 'old');
  await trained(config);
  const [only, ...others] = await eventFiles(out);
  t.is(only?.length, 2 + 3);
  t.deepEqual(others, []);
});
