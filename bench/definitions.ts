/** What is measured: a name, which is the result's file name, and the arguments of `cots bench`. */
export interface Definition {
  readonly name: string;
  readonly arguments: readonly string[];
  /** Runs only where it is asked for by name or by `--device cuda`, and fails where the build or the machine has no GPU. */
  readonly device?: 'cuda';
}

export const definitions: readonly Definition[] = [
  { name: 'ops', arguments: ['ops', '--seconds', '5'] },
  {
    name: 'encode-image-base',
    arguments: [
      'encode',
      '--config',
      'configs/base.yaml',
      '--modality',
      'image',
      '--batch-size',
      '1',
      '--seconds',
      '20',
    ],
  },
  {
    name: 'encode-text-base',
    arguments: [
      'encode',
      '--config',
      'configs/base.yaml',
      '--modality',
      'text',
      '--batch-size',
      '32',
      '--seconds',
      '10',
    ],
  },
  {
    name: 'encode-image-demo',
    arguments: [
      'encode',
      '--config',
      'configs/demo.yaml',
      '--modality',
      'image',
      '--batch-size',
      '64',
      '--seconds',
      '10',
    ],
  },
  {
    name: 'encode-text-demo',
    arguments: [
      'encode',
      '--config',
      'configs/demo.yaml',
      '--modality',
      'text',
      '--batch-size',
      '64',
      '--seconds',
      '10',
    ],
  },
  {
    name: 'video',
    arguments: ['video', '--rounds', '5'],
  },
  {
    name: 'video-base',
    arguments: ['video', '--config', 'configs/base.yaml', '--rounds', '1', '--limit', '100'],
  },
  {
    name: 'retrieval-base',
    arguments: ['retrieval', '--config', 'configs/base.yaml'],
  },
  {
    name: 'train-demo',
    arguments: ['train', '--config', 'configs/demo.yaml', '--steps', '10', 'data.train=null'],
  },
  {
    name: 'train-base',
    arguments: [
      'train',
      '--config',
      'configs/base.yaml',
      '--steps',
      '3',
      'train.batchSize=4',
      'train.accumulate=1',
    ],
  },
  {
    name: 'train-base-cuda',
    device: 'cuda',
    arguments: [
      'train',
      '--config',
      'configs/base.yaml',
      '--steps',
      '20',
      'train.device=cuda',
      'train.batchSize=256',
    ],
  },
  {
    name: 'retrieval-base-cuda', // all of it: nothing is multiplied out
    device: 'cuda',
    arguments: [
      'retrieval',
      '--config',
      'configs/base.yaml',
      '--device',
      'cuda',
      '--sample-images',
      '5000',
      '--sample-texts',
      '25000',
    ],
  },
  ...(['image', 'text'] as const).flatMap((modality) =>
    [1, modality === 'image' ? 128 : 1024].map(
      (batch): Definition => ({
        name: `encode-${modality}-base-cuda-${batch}`,
        device: 'cuda',
        arguments: [
          'encode',
          '--config',
          'configs/base.yaml',
          '--modality',
          modality,
          '--device',
          'cuda',
          '--batch-size',
          `${batch}`,
          '--seconds',
          '20',
        ],
      }),
    ),
  ),
];
