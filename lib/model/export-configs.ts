/** What transformers reads of a tower: config.json, tokenizer and preprocessor files, for ViT, BEiT, BERT, CLIP and their dual encoder. */
import type { NativeFamily } from '../binding.js';
import { feedForwardWidth } from '../config/load.js';
import type { ModelConfig } from '../config/schema.js';
import type { TextTokenizer } from '../data/text/tokenizer.js';

type Vision = ModelConfig['image'];
type Language = ModelConfig['text'];

/** The family that an image tower is of; a sentence where transformers has none. */
export function imageFamily({ image, pool }: ModelConfig): NativeFamily | { readonly reason: string } {
  if (image.inputNorm || image.activation !== 'gelu')
    return { reason: "the image tower has parts of a CLIP's and its text tower has not" };
  if (!image.layerScale && !image.relativeBias && !image.pooledNorm) return 'vit';
  if (!image.pooledNorm) return 'beit';
  if ((image.pool ?? pool) === 'mean') return 'beit_pooled';
  return { reason: 'a BEiT normalizes the pooled state only where it pools by mean' };
}

/** Whether both towers are a CLIP's. */
export function isClip({ image, text, towers, embedDim }: ModelConfig): boolean {
  return (
    towers === 'both' &&
    embedDim > 0 &&
    image.inputNorm &&
    text.norm === 'pre' &&
    text.causal &&
    text.pool === 'last'
  );
}

/** Why a model is no VisionTextDualEncoderModel; undefined where it is. */
export function notDual(config: ModelConfig): string | undefined {
  const { image, text, pool, towers, embedDim } = config;
  if (towers !== 'both') return 'it has one tower';
  if (embedDim === 0) return 'it has no projections';
  if (embedDim > Math.min(image.width, text.width)) return 'its projections are wider than a tower';
  if ((image.pool ?? pool) !== 'cls' || (text.pool ?? pool) !== 'cls') return 'it pools by mean';
  return imageFamily(config) === 'vit' ? undefined : 'its image tower is no plain ViT';
}

export function vitConfig(image: Vision): object {
  return {
    architectures: ['ViTModel'],
    model_type: 'vit',
    ...sizesOf(image),
    ...imageOf(image),
    qkv_bias: true,
    encoder_stride: image.patch,
  };
}

/** `written`: names of the tensors beside it. */
export function beitConfig(image: Vision, written: ReadonlySet<string>): object {
  return {
    architectures: ['BeitModel'],
    model_type: 'beit',
    ...sizesOf(image),
    ...imageOf(image),
    use_mask_token: written.has('embeddings.mask_token'),
    use_absolute_position_embeddings: written.has('embeddings.position_embeddings'),
    use_relative_position_bias: image.relativeBias,
    use_shared_relative_position_bias: false,
    layer_scale_init_value: image.layerScale ? 0.1 : 0,
    use_mean_pooling: image.pooledNorm,
    drop_path_rate: image.dropPath,
  };
}

export function bertConfig(text: Language, tokenizer: TextTokenizer): object {
  return {
    architectures: ['BertModel'],
    model_type: 'bert',
    ...sizesOf(text),
    vocab_size: text.vocabSize,
    max_position_embeddings: text.maxPositions,
    type_vocab_size: 2,
    hidden_dropout_prob: text.dropout,
    attention_probs_dropout_prob: 0,
    pad_token_id: tokenizer.special.pad,
  };
}

export function dualConfig({ image, text, embedDim }: ModelConfig, tokenizer: TextTokenizer): object {
  return {
    architectures: ['VisionTextDualEncoderModel'],
    model_type: 'vision-text-dual-encoder',
    projection_dim: embedDim,
    vision_config: vitConfig(image),
    text_config: bertConfig(text, tokenizer),
  };
}

export function clipConfig({ image, text, embedDim }: ModelConfig, tokenizer: TextTokenizer): object {
  const { cls, sep, pad } = tokenizer.special;
  return {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: embedDim,
    vision_config: {
      model_type: 'clip_vision_model',
      ...sizesOf(image),
      ...imageOf(image),
      projection_dim: embedDim,
    },
    text_config: {
      model_type: 'clip_text_model',
      ...sizesOf(text),
      vocab_size: text.vocabSize,
      max_position_embeddings: text.maxPositions,
      projection_dim: embedDim,
      bos_token_id: cls,
      eos_token_id: sep,
      pad_token_id: pad,
    },
  };
}

/** tokenizer_config.json: which class reads tokenizer.json, and what it does beyond it. */
export function tokenizerConfig(tokenizer: TextTokenizer, maxLength: number): object {
  const { normalizer } = tokenizer.toJSON() as { normalizer?: Record<string, unknown> | null };
  if (tokenizer.special.mask === null) {
    const [begin, end] = ['<|startoftext|>', '<|endoftext|>'];
    return {
      tokenizer_class: 'CLIPTokenizer',
      model_max_length: maxLength,
      bos_token: begin,
      eos_token: end,
      unk_token: end,
      pad_token: end,
    };
  }

  return {
    tokenizer_class: 'BertTokenizer',
    model_max_length: maxLength,
    do_lower_case: normalizer?.['lowercase'] ?? true,
    strip_accents: normalizer?.['strip_accents'] ?? null,
    tokenize_chinese_chars: normalizer?.['handle_chinese_chars'] ?? true,
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    unk_token: '[UNK]',
    mask_token: '[MASK]',
  };
}

function sizesOf(tower: Vision | Language): object {
  return {
    hidden_size: tower.width,
    num_hidden_layers: tower.layers,
    num_attention_heads: tower.heads,
    intermediate_size: feedForwardWidth(tower),
    hidden_act: tower.activation,
    layer_norm_eps: tower.layerNormEps,
  };
}

function imageOf({ size, patch }: Vision): object {
  return { image_size: size, patch_size: patch, num_channels: 3 };
}
