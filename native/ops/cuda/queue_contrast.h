// What the CUDA kernels of queue_contrast take: addresses on the device, no tensors. Legend: B
// pairs, n queue entries, D embedding, C chunks of the queue's columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/contrast_options.h"
#include "ops/cuda/launch.h"
#include "ops/queue_contrast_row.h"

namespace cots::cuda {

using ops::ContrastOptions, ops::DuplicatePolicy, ops::OnlineSoftmax, ops::RowGradient,
    ops::RowResult, ops::RowState;

/// What one chunk of columns knows of a row after the first sweep.
struct RowPart {
  RowState state;
  int64_t matched;  // positives of the row beside the pair itself
};

struct ContrastArguments {
  // All bfloat16 or all float32, contiguous, addresses and rows multiples of 16 bytes.
  const void *image_BD, *text_BD, *image_key_BD, *text_key_BD, *image_queue_nD, *text_queue_nD;
  const float *weights_B, *log_scale;
  const int64_t *id_B, *queue_id_n;  // read by a duplicate policy only
  ContrastOptions options;
  int64_t B, n;
  int D;
  int64_t chunks;  // contrast_chunks
  // Scratch.
  RowPart* part_CB;
  RowResult* result_B;
  float *image_CBD, *text_CBD;
  double* log_scale_B;
  // Results.
  float *losses_4, *grad_image_BD, *grad_text_BD, *grad_log_scale;
};

constexpr int kWidestContrast = 256;

struct ContrastDevice {
  int multiprocessors;
  size_t shared_bytes;  // that one block may have
  int capability;       // 10 * major + minor
};
ContrastDevice current_contrast_device();

/// Chunks of columns that fill the device with one block a multiprocessor; 0 for an empty queue.
int64_t contrast_chunks(int64_t B, int64_t n, int D, bool is_bf16, const ContrastDevice& device);

/// Five launches. All scratch and results are allocated by the caller.
void launch_queue_contrast(const ContrastArguments& arguments, bool is_bf16, size_t shared_bytes,
                           Stream stream);

}  // namespace cots::cuda
