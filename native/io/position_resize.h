// Learned positions on another grid (SPEC 6.3): what a checkpoint needs when the images change
// size. Legend: g patches a side, P = g * g patches, H heads, d width.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cots::io {

/// pos_embed f32 [1, 1 + P, d] for a grid of `to` patches a side: the CLS row is kept, the patch
/// rows are resampled (bicubic, align_corners false, no antialias; as ALBEF and BEiT do). A table
/// that is no square grid comes back as it is.
at::Tensor resize_positions(const at::Tensor& positions_1Ld, int64_t to);

/// rel_bias f32 [(2 g - 1)^2 + 3, H] for a grid of `to` patches a side, as BEiT's fine-tuning does:
/// the old offsets are laid out at 0, +-1, +-(1 + q), +-(1 + q + q^2), ... with the q that lets
/// them reach the new border, and a cubic spline through them is read at whole offsets. The three
/// rows of CLS are kept. A table that is no square grid of at least 3 patches comes back as it is.
/// Source: microsoft/unilm beit/run_class_finetuning.py.
at::Tensor resize_relative_bias(const at::Tensor& table_NH, int64_t to);

}  // namespace cots::io
