/** From what a user wrote to a complete config that holds together. */
import { binding } from '../binding.js';
import { type Machine, resolveDevice, resolvePrecision, usableCores } from '../device.js';
import { ConfigError, CotsError } from '../errors.js';
import { checkModel, checkRun, type Purpose } from './agreement.js';
import { localRanks } from './environment.js';
import { merge, overrideLayer, type RawConfig, readLayers } from './layers.js';
import { configError } from './messages.js';
import { expandPresets, fittingArchitecture, imageArchitectures, textArchitectures } from './presets.js';
import {
  configSchema,
  type ModelConfig,
  type ModelConfigInput,
  modelSchema,
  type TrainConfig,
  type TrainConfigInput,
} from './schema.js';

export type { Purpose } from './agreement.js';

/**
 * Reads a YAML config (and what it `extends`) with `key.path=value` overrides on top.
 * Throws `ERR_COTS_CONFIG` for an unknown key, a wrong type, a value out of range or values that do not agree, and
 * `ERR_COTS_FILE` for a file that cannot be read.
 */
export async function loadConfig(
  file: string,
  overrides: readonly string[] = [],
  purpose: Purpose = 'train',
): Promise<TrainConfig> {
  return complete(merge(await readLayers(file), overrideLayer(overrides)), purpose);
}

/** Completes and checks a config given as an object. Throws `ERR_COTS_CONFIG`. */
export function resolveConfig(
  input: TrainConfigInput | TrainConfig,
  overrides: readonly string[] = [],
  purpose: Purpose = 'train',
): TrainConfig {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ConfigError(
      `Expected a config to be an object of sections, got ${JSON.stringify(input)?.slice(0, 60)}.`,
    );
  }

  return complete(merge(expandPresets(input as RawConfig), overrideLayer(overrides)), purpose);
}

/** Completes and checks the sizes of a network. Throws `ERR_COTS_CONFIG`. */
export function resolveModelConfig(input: ModelConfigInput | ModelConfig): ModelConfig {
  const { model } = expandPresets({ model: input }) as { model: unknown };
  const parsed = modelSchema.safeParse(model);
  if (!parsed.success) throw configError(parsed.error.issues, model, 'model');
  checkModel(parsed.data);
  return named(parsed.data);
}

/** The image size, patches a side and side of the image tokenizer's view (8 pixels a patch). */
export function geometry(model: ModelConfig): { size: number; grid: number; view: number } {
  const grid = model.image.size / model.image.patch;
  return { size: model.image.size, grid, view: 8 * grid };
}

/** Numbers of an embedding: without a projection the towers' own width, which is the same for both. */
export function embeddingWidth({ embedDim, image }: ModelConfig): number {
  return embedDim === 0 ? image.width : embedDim;
}

/** Hidden units of a block's feed-forward layer: rounded down, as the native towers do. */
export function feedForwardWidth({ width, mlpRatio }: { width: number; mlpRatio: number }): number {
  return Math.floor(width * mlpRatio);
}

/**
 * Throws `ERR_COTS_DEVICE` or `ERR_COTS_NOT_IMPLEMENTED` for a device or number type that this build cannot train with.
 * Not part of reading a config: a plan for another machine needs neither.
 */
export function checkDevice({ train, model }: TrainConfig, machine?: Machine): void {
  const device = resolveDevice(train.device, machine);
  resolvePrecision(train.precision, device, machine);
  if (device === 'cpu') {
    checkCpuPrecision(train.precision, machine);
    return;
  }

  if (train.batchSize % train.accumulate !== 0)
    throw new ConfigError(
      `Expected \`train.batchSize\` to be a multiple of \`train.accumulate\` on a GPU, whose steps have one shape, got ${train.batchSize} and ${train.accumulate}. Change one of the two.`,
    );
  if (model.embedDim > widestOnCuda)
    throw new ConfigError(
      `Expected \`model.embedDim\` of at most ${widestOnCuda} for training on a GPU, got ${model.embedDim}. Lower it, or set train.device=cpu.`,
    );
}

/** Without products of bfloat16 a processor takes a dozen times as long in it as in float32. */
function checkCpuPrecision(
  precision: TrainConfig['train']['precision'],
  machine: Machine = binding().info(),
): void {
  const { features } = machine.cpu;
  if (precision !== 'bfloat16' || bfloat16Features.some((name) => features.includes(name))) return;
  throw new CotsError(
    'ERR_COTS_DEVICE',
    `Expected a processor with AVX-512 BF16 or AMX for train.precision=bfloat16 on a CPU, got one with ${features.join(', ') || 'neither'}. Set train.precision=float32.`,
  );
}

/** Throws `ERR_COTS_NOT_IMPLEMENTED` unless `train.device` is cpu: for work that has no other. `what`: as "Training an image tokenizer". */
export function requireCpu({ train }: TrainConfig, what: string): void {
  if (train.device === 'cpu') return;
  throw new CotsError(
    'ERR_COTS_NOT_IMPLEMENTED',
    `Expected \`train.device\` to be cpu, got '${train.device}': ${what} runs on CPUs alone in this version. Set train.device=cpu for it.`,
  );
}

/** Numbers of an embedding that the contrast's CUDA kernel takes (native/ops/cuda/queue_contrast.h). */
const widestOnCuda = 256;

/** Instructions that multiply bfloat16 numbers, as `info().cpu.features` names them. */
const bfloat16Features = ['avx512_bf16', 'amx_bf16'];

/** Threads of the native work: the number asked for, else the cores this process may use, shared with the other ranks of this machine. */
export function threadsOf(config: TrainConfig): number {
  return config.train.threads ?? Math.max(1, Math.floor(usableCores() / localRanks()));
}

function complete(raw: RawConfig, purpose: Purpose): TrainConfig {
  const precision = readPrecision(raw);
  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) throw configError(parsed.error.issues, raw);
  checkModel(parsed.data.model);
  const { data } = parsed;
  const config: TrainConfig = {
    ...data,
    model: named(data.model),
    train: { ...data.train, precision: precision ?? (data.train.device === 'cpu' ? 'float32' : 'bfloat16') },
  };
  refuseInt8(config);
  checkRun(config, purpose);
  return config;
}

/** The compute type under its full name; null for `auto`. Half precision is refused with the reason (SPEC 3.8). */
function readPrecision(raw: RawConfig): TrainConfig['train']['precision'] | null {
  const train = raw['train'] as RawConfig | undefined;
  const given = typeof train === 'object' && train !== null ? train['precision'] : undefined;
  if (given === 'fp16' || given === 'float16') {
    throw new ConfigError(
      `Expected \`train.precision\` to be float32 or bfloat16, got '${given}'. Gradients of a loss averaged over many pairs ` +
        'underflow in float16 without loss scaling. Set train.precision=bfloat16, which has the range of float32.',
    );
  }

  const names = {
    bf16: 'bfloat16',
    bfloat16: 'bfloat16',
    fp32: 'float32',
    float32: 'float32',
    int8: 'int8',
  } as const;
  return typeof given === 'string' && Object.hasOwn(names, given) ? names[given as keyof typeof names] : null;
}

function refuseInt8({ train }: TrainConfig): void {
  if (train.precision !== 'int8') return;
  throw new CotsError(
    'ERR_COTS_NOT_IMPLEMENTED',
    "Expected `train.precision` to be float32 or bfloat16, got 'int8': int8 serves embedding only. Set train.precision=float32.",
  );
}

function named(model: ModelConfig): ModelConfig {
  return {
    ...model,
    image: { ...model.image, arch: fittingArchitecture(model.image.arch, model.image, imageArchitectures) },
    text: { ...model.text, arch: fittingArchitecture(model.text.arch, model.text, textArchitectures) },
  };
}
