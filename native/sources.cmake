# Every source of the native part, by folder, in the direction of dependencies. No globbing: a file that is
# not listed is not built, and a test holds the lists complete.

set(COTS_CORE_SOURCES
  native/ops/adamw.cpp
  native/ops/cancel.cpp
  native/ops/exact_dot.cpp
  native/ops/keyed_random.cpp
  native/ops/momentum_filter.cpp
  native/ops/queue_contrast.cpp
  native/ops/vocabulary_cross_entropy.cpp
  native/ops/cpu/adamw.cpp
  native/ops/cpu/keyed_random.cpp
  native/ops/cpu/momentum_filter.cpp
  native/ops/cpu/queue_contrast.cpp
  native/ops/cpu/vocabulary_cross_entropy.cpp
  native/loss/adaptive_filter.cpp
  native/loss/contrast.cpp
  native/loss/masked_modelling.cpp
  native/model/cots.cpp
  native/model/image_tokenizer.cpp
  native/model/momentum.cpp
  native/model/parameters.cpp
  native/model/queue.cpp
  native/model/text.cpp
  native/model/transformer.cpp
  native/model/vision.cpp
  native/model/weights.cpp
  native/io/huggingface.cpp
  native/io/safetensors.cpp
  native/infer/embedder.cpp
  native/infer/image_tokens.cpp
  native/train/checkpoint.cpp
  native/train/key_pass.cpp
  native/train/masks.cpp
  native/train/online_pass.cpp
  native/train/optimizer.cpp
  native/train/schedule.cpp
  native/train/tokenizer_trainer.cpp
  native/train/trainer.cpp
)

# CUDA twins of native/ops/cpu, built only where libtorch has CUDA and nvcc is found.
set(COTS_CUDA_SOURCES
)

set(COTS_ADDON_SOURCES
  native/addon/addon.cpp
  native/addon/cancel_wrap.cpp
  native/addon/config.cpp
  native/addon/convert.cpp
  native/addon/failure.cpp
  native/addon/job.cpp
  native/addon/model_wrap.cpp
  native/addon/ops_wrap.cpp
  native/addon/views.cpp
)

set(COTS_NATIVE_TEST_SOURCES
  test/native/main.cpp
)
