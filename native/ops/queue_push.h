// Appends a batch of pairs to the ring buffers of the queues (SPEC 3.3): every column at once, the
// write position on the tensors' own device, so that a captured step needs no value on the host.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

/// The columns of a queue of N pairs, all contiguous and on one device. Legend: D embedding.
struct QueueColumns {
  Tensor image_ND, text_ND;  // float32 or bfloat16, both alike; a row of whole 4 bytes
  Tensor score_N;            // f32
  Tensor id_N;               // int64
  Tensor valid_N;            // bool
  Tensor cursor_2;           // int64: where the next pair goes, and how many entries are filled
};

/// A batch of pairs for them: keys of the queues' type.
struct QueueBatch {
  Tensor image_BD, text_BD, score_B, id_B;
  Tensor keep_B;  // bool; other rows are left out
};

/// Schema cots::queue_push_. Rows with keep, in their order, take the places from the cursor on,
/// around the end; of more than N the last N stay. They are valid.
void queue_push_(const QueueColumns& queue, const QueueBatch& batch);
void queue_push_composite_(const QueueColumns& queue, const QueueBatch& batch);

/// Throws unless shapes, types, layouts and devices are as above.
void check_queue_push(const QueueColumns& queue, const QueueBatch& batch);

}  // namespace cots::ops
