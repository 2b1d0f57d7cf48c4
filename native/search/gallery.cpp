#include "search/gallery.h"

#include <ATen/ATen.h>

#include "io/failure.h"
#include "io/file.h"
#include "ops/top_k.h"

namespace cots {
namespace {

/// Bytes up to the end of the last row; refuses what no file can have.
uint64_t wanted_bytes(const GalleryFile& source) {
  uint64_t bytes = at::elementSize(source.type);
  const bool overflows =
      source.offset < 0 || source.rows < 0 || source.dimension < 1 ||
      __builtin_mul_overflow(bytes, static_cast<uint64_t>(source.rows), &bytes) ||
      __builtin_mul_overflow(bytes, static_cast<uint64_t>(source.dimension), &bytes) ||
      __builtin_add_overflow(bytes, static_cast<uint64_t>(source.offset), &bytes) ||
      bytes > INT64_MAX;
  if (overflows)
    throw Failure(
        "ERR_COTS_DATA",
        c10::str("Expected the vectors of ", source.file, " to have a size, got ", source.rows,
                 " x ", source.dimension, " at byte ", source.offset, ". Make the index again."));
  return bytes;
}

}  // namespace

Gallery::Gallery(const GalleryFile& source) {
  TORCH_CHECK(source.type == at::kFloat || source.type == at::kHalf,
              "gallery: expected float32 or float16, got ", source.type);
  const uint64_t wanted = wanted_bytes(source);
  TORCH_CHECK(source.offset % static_cast<int64_t>(at::elementSize(source.type)) == 0,
              "gallery: expected vectors of ", source.file,
              " at a multiple of their size, got byte ", source.offset);
  const auto mapping = std::make_shared<const io::MappedFile>(source.file);
  if (mapping->size() < wanted)
    throw Failure("ERR_COTS_DATA", c10::str("Expected ", source.file, " to have ", wanted,
                                            " bytes for its vectors, got ", mapping->size(),
                                            ": it is cut short. Make it again."));
  rows_ND_ = source.rows == 0
                 ? at::empty({0, source.dimension}, source.type)
                 : at::from_blob(
                       mapping->data() + source.offset, {source.rows, source.dimension},
                       [mapping](void*) {}, at::TensorOptions(source.type));
  tile_norms_ = ops::unknown_tile_norms(source.rows);
}

std::tuple<at::Tensor, at::Tensor> Gallery::top_k(const at::Tensor& queries_QD, int64_t k) const {
  return ops::top_k(queries_QD, rows_ND_, k, tile_norms_);
}

}  // namespace cots
