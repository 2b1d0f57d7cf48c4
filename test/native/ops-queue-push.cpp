#include "ops/queue_push.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "queue-push-problem.h"

using namespace cots;
using at::Tensor;

TEST_CASE("queue_push_ leaves what its composite leaves, bit for bit") {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& s : test::kPushSizes) {
      INFO("queue ", s.size, " at ", s.next, " batch ", s.batch);
      const ops::QueueColumns queue = test::queue_columns(s.size, 6, s.next, s.filled, type);
      const ops::QueueColumns expected = test::cloned(queue);
      const ops::QueueBatch batch = test::queue_batch(s.batch, 6, s.kept, type);
      ops::queue_push_(queue, batch);
      ops::queue_push_composite_(expected, batch);
      const auto a = test::all_columns(queue), b = test::all_columns(expected);
      for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].equal(b[i]));
    }
}

TEST_CASE("queue_push_ refuses what does not fit") {
  const auto queue = test::queue_columns(5, 6, 0, 0, at::kFloat);
  const auto batch = test::queue_batch(3, 6, 1, at::kFloat);
  const auto refused = [&](const ops::QueueColumns& q, const ops::QueueBatch& b,
                           const char* words) {
    try {
      ops::queue_push_(q, b);
      FAIL("expected an error about ", words);
    } catch (const c10::Error& error) {
      CHECK(std::string(error.what()).find(words) != std::string::npos);
    }
  };
  ops::QueueBatch other = batch;
  other.text_BD = batch.text_BD.narrow(1, 0, 4);
  refused(queue, other, "expected text keys as contiguous Float [3, 6] on cpu");
  other = batch;
  other.image_BD = batch.image_BD.to(at::kBFloat16);
  refused(queue, other, "expected image keys");
  other = batch;
  other.keep_B = batch.keep_B.to(at::kByte);
  refused(queue, other, "expected keep flags as contiguous Bool [3]");
  ops::QueueColumns narrow = test::queue_columns(5, 3, 0, 0, at::kBFloat16);
  refused(narrow, test::queue_batch(3, 3, 1, at::kBFloat16), "rows of whole 4 bytes");
  narrow = queue;
  narrow.cursor_2 = at::zeros({3}, at::kLong);
  refused(narrow, batch, "expected cursor");
  CHECK(queue.cursor_2.equal(at::zeros({2}, at::kLong)));
}
