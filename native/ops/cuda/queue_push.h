// What the CUDA kernels of queue_push_ take. Legend: N entries of the queue, B pairs of the batch.
#pragma once

#include "ops/cuda/launch.h"

namespace cots::cuda {

struct PushArguments {
  uint32_t *image_N, *text_N;  // rows of `words` 4-byte words
  float* score_N;
  int64_t* id_N;
  bool* valid_N;
  int64_t* cursor_2;  // where the next pair goes, entries filled
  int64_t N, words;

  const uint32_t *image_B, *text_B;
  const float* score_B;
  const int64_t* id_B;
  const bool* keep_B;
  int64_t B;

  int64_t* place_B;  // scratch
};

void launch_queue_push(const PushArguments& arguments, Stream stream);

}  // namespace cots::cuda
