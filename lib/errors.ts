/** Errors of the package: one base with a stable code, and a subclass a kind of fault. */

/** Stable codes. A code never changes its meaning; messages may. */
export type CotsErrorCode =
  | 'ERR_COTS_OPTION' // a value the caller gave breaks a rule
  | 'ERR_COTS_SHAPE' // sizes of arrays disagree
  | 'ERR_COTS_CONFIG' // a config file or override
  | 'ERR_COTS_DATA' // a manifest, caption or data set
  | 'ERR_COTS_IMAGE' // an image that cannot be read or is refused
  | 'ERR_COTS_VIDEO' // a video that cannot be read or is refused
  | 'ERR_COTS_TOKENIZER' // a vocabulary or tokenizer file
  | 'ERR_COTS_CHECKPOINT' // a checkpoint or weights file
  | 'ERR_COTS_FILE' // reading or writing a file failed
  | 'ERR_COTS_DEVICE' // the device asked for is absent or unfit
  | 'ERR_COTS_MEMORY' // out of memory
  | 'ERR_COTS_BUSY' // a run is in progress
  | 'ERR_COTS_DISPOSED' // the object was disposed
  | 'ERR_COTS_NON_FINITE' // NaN or infinity where numbers are needed
  | 'ERR_COTS_COLLAPSED' // training in which all pairs score the same
  | 'ERR_COTS_CANCELLED' // native work was cancelled
  | 'ERR_COTS_DISTRIBUTED' // a rank of a data-parallel run has left, is late, or is not at the same place
  | 'ERR_COTS_INSTALL' // the addon, libtorch or ffmpeg is missing
  | 'ERR_COTS_NOT_IMPLEMENTED'
  | 'ERR_COTS_INTERNAL';

/** Base of every error of this package. `cause` keeps the original. */
export class CotsError extends Error {
  override readonly name: string = 'CotsError';
  readonly code: CotsErrorCode;

  constructor(code: CotsErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** A value that the caller gave breaks a rule. */
export class OptionError extends CotsError {
  override readonly name = 'OptionError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_OPTION', message, options);
  }
}

/** A config file or a `key=value` override breaks the schema. */
export class ConfigError extends CotsError {
  override readonly name = 'ConfigError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_CONFIG', message, options);
  }
}

/** A manifest, a caption or a data set breaks a rule. */
export class DataError extends CotsError {
  override readonly name = 'DataError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_DATA', message, options);
  }
}

/** An image cannot be read, or is refused. */
export class ImageError extends CotsError {
  override readonly name = 'ImageError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_IMAGE', message, options);
  }
}

/** A video cannot be read, or is refused. */
export class VideoError extends CotsError {
  override readonly name = 'VideoError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_VIDEO', message, options);
  }
}

/** A checkpoint or weights file is missing, torn, or of another shape or config. */
export class CheckpointError extends CotsError {
  override readonly name = 'CheckpointError';
  constructor(message: string, options?: { cause?: unknown }) {
    super('ERR_COTS_CHECKPOINT', message, options);
  }
}

/** The object is in a state that forbids the call: busy or disposed. */
export class StateError extends CotsError {
  override readonly name = 'StateError';
}
