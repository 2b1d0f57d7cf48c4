#include <ATen/ATen.h>

#include <vector>

#include "ops/exact_dot.h"
#include "tensors.h"

using namespace cots;

TEST_CASE("exact_dot adds in float64 and rounds once") {
  // In float32 the ones are lost beside 2^24; in float64 they are not.
  std::vector<float> a{16777216.0f, 1.0f, 1.0f, -16777216.0f}, b(4, 1.0f);
  CHECK(ops::exact_dot(a.data(), b.data(), 4) == 2.0f);
  CHECK(ops::exact_dot(a.data(), b.data(), 0) == 0.0f);
}

TEST_CASE("exact_dots gives exact_dot's numbers, in any group") {
  const at::Tensor q = test::unit_rows(1, 123, 1), gallery = test::unit_rows(11, 123, 2);
  const std::vector<int64_t> rows{10, 3, 3, 0, 7, 1, 2, 9, 5};
  std::vector<float> out(rows.size());
  const float *query = q.const_data_ptr<float>(), *data = gallery.const_data_ptr<float>();
  ops::exact_dots(query, data, rows.data(), static_cast<int64_t>(rows.size()), 123, out.data());
  for (size_t i = 0; i < rows.size(); ++i)
    CHECK(out[i] == ops::exact_dot(query, data + rows[i] * 123, 123));
}
