/** Types of the addon (native/addon). Towers and the image tokenizer for inference, and search. */
import type { Matrix, NativeCancel } from './values.js';

/** Towers for embedding. All promises run in order on the worker that owns the model. */
export interface NativeModel {
  /** pixels uint8 [count, S, S, 3]; resolves to float32 [count, D]. */
  embedImages(o: {
    pixels: Uint8Array;
    count: number;
    mean: [number, number, number];
    std: [number, number, number];
    cancel: NativeCancel | null;
  }): Promise<Float32Array>;
  /** ids int32 [count, L]; lengths int32 [count]. */
  embedTexts(o: { ids: Int32Array; lengths: Int32Array; cancel: NativeCancel | null }): Promise<Float32Array>;
  /** Of one image, as above, and the unit row of a text, float32 [D]. map float32 [rows * columns of patches], in [0, 1]. */
  attentionMap(o: {
    pixels: Uint8Array;
    count: 1;
    mean: [number, number, number];
    std: [number, number, number];
    text: Float32Array;
    method: 'relevancy' | 'patch_sim' | 'dino';
    startLayer: number;
    cancel: NativeCancel | null;
  }): Promise<{ map: Float32Array; score: number }>;
  /** Writes model.safetensors. */
  save(o: { file: string }): Promise<void>;
  /** Number of scalars of each tower. */
  parameterCounts(): { image: number; text: number };
  dispose(): void;
}

export interface NativeTokenizer {
  /** images uint8 [count, size, size, 3]; resolves to int32 [count, (size/8)^2]. */
  tokens(o: {
    images: Uint8Array;
    count: number;
    size: number;
    cancel: NativeCancel | null;
  }): Promise<Int32Array>;
  /** Decodes the hard tokens back: uint8 [count, size, size, 3]. */
  reconstruct(o: {
    images: Uint8Array;
    count: number;
    size: number;
    cancel: NativeCancel | null;
  }): Promise<Uint8Array>;
  dispose(): void;
}

/** Row-major [Q, k]. */
export interface NativeTopK {
  indices: Uint32Array;
  scores: Float32Array;
  shape: [number, number];
}

/** Vectors on disk, memory-mapped: a file that is open here is replaced by renaming, never cut. */
export interface NativeGallery {
  /** As `topK`, of the rows of the file. */
  topK(o: { queries: Matrix; k: number; cancel: NativeCancel | null }): Promise<NativeTopK>;
  dispose(): void;
}

export interface NativeDirectionRanks {
  pessimistic: Int32Array;
  optimistic: Int32Array;
}

/** Mirror of io::Family in native/io/dialect.h. */
export type NativeFamily = 'vit' | 'beit' | 'beit_pooled' | 'bert' | 'clip' | 'dual_encoder';
