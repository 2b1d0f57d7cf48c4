#include "model/queue.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <deque>

#include "tiny-model.h"

using namespace cots;

namespace {

/// Rows that tell which pair they are: image row = [id, 1], text row = [id, 2].
void push_ids(Queue& queue, const std::vector<int64_t>& ids, const std::vector<bool>& keep = {}) {
  const Tensor id = at::tensor(ids, at::kLong);
  const Tensor keep_B = at::ones({id.size(0)}, at::kBool);
  for (size_t i = 0; i < keep.size(); ++i)
    keep_B[static_cast<int64_t>(i)] = static_cast<bool>(keep[i]);
  const Tensor x = id.to(at::kFloat);
  const Tensor image = at::stack({x, at::ones_like(x)}, 1),
               text = at::stack({x, at::full_like(x, 2)}, 1);
  queue.push(image, text, id, keep_B);
}

/// Every column at one position must speak of the same pair.
void check_aligned(const Queue& queue) {
  const Tensor id = queue.id().to(at::kFloat);
  CHECK(at::equal(queue.image().select(1, 0), id));
  CHECK(at::equal(queue.text().select(1, 0), id));
  CHECK(at::equal(queue.valid_scores(), id * id + 2));
}

std::vector<int64_t> sorted_ids(const Queue& queue) {
  const Tensor id = std::get<0>(queue.id().sort());
  return {id.const_data_ptr<int64_t>(), id.const_data_ptr<int64_t>() + id.numel()};
}

std::vector<int64_t> range(int64_t first, int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ids[static_cast<size_t>(i)] = first + i;
  return ids;
}

}  // namespace

TEST_CASE("N_q mod B ≠ 0, B > N_q") {
  constexpr int64_t kSize = 7;
  for (int64_t batch = 1; batch <= 3 * kSize + 1; ++batch) {
    CAPTURE(batch);
    Queue queue(kSize, 2);
    std::deque<int64_t> expected;
    int64_t next = 0;
    for (int64_t step = 0; step < 12; ++step) {
      const int64_t count =
          step % 2 == 0 ? batch
                        : 2;  // a small batch shows whether a large one left the pointer right
      push_ids(queue, range(next, count));
      for (const int64_t id : range(next, count)) expected.push_back(id);
      next += count;
      while (expected.size() > kSize) expected.pop_front();
      CHECK(queue.filled() == static_cast<int64_t>(expected.size()));
      CHECK(queue.valid() == queue.filled());
      CHECK(sorted_ids(queue) == std::vector<int64_t>(expected.begin(), expected.end()));
      check_aligned(queue);
    }
  }
}

TEST_CASE("the oldest pairs leave first when batches of different sizes wrap around") {
  Queue queue(5, 2);
  push_ids(queue, {0, 1, 2});
  push_ids(queue, {3, 4, 5, 6});  // wraps: 0 and 1 leave
  CHECK(at::equal(queue.id(), at::tensor({5, 6, 2, 3, 4}, at::kLong)));
  push_ids(queue, {7});
  CHECK(at::equal(queue.id(), at::tensor({5, 6, 7, 3, 4}, at::kLong)));
  check_aligned(queue);
}

TEST_CASE("rows with non-finite keys are not enqueued") {
  Queue queue(5, 2);
  push_ids(queue, {0, 1, 2, 3}, {true, false, true, false});
  CHECK(at::equal(queue.id(), at::tensor({0, 2}, at::kLong)));
  push_ids(queue, {4, 5}, {false, false});
  CHECK(queue.filled() == 2);
  push_ids(queue, {6, 7, 8, 9, 10, 11, 12},
           {false, true, true, true, true, true, true});  // six stay, five fit
  CHECK(sorted_ids(queue) == range(8, 5));
  check_aligned(queue);
}

TEST_CASE("random-initialised queue (MoCo/ALBEF/BriVL style [V])") {
  Queue queue(64, 16);
  queue.fill_random(5);
  CHECK(queue.filled() == 64);
  CHECK(queue.valid() == 0);  // usable as negatives, never as filter statistics
  CHECK(queue.valid_scores().numel() == 0);
  CHECK(test::max_difference(queue.image().norm(2, 1), at::ones({64})) < 1e-6);
  CHECK(test::max_difference(queue.text().norm(2, 1), at::ones({64})) < 1e-6);
  CHECK(test::max_difference(queue.image(), queue.text()) > 0.1);

  const Tensor image = test::unit_rows({3, 16}, 1), text = test::unit_rows({3, 16}, 2);
  queue.push(image, text, at::arange(3), at::ones({3}, at::kBool));
  CHECK(queue.filled() == 64);
  CHECK(queue.valid() == 3);
  CHECK(test::max_difference(queue.valid_scores(), (image * text).sum(1)) < 1e-6);
  CHECK(at::equal(queue.image().narrow(0, 0, 3), image));
}

TEST_CASE("a restored queue goes on as the saved one") {
  Queue saved(5, 2), resumed(5, 2);
  push_ids(saved, {0, 1, 2, 3, 4, 5, 6});
  resumed.restore(saved.state());
  for (Queue* queue : {&saved, &resumed}) push_ids(*queue, {7, 8, 9});
  const auto a = saved.state(), b = resumed.state();
  REQUIRE(a.size() == 7);
  for (size_t i = 0; i < a.size(); ++i)
    CHECK_MESSAGE(at::equal(a[i].second, b[i].second), a[i].first);
}

TEST_CASE("a state of another shape is refused and leaves the queue as it was") {
  Queue small(4, 2), queue(5, 2);
  push_ids(queue, {1, 2});
  CHECK_THROWS_WITH(queue.restore(small.state()),
                    "Expected 'queue.image' of shape [5, 2], got [4, 2]. Resume with the config of "
                    "the checkpoint.");
  auto state = queue.state();
  state.pop_back();
  CHECK_THROWS_WITH(queue.restore(state),
                    "Expected a tensor 'queue.n' in the checkpoint, found none.");
  state.emplace_back("queue.n", at::scalar_tensor(6, at::kLong));
  CHECK_THROWS(queue.restore(state));
  CHECK(at::equal(queue.id(), at::tensor({1, 2}, at::kLong)));
}
