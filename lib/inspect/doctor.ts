/** What is installed, found, built and usable on this machine, and what to do about the rest. */
import { existsSync, readFileSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import path from 'node:path';
import { architecturesText, cudaDevice, cudaVersion, describe } from '../accelerator.js';
import { binding, type NativeAccelerators, packageRoot } from '../binding.js';
import { cacheFolder } from '../cache-folder.js';
import { usableCores } from '../device.js';
import { ffmpegAdvice, findFfmpeg } from '../video/find-ffmpeg.js';

export interface Finding {
  /** `node`, `libtorch`, `addon`, `cpu`, `plans`, `cuda`, `threads`, `memory`, `sharp`, `ffmpeg`, `cache`. */
  readonly name: string;
  /** `missing` keeps the package from working; `warning` only a part of it. */
  readonly state: 'ok' | 'warning' | 'missing';
  /** What was found. */
  readonly found: string;
  /** What to do; empty when all is well. */
  readonly advice: string;
}

export interface Diagnosis {
  /** No finding is `missing`. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** build/setup.json as set-up writes it. */
interface SetupState {
  readonly libtorch?: {
    readonly folder: string;
    readonly version: string;
    readonly cuda: boolean;
    readonly from: string;
    readonly ways?: readonly string[];
  };
}

/** What bfloat16 plans run on. */
const bfloat16Plans = {
  portable: 'weights alone, half the memory, float32 arithmetic',
  avx512_bf16: 'AVX-512 BF16, float32 sums',
};

/** What int8 plans run on, and why. */
const int8Plans = {
  portable: 'plain C++, for want of AVX2: a quarter of the memory, slow',
  avx2: 'AVX2, for want of VNNI: 16-bit products, a quarter of the memory, no faster than float32 in batches',
  avx_vnni: 'AVX-VNNI',
  avx512_vnni: 'AVX-512 VNNI',
} as const;

const oldestNode = [20, 17] as const;

/** Looks at everything; throws nothing. */
export async function diagnose(): Promise<Diagnosis> {
  const state = readSetupState();
  const findings = [
    nodeFinding(),
    libtorchFinding(state),
    ...addonFindings(),
    threadsFinding(),
    memoryFinding(),
    await sharpFinding(),
    await ffmpegFinding(),
    await cacheFinding(),
  ];
  return { ok: findings.every((finding) => finding.state !== 'missing'), findings };
}

function readSetupState(): SetupState {
  try {
    return JSON.parse(readFileSync(path.join(packageRoot(), 'build', 'setup.json'), 'utf8')) as SetupState;
  } catch {
    return {};
  }
}

function nodeFinding(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const found = `Node ${process.versions.node}, Node-API ${process.versions['napi']}`;
  return fits
    ? good('node', found)
    : {
        name: 'node',
        state: 'missing',
        found,
        advice: `Use Node ${oldestNode.join('.')} or later, 22 or 24.`,
      };
}

function libtorchFinding({ libtorch }: SetupState): Finding {
  if (libtorch === undefined)
    return {
      name: 'libtorch',
      state: 'missing',
      found: 'set-up has not run here',
      advice: 'Run `npm run setup` in the package folder; COTS_LIBTORCH names a libtorch of your own.',
    };
  const found = `${libtorch.version} (${libtorch.cuda ? 'CUDA' : 'CPU'}) in ${libtorch.folder}, from ${libtorch.from}`;
  if (existsSync(path.join(libtorch.folder, 'lib'))) return good('libtorch', found);
  return {
    name: 'libtorch',
    state: 'missing',
    found: `${found}, which is gone`,
    advice: 'Run `npm run setup`: it looks for libtorch again and rebuilds.',
  };
}

function addonFindings(): Finding[] {
  try {
    const { libtorch, cuda, cpu, jpeg } = binding().info();
    const features = cpu.features.join(', ');
    return [
      good(
        'addon',
        `loads, linked to libtorch ${libtorch}${cuda.inLibtorch ? ' with CUDA' : ''}; large JPEGs by ${jpeg ? 'libjpeg-turbo' : 'sharp (slower: the build found no libjpeg-turbo)'}`,
      ),
      cpu.features.includes('avx2')
        ? good('cpu', `${cpu.capability}: ${features}`)
        : {
            name: 'cpu',
            state: 'warning',
            found: `${cpu.capability}: ${features === '' ? 'no vector features' : features}`,
            advice: 'Without AVX2 everything works, several times slower.',
          },
      good(
        'plans',
        `float32 (default): ${cpu.capability}; bfloat16: ${bfloat16Plans[cpu.bfloat16]}; int8: ${int8Plans[cpu.int8]}`,
      ),
      cudaFinding(libtorch, cuda),
    ];
  } catch (error) {
    return [
      {
        name: 'addon',
        state: 'missing',
        found: (error as Error).message,
        advice: 'Run `npm run setup` in the package folder; it names what it lacks.',
      },
    ];
  }
}

/** A machine without a GPU is all right; one whose GPU this build cannot use is told why. */
export function cudaFinding(libtorch: string, cuda: NativeAccelerators): Finding {
  const { inLibtorch, inBuild, runtime, driver, architectures, devices } = cuda;
  if (!inLibtorch) return good('cuda', 'not in this build: it runs on the CPU');
  const build = inBuild ? `kernels for ${architecturesText(architectures)} and later` : 'no kernels';
  const drives = driver === 0 ? 'no driver' : `driver for ${cudaVersion(driver)}`;
  const found = [
    `libtorch for CUDA ${cudaVersion(runtime)}, ${build}, ${drives}`,
    ...devices.map((device, index) => `cuda:${index} ${describe(device)}`),
  ].join('; ');
  const advice = adviceOf(() => {
    for (let index = 0; index < Math.max(1, devices.length); index++) cudaDevice(index, libtorch, cuda);
  });
  return { name: 'cuda', state: advice === '' ? 'ok' : 'warning', found, advice };
}

function adviceOf(verify: () => void): string {
  try {
    verify();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

function threadsFinding(): Finding {
  const pool = process.env['UV_THREADPOOL_SIZE'];
  return good(
    'threads',
    `${usableCores()} cores usable${pool === undefined ? '' : `, UV_THREADPOOL_SIZE ${pool}`}`,
  );
}

function memoryFinding(): Finding {
  const gibibytes = totalmem() / 2 ** 30;
  const found = `${gibibytes.toFixed(1)} GiB`;
  return gibibytes >= 4
    ? good('memory', found)
    : { name: 'memory', state: 'warning', found, advice: 'The demo wants 4 GiB: use smaller sizes.' };
}

async function sharpFinding(): Promise<Finding> {
  try {
    const { default: sharp } = await import('sharp');
    return good('sharp', `${sharp.versions.sharp}, libvips ${sharp.versions.vips}`);
  } catch (error) {
    return {
      name: 'sharp',
      state: 'missing',
      found: (error as Error).message.split('\n')[0] as string,
      advice: 'Run `npm install --include=optional sharp`: its platform package carries libvips.',
    };
  }
}

async function ffmpegFinding(): Promise<Finding> {
  const found = await findFfmpeg();
  if (found !== undefined) return good('ffmpeg', `${found.version} at ${found.path} (${found.from})`);
  return {
    name: 'ffmpeg',
    state: 'warning',
    found: 'none that runs',
    advice: `Only video needs it. ${ffmpegAdvice}`,
  };
}

async function cacheFinding(): Promise<Finding> {
  const folder = cacheFolder();
  if (!existsSync(folder)) return good('cache', `${folder} (not there yet)`);
  try {
    await access(folder, constants.W_OK);
    const { bavail, bsize } = await statfs(folder);
    return good('cache', `${folder}, ${((bavail * bsize) / 2 ** 30).toFixed(1)} GiB free`);
  } catch {
    return {
      name: 'cache',
      state: 'warning',
      found: `${folder} cannot be written`,
      advice: 'Change its permissions, or set COTS_CACHE to a folder of yours.',
    };
  }
}

function good(name: string, found: string): Finding {
  return { name, state: 'ok', found, advice: '' };
}
