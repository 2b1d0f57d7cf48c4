/** Ranks with real ties against numpy's counting. */
import test from 'ava';
import { binding } from '../../lib/binding.js';
import { pick, readTensors } from '../support/fixtures.js';

test('pessimistic and optimistic ranks equal the counted ones, both directions, ragged captions', async (t) => {
  const tensors = readTensors('ranks');
  const found = await binding().retrievalRanks({
    images: { data: pick(tensors, 'images', Float32Array), shape: [37, 6] },
    texts: { data: pick(tensors, 'texts', Float32Array), shape: [97, 6] },
    imageOfText: pick(tensors, 'image_of_text', Int32Array),
  });
  t.deepEqual(found.imageToText.pessimistic, pick(tensors, 'i2t', Int32Array));
  t.deepEqual(found.imageToText.optimistic, pick(tensors, 'i2t_optimistic', Int32Array));
  t.deepEqual(found.textToImage.pessimistic, pick(tensors, 't2i', Int32Array));
  t.deepEqual(found.textToImage.optimistic, pick(tensors, 't2i_optimistic', Int32Array));
  t.notDeepEqual(found.textToImage.pessimistic, found.textToImage.optimistic, 'the fixture has ties');
});
