// A gallery of vectors on disk, searched where it lies: the operating system's page cache is the
// only copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>

namespace cots {

/// Where the vectors lie in a file: row-major, little endian.
struct GalleryFile {
  std::string file;
  int64_t offset = 0;  // bytes before the first vector
  int64_t rows = 0, dimension = 0;
  at::ScalarType type = at::kFloat;  // or kHalf
};

class Gallery {
 public:
  /// Maps the file. Throws ERR_COTS_FILE, and ERR_COTS_DATA when it is too short for its rows.
  explicit Gallery(const GalleryFile& source);

  /// ops::top_k of queries_QD, f32: (scores [Q, k], indices [Q, k]).
  std::tuple<at::Tensor, at::Tensor> top_k(const at::Tensor& queries_QD, int64_t k) const;

  const at::Tensor& rows_ND() const { return rows_ND_; }

 private:
  at::Tensor rows_ND_;     // holds the mapping
  at::Tensor tile_norms_;  // learned by the first search
};

}  // namespace cots
