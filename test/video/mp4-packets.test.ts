/** The packets of MP4 files read from their own tables: those that ffmpeg lists, or none. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { pack } from 'tar-stream';
import { memberLocation } from '../../lib/data/media.js';
import { KeyedRandom, sites } from '../../lib/data/random.js';
import { listPackets } from '../../lib/video/list-packets.js';
import { mp4Packets } from '../../lib/video/mp4/mp4-packets.js';
import { videoSource } from '../../lib/video/video-source.js';
import { temporaryFolder } from '../data/temporary.js';
import { fixturePath } from '../support/fixtures.js';
import { ffmpeg, makeClip } from './clips.js';

const x264 = '-c:v libx264 -pix_fmt yuv420p';

const made = async (t: ExecutionContext, output: string, clip: object = {}): Promise<string> =>
  makeClip(path.join(await temporaryFolder(t), 'a.mp4'), output, clip);

const isRead = async (t: ExecutionContext, file: string): Promise<void> => {
  const source = await videoSource(file);
  t.deepEqual(await mp4Packets(source), await listPackets(source, {}));
};

const isLeft = async (t: ExecutionContext, file: string): Promise<boolean> =>
  t.is(await mp4Packets(await videoSource(file)), undefined);

for (const name of ['rgb', 'yuv'])
  test(`reads the fixture ${name}`, async (t) => isRead(t, fixturePath(`video/${name}.mp4`)));

const reads = test.macro({
  exec: async (t, output: string, _name: string, clip: object = {}) => isRead(t, await made(t, output, clip)),
  title: (_, _output, name) => `reads ${name}`,
});

test(reads, x264, 'B-frames');
test(reads, `${x264} -x264-params keyint=9:bframes=3:b-pyramid=normal:open-gop=1`, 'open groups');
test(reads, `${x264} -x264-params intra-refresh=1:keyint=15`, 'intra refresh');
test(reads, `${x264} -x264-params keyint=1`, 'key frames alone');
test(reads, `${x264} -x264-params aud=1:bframes=2:repeat-headers=1`, 'delimiters and headers in the stream');
test(reads, `${x264} -bf 0 -x264-params slices=3`, 'slices, without B-frames');
test(reads, `${x264} -fps_mode vfr`, 'an uneven frame rate', {
  filters: ",select='not(eq(mod(n,3),1))',setpts='PTS+mod(N,4)*0.01/TB'",
});
test(reads, `${x264} -movflags negative_cts_offsets`, 'negative offsets of time');
test(reads, `${x264} -movflags faststart`, 'the tables in front');
test(reads, `${x264} -flags +ildct+ilme -x264-params tff=1`, 'interlaced pictures', { size: '64x64' });
test(reads, `${x264} -profile:v baseline`, 'the baseline profile');
test(reads, `-c:v libx264 -pix_fmt yuv444p`, '4:4:4', { size: '65x49' });
test(
  reads,
  `${x264} -color_primaries bt709 -color_trc bt709 -colorspace bt709 -movflags -write_colr`,
  'BT.709',
);
test(reads, `${x264} -frames:v 1`, 'one frame');
test(reads, `${x264} -video_track_timescale 90000`, 'another clock', { rate: 30 });
test(
  reads,
  `${x264} -bf 2 -x264-params nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900`,
  'messages in each packet',
);

const leaves = test.macro({
  exec: async (t, output: string, _name: string, clip: object = {}) => isLeft(t, await made(t, output, clip)),
  title: (_, _output, name) => `leaves ${name} to ffmpeg`,
});

test(leaves, `${x264} -movflags frag_keyframe+empty_moov`, 'fragments');
test(leaves, '-c:v mpeg4', 'another codec');
test(leaves, `${x264} -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc`, 'HDR');
test(
  leaves,
  `${x264} -encryption_scheme cenc-aes-ctr -encryption_key 00112233445566778899aabbccddeeff -encryption_kid 00112233445566778899aabbccddeeff`,
  'encryption',
);

test('rotation changes nothing of the packets', async (t) => {
  const folder = await temporaryFolder(t);
  const plain = await makeClip(path.join(folder, 'plain.mp4'), x264);
  const file = path.join(folder, 'turned.mp4');
  await ffmpeg('-display_rotation', '90', '-i', plain, '-c', 'copy', file);
  await isRead(t, file);
});

test('sound beside the pictures', async (t) => {
  const folder = await temporaryFolder(t);
  const plain = await makeClip(path.join(folder, 'plain.mp4'), x264);
  const file = path.join(folder, 'sound.mp4');
  const sine = ['-f', 'lavfi', '-i', 'sine=duration=2.5'];
  await ffmpeg('-i', plain, ...sine, '-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', 'aac', file);
  await isRead(t, file);
});

test('an edit that cuts the beginning is left to ffmpeg', async (t) => {
  const folder = await temporaryFolder(t);
  const plain = await makeClip(path.join(folder, 'plain.mp4'), `${x264} -g 50`);
  const file = path.join(folder, 'cut.mp4');
  await ffmpeg('-ss', '0.5', '-i', plain, '-c', 'copy', file);
  await isLeft(t, file);
});

test('a member of a shard is read in place', async (t) => {
  const folder = await temporaryFolder(t);
  const bytes = await readFile(await makeClip(path.join(folder, 'a.mp4'), x264));
  const tar = pack();
  tar.entry({ name: 'x.txt' }, 'a clip');
  tar.entry({ name: 'x.mp4' }, bytes);
  tar.finalize();
  const shard = path.join(folder, 'a.tar');
  await writeFile(shard, await buffer(tar));
  await isRead(t, memberLocation(shard, 'x.mp4'));
});

test('broken tables end in bounded work: the packets that ffmpeg lists, or none', async (t) => {
  const folder = await temporaryFolder(t);
  const file = await makeClip(path.join(folder, 'a.mp4'), x264, { seconds: 1 });
  const whole = await readFile(file);
  const movie = whole.indexOf('moov');
  const random = new KeyedRandom(5, sites.permutation);
  let left = 0;
  for (let round = 0; round < 300; round++) {
    const broken = Buffer.from(whole);
    const at = movie + 4 + random.below(whole.length - movie - 8);
    if (round % 2 === 0) broken.writeUInt32BE(0xffffffff, at);
    else broken[at] = random.below(256);
    await writeFile(file, round % 5 === 0 ? broken.subarray(0, at) : broken);
    const packets = await mp4Packets(await videoSource(file));
    if (packets === undefined) left++;
    else t.true(packets.packets.length <= 25);
  }

  t.true(left > 100, `${left} left to ffmpeg`);
});
