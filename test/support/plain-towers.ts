/** What makes a native config's towers a ViT and a BERT. */

export const plainImage = {
  pool: 'cls',
  activation: 'gelu',
  inputNorm: false,
  layerScale: false,
  relativeBias: false,
  pooledNorm: false,
} as const;

export const plainText = { pool: 'cls', activation: 'gelu', norm: 'post', causal: false } as const;
