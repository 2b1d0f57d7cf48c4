/** Files that change between the listing of their packets and the decoding, or meanwhile: the frames of the file as it was, or an error that says so. */
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import type { CotsError } from '../../lib/errors.js';
import { type SampledFrame, sampleVideo } from '../../lib/video/sample-video.js';
import { SharedRuns } from '../../lib/video/shared-runs.js';
import { temporaryFolder } from '../data/temporary.js';
import { childProcesses, makeClip, plainFrames } from './clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p -x264-params keyint=20';
const count = 40;

/** What happens to `file`; `other` is a clip of the same size, length and times. */
const changes: Record<string, (file: string, other: string) => void> = {
  'grows by a part of another': (file, other) =>
    appendFileSync(file, readFileSync(other).subarray(0, 30_000)),
  'is truncated': (file) => truncateSync(file, readFileSync(file).length >> 1),
  'is emptied': (file) => truncateSync(file),
  'is replaced by another': (file, other) => {
    copyFileSync(other, `${file}.new`);
    renameSync(`${file}.new`, file);
  },
  'is written anew': (file, other) => writeFileSync(file, readFileSync(other)),
  'is written over in part': (file, other) => {
    const [own, foreign] = [readFileSync(file), readFileSync(other)];
    foreign.copy(own, own.length >> 1, foreign.length >> 1);
    writeFileSync(file, own);
  },
  'is taken away': (file) => rmSync(file),
};

/** `when` frames have been taken of it, or before the first is decoded. */
const changing = test.macro({
  async exec(t, change: string, extension: string, when: number, isShared: boolean) {
    const folder = await temporaryFolder(t);
    const clip = { size: '160x120', seconds: count / 25 };
    const file = await makeClip(path.join(folder, `a.${extension}`), x264, clip);
    const other = await makeClip(path.join(folder, `other.${extension}`), x264, {
      ...clip,
      filters: ',hue=h=120,hflip',
    });
    const beside = await makeClip(path.join(folder, `beside.${extension}`), x264, clip);
    const truth = await plainFrames(file, 3 * 160 * 120);
    const runs = isShared ? { runs: new SharedRuns(1) } : {};
    const make = (): void => changes[change]?.(file, other);
    const every = ({ timestamps }: { timestamps: Float64Array }): number[] => {
      if (when === 0) make();
      return [...timestamps.keys()].filter((frame) => frame % 2 === 1);
    };
    const taken: SampledFrame[] = [];
    const read = async (): Promise<void> => {
      for await (const frame of sampleVideo(file, every, runs)) {
        taken.push(frame);
        if (taken.length === when) make();
      }
    };
    const neighbor = async (): Promise<number> => {
      let frames = 0;
      for await (const _ of sampleVideo(beside, ({ timestamps }) => [...timestamps.keys()], runs)) frames++;
      return frames;
    };
    const [result, frames] = await Promise.all([
      read().catch((error: unknown) => error as CotsError),
      isShared ? neighbor() : count,
    ]);
    t.is(frames, count);
    t.is(result?.code, 'ERR_COTS_VIDEO');
    t.regex(result?.message ?? '', /a\.\w+ to stay as it was while it is read, it (was changed|is gone)\./);
    t.is(taken.length, when);
    for (const { index, data } of taken) t.deepEqual(Buffer.from(data), truth[index]);
    t.deepEqual(await childProcesses(), []);
  },
  title: (_, change, extension, when, isShared) =>
    `a .${extension} that ${change} ${when === 0 ? 'before it is decoded' : 'while it is read'}${isShared ? ', in company' : ''}`,
});

for (const change of Object.keys(changes)) {
  for (const when of [0, 3]) {
    for (const isShared of [false, true]) test.serial(changing, change, 'mp4', when, isShared);
    test.serial(changing, change, 'mkv', when, false);
  }
}
