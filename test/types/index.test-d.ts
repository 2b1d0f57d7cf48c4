/** The public types, by tsd. */
import { expectAssignable, expectError, expectType } from 'tsd';
import {
  Cots,
  CotsError,
  type CotsErrorCode,
  type Device,
  type EmbeddedBatch,
  evaluateRetrieval,
  type ImageInput,
  type Item,
  type Matrix,
  type Metrics,
  type ModelConfig,
  ops,
  type Protocol,
  type RetrievalResult,
  type TrainConfigInput,
  type TrainEvent,
  Trainer,
  type VideoEmbeddings,
} from '../../dist/lib/index.js';

const matrix: Matrix = { data: new Float32Array(2), shape: [1, 2] };
expectError<Matrix>({ data: new Float64Array(2), shape: [1, 2] });
expectError<Matrix>({ data: new Float32Array(2), shape: [2] });

expectAssignable<Device>('cuda:1');
expectError<Device>('gpu');
expectAssignable<ImageInput>('a.jpg');
expectAssignable<ImageInput>(new URL('file:///a.jpg'));
expectAssignable<ImageInput>({ data: new Uint8Array(3), width: 1, height: 1 });
expectError<ImageInput>(1);

const model = await Cots.load('model', {
  device: 'cpu',
  precision: 'float32',
  threads: 2,
  signal: new AbortController().signal,
});
expectType<Cots>(model);
expectType<ModelConfig>(model.config);
declare const otherConfig: ModelConfig;
expectError(() => {
  model.config = otherConfig;
});
expectType<Promise<Cots>>(Cots.create({ image: { size: 32 }, embedDim: 8 }, { seed: 1 }));
expectError(Cots.create({ image: { sise: 32 } }));
expectType<Promise<Matrix>>(model.embedImages(['a.jpg'], { batchSize: 2 }));
expectType<Promise<Matrix>>(model.embedTexts(['a']));
expectError(model.embedTexts('a'));
expectType<Promise<VideoEmbeddings>>(model.embedVideos(['a.mp4'], { frames: 4 }));
expectType<Promise<VideoEmbeddings>>(model.embedVideos(['a.mp4'], { fps: 1, skipBlack: true, batchSize: 8 }));
expectError(model.embedVideos('a.mp4'));
expectError(model.embedVideos(['a.mp4'], { frame: 4 }));
expectType<Promise<{ map: Float32Array; grid: [rows: number, columns: number]; score: number }>>(
  model.attention('a.jpg', 'dog'),
);
expectType<Promise<void>>(model.save('out'));
expectType<void>(model.dispose());

declare const items: AsyncIterable<Item>;
expectType<AsyncIterable<EmbeddedBatch>>(model.embed(items));
expectAssignable<Item>({ id: '1', text: 'a' });
expectAssignable<Item>({ id: '1', image: 'a.jpg' });
expectAssignable<Item>({ id: '1', video: 'a.mp4' });
expectError<Item>({ text: 'a' });

const trainer = await Trainer.create(
  { train: { steps: 3 }, data: { train: 'm.jsonl' } },
  { resume: 'latest' },
);
expectType<Promise<Trainer>>(Trainer.create('config.yaml'));
expectType<AsyncIterable<TrainEvent>>(trainer.run({ signal: new AbortController().signal }));
expectType<Cots>(trainer.model());
for await (const event of trainer.run()) {
  if (event.type === 'step') expectAssignable<Metrics>(event);
  if (event.type === 'step') expectType<number>(event.loss_image_to_text);
  if (event.type === 'evaluation') expectType<RetrievalResult>(event.result);
  if (event.type === 'checkpoint') expectType<string>(event.path);
  if (event.type === 'end') expectType<'done' | 'aborted'>(event.reason);
}

const result = await evaluateRetrieval({
  images: matrix,
  texts: matrix,
  imageOfText: new Int32Array(1),
  protocol: 'coco-5k',
});
expectType<RetrievalResult>(result);
expectType<Protocol>(result.protocol);
expectType<number>(result.imageToText.medianRank);
expectType<Int32Array>(result.ranks.textToImage);
expectError(evaluateRetrieval({ images: matrix, texts: matrix, imageOfText: [0], protocol: 'plain' }));
expectError(
  evaluateRetrieval({ images: matrix, texts: matrix, imageOfText: new Int32Array(1), protocol: 'coco' }),
);

const contrast = await ops.queueContrast({
  image: matrix,
  text: matrix,
  imageKey: matrix,
  textKey: matrix,
  imageQueue: matrix,
  textQueue: matrix,
  temperature: 0.1,
});
expectType<Matrix>(contrast.gradImage);
expectType<number>(contrast.gradLogScale);
expectType<Promise<{ mean: number; std: number; threshold: number; keep: Uint8Array }>>(
  ops.momentumFilter({ scores: new Float32Array(1), queueScores: new Float32Array(1) }),
);
const found = await ops.topK({ queries: matrix, gallery: matrix, k: 1, device: 'cpu' });
expectType<Uint32Array>(found.indices);
expectType<[number, number]>(found.shape);
expectType<Promise<Uint8Array>>(
  ops.resize({ data: new Uint8Array(3), width: 1, height: 1, to: [2, 2], filter: 'lanczos' }),
);
expectError(ops.resize({ data: new Uint8Array(3), width: 1, height: 1, to: [2, 2], filter: 'nearest' }));

expectAssignable<Error>(new CotsError('ERR_COTS_OPTION', 'x'));
expectType<CotsErrorCode>(new CotsError('ERR_COTS_OPTION', 'x').code);
expectError(new CotsError('ERR_OTHER', 'x'));

expectAssignable<TrainConfigInput>({
  data: {
    train: [
      'shards/{00000..00123}.tar',
      { path: 'pairs.csv', weight: 2, split: null, columns: { image: 'path', caption: 'text' } },
    ],
  },
});
expectError<TrainConfigInput>({ data: { train: [{ path: 'a.csv', columns: { picture: 'path' } }] } });
