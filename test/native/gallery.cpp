// Vectors searched in their file.
#include "search/gallery.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <fstream>

#include "ops/top_k.h"
#include "tensors.h"
#include "tiny-trainer.h"

using at::Tensor;
using cots::Gallery;
using cots::GalleryFile;

namespace {

/// `header` bytes, then the numbers of a matrix.
std::string write(const tiny::Folder& folder, const Tensor& rows_ND, int64_t header) {
  const std::string file = folder.file("vectors.bin");
  std::ofstream out(file, std::ios::binary);
  out << std::string(static_cast<size_t>(header), 'x');
  out.write(static_cast<const char*>(rows_ND.const_data_ptr()),
            static_cast<std::streamsize>(rows_ND.nbytes()));
  return file;
}

}  // namespace

TEST_CASE("gallery: a file gives what its vectors give in memory") {
  const Tensor queries = cots::test::unit_rows(3, 37, 1);
  for (const at::ScalarType type : {at::kFloat, at::kHalf})
    for (const int64_t header : {0, 128}) {
      const tiny::Folder folder;
      const Tensor rows = cots::test::unit_rows(2500, 37, 2).to(type);
      const Gallery gallery({write(folder, rows, header), header, 2500, 37, type});
      CHECK(gallery.rows_ND().equal(rows));
      for (const int64_t Q : {3, 1}) {  // the second search knows the rows' norms
        const auto [scores, indices] = gallery.top_k(queries.narrow(0, 0, Q), 9);
        const auto [wanted_scores, wanted_indices] =
            cots::ops::top_k(queries.narrow(0, 0, Q), rows, 9);
        CHECK(scores.equal(wanted_scores));
        CHECK(indices.equal(wanted_indices));
      }
    }
}

TEST_CASE("gallery: a file that is missing, cut short or of no size is refused") {
  const tiny::Folder folder;
  const std::string file = write(folder, cots::test::unit_rows(10, 4, 1), 0);
  const auto failure = [](const GalleryFile& source) {
    return tiny::failure_of([&] { const Gallery gallery(source); });
  };
  CHECK(failure({file, 0, 10, 4, at::kFloat}) == "no failure");
  CHECK(tiny::says(failure({file, 0, 11, 4, at::kFloat}), "ERR_COTS_DATA"));
  CHECK(tiny::says(failure({file, 0, 11, 4, at::kFloat}), "cut short"));
  CHECK(tiny::says(failure({file, 4, 10, 4, at::kFloat}), "cut short"));
  CHECK(tiny::says(failure({file, 0, int64_t{1} << 60, 1 << 20, at::kFloat}), "to have a size"));
  CHECK(tiny::says(failure({file, 0, -1, 4, at::kFloat}), "to have a size"));
  CHECK(tiny::says(failure({folder.file("none"), 0, 1, 4, at::kFloat}), "ERR_COTS_FILE"));
  CHECK(tiny::says(failure({folder.path.string(), 0, 1, 4, at::kFloat}), "ERR_COTS_FILE"));
}
