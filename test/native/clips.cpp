// Clips: pairs whose image side is several frames.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <tuple>

#include "tiny-model.h"
#include "train/draws.h"

using namespace cots;
using namespace cots::test;

namespace {

Tensor whole(std::initializer_list<int64_t> values) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::kLong);
}

}  // namespace

TEST_CASE("clips: the rows of clips' frames") {
  const Tensor rows = whole({2, 0});
  CHECK(at::equal(frame_rows({}, rows), rows));
  const Tensor frames = whole({2, 1, 3});
  CHECK(at::equal(frame_rows(frames, rows), whole({3, 4, 5, 0, 1})));
  CHECK(frame_rows(frames, rows.narrow(0, 0, 0)).numel() == 0);
  CHECK(total_frames(frames, 3) == 6);
  CHECK(total_frames({}, 3) == 3);
  CHECK_THROWS_AS(total_frames(frames, 2), c10::Error);
  CHECK_THROWS_AS(total_frames(whole({1, 0, 1}), 3), c10::Error);
  CHECK_THROWS_AS(total_frames(whole({1, 1, int64_t{1} << 40}), 3), c10::Error);
}

TEST_CASE("clips: the first frame of a clip draws as an image does, the others each anew") {
  const Tensor keys = whole({11, 22});
  CHECK(at::equal(frame_keys(keys, {}), keys));
  const Tensor drawn = frame_keys(keys, whole({3, 2}));
  CHECK(at::equal(drawn.index_select(0, whole({0, 3})), keys));
  CHECK(std::get<0>(at::_unique2(drawn)).numel() == 5);
  CHECK(at::equal(drawn.narrow(0, 3, 2), frame_keys(keys.narrow(0, 1, 1), whole({2}))));
}

TEST_CASE("clips: a clip's view is the mean of its frames, and a bad frame spoils its clip alone") {
  Tensor embedding = unit_rows({6, 8}, 1), global = normal({6, 4}, 2);
  const Tensor frames = whole({2, 1, 3});
  const Encoded clips = mean_of_frames({{}, global, embedding}, frames);
  const auto mean = [](const Tensor& t, int64_t first, int64_t count) {
    return t.narrow(0, first, count).to(at::kDouble).mean(0);
  };
  for (const auto& [clip, first, count] : {std::tuple{0, 0, 2}, {1, 2, 1}, {2, 3, 3}}) {
    const Tensor wanted = mean(embedding, first, count);
    CHECK(max_difference(clips.embedding_BD[clip], wanted / wanted.norm()) < 1e-6);
    CHECK(max_difference(clips.global_Bd[clip], mean(global, first, count)) < 1e-6);
  }
  embedding[3].fill_(NAN);
  const Encoded spoiled = mean_of_frames({{}, global, embedding}, frames);
  CHECK(at::equal(spoiled.embedding_BD.isfinite().all(1), whole({1, 1, 0}).to(at::kBool)));
}
