// The CUDA kernels of queue_contrast, run on the host, against the composite in float64. Legend: B
// pairs, n queue entries, D embedding, C chunks.
#include "cuda-emulator.h"
// The kernels need the emulator's words, so it comes first.
#include <ATen/ATen.h>

#include "contrast-problem.h"
#include "ops/cuda/queue_contrast.cuh"

using namespace cots;
using at::Tensor;
using enum ops::DuplicatePolicy;
using test::add_ids;
using test::Problem;
using test::random_problem;

namespace {

struct Result {
  Tensor losses, image, text, log_scale;
};

Result composite(const Problem& problem, at::ScalarType type) {
  const Problem p = problem.to(type);
  const Tensor losses = ops::queue_contrast_composite(p.in, p.options);
  losses.select(0, 0).backward();
  return {losses.detach(), p.in.image_BD.grad(), p.in.text_BD.grad(), p.in.log_scale.grad()};
}

template <class T>
T* bytes_of(std::vector<T>& scratch, int64_t count) {
  scratch.assign(static_cast<size_t>(std::max<int64_t>(count, 1)), T{});
  return scratch.data();
}

Result emulate(const Problem& p, bool is_bf16, int64_t chunks = 0, size_t shared_bytes = 232448) {
  const auto type = is_bf16 ? at::kBFloat16 : at::kFloat;
  const ops::ContrastInputs& in = p.in;
  std::vector<Tensor> matrices;
  for (const Tensor& x : {in.image_BD, in.text_BD, in.image_key_BD, in.text_key_BD,
                          in.image_queue_nD, in.text_queue_nD})
    matrices.push_back(x.to(type).contiguous());
  const int64_t B = in.image_BD.size(0), n = in.image_queue_nD.size(0), D = in.image_BD.size(1);
  const cuda::ContrastDevice device{3, shared_bytes, 90};
  if (chunks == 0) chunks = cuda::contrast_chunks_for(B, n, static_cast<int>(D), is_bf16, device);
  std::vector<cuda::RowPart> part;
  std::vector<ops::RowResult> row;
  std::vector<double> log_scale_part;
  const Tensor image_CBD = at::full({chunks, B, D}, NAN), text_CBD = at::full({chunks, B, D}, NAN);
  const Result out{at::full({4}, NAN), at::full({B, D}, NAN), at::full({B, D}, NAN),
                   at::full({}, NAN)};
  const auto floats = [](const Tensor& x) { return x.mutable_data_ptr<float>(); };
  const auto ids = [](const Tensor& x) {
    return x.defined() ? x.const_data_ptr<int64_t>() : nullptr;
  };
  const cuda::ContrastArguments arguments{matrices[0].const_data_ptr(),
                                          matrices[1].const_data_ptr(),
                                          matrices[2].const_data_ptr(),
                                          matrices[3].const_data_ptr(),
                                          matrices[4].const_data_ptr(),
                                          matrices[5].const_data_ptr(),
                                          in.weights_B.const_data_ptr<float>(),
                                          in.log_scale.const_data_ptr<float>(),
                                          ids(in.id_B),
                                          ids(in.queue_id_n),
                                          p.options,
                                          B,
                                          n,
                                          static_cast<int>(D),
                                          chunks,
                                          bytes_of(part, chunks * B),
                                          bytes_of(row, B),
                                          floats(image_CBD),
                                          floats(text_CBD),
                                          bytes_of(log_scale_part, B),
                                          floats(out.losses),
                                          floats(out.image),
                                          floats(out.text),
                                          floats(out.log_scale)};
  cuda::queue_contrast_launches(arguments, is_bf16, shared_bytes, emulator::Launch());
  return out;
}

/// float32 kernels: at most twice the error of the float32 composite.
Result check_float32(const Problem& p, int64_t chunks = 0) {
  const Result kernel = emulate(p, false, chunks), c = composite(p, at::kFloat),
               r = composite(p, at::kDouble);
  const double scale = std::exp(p.in.log_scale.item<double>());
  test::check_twice(kernel.losses, c.losses, r.losses, std::max(1.0, 0.1 * scale));
  test::check_twice(kernel.image, c.image, r.image);
  test::check_twice(kernel.text, c.text, r.text);
  test::check_twice(kernel.log_scale, c.log_scale, r.log_scale, 0.1 * scale);
  return kernel;
}

/// bfloat16 kernels on bfloat16 values: the losses are as good as in float32, and a gradient is off
/// by the rounding of its coefficients to 8 bits, 2^-9 of their sum.
Result check_bf16(Problem p, int64_t chunks = 0, size_t shared_bytes = 232448) {
  p.round_to_bf16();
  const Result kernel = emulate(p, true, chunks, shared_bytes), c = composite(p, at::kFloat),
               r = composite(p, at::kDouble);
  const double scale = std::exp(p.in.log_scale.item<double>());
  test::check_twice(kernel.losses, c.losses, r.losses, std::max(1.0, 0.1 * scale));
  CHECK(test::max_error(kernel.image, r.image) <= 4e-3 * test::max_abs(r.image) + 1e-9);
  CHECK(test::max_error(kernel.text, r.text) <= 4e-3 * test::max_abs(r.text) + 1e-9);
  CHECK(test::max_error(kernel.log_scale, r.log_scale) <=
        4e-3 * std::max(test::max_abs(r.log_scale), 0.1));
  return kernel;
}

}  // namespace

TEST_CASE("cuda queue_contrast: awkward shapes, both task modes and both stop-gradients") {
  for (const auto& [B, n, D] : {std::array<int64_t, 3>{1, 0, 8},
                                {1, 1, 8},
                                {2, 3, 16},
                                {33, 65, 24},
                                {65, 70, 128},
                                {70, 123, 40}}) {
    Problem p = random_problem(B, n, D);
    p.options.include_positive = (B + n) % 2 == 0;
    p.options.stopgrad_target = D % 3 == 0;
    INFO("B ", B, " n ", n, " D ", D);
    check_float32(p);
    check_bf16(p);
  }
}

TEST_CASE("cuda queue_contrast: a wide embedding, by the tiles of sm_80 and of sm_90") {
  const Problem p = random_problem(20, 70, 256);
  check_float32(p);
  check_bf16(p, 2, 232448);
  check_bf16(p, 3, 166912);
}

TEST_CASE("cuda queue_contrast: duplicates, the batch's own keys and weights") {
  for (const auto policy : {kKeep, kMaskSameImage, kMultiPositive})
    for (const bool include_positive : {true, false}) {
      Problem p = random_problem(37, 70, 16);
      if (policy != kKeep) add_ids(p, policy, 9);
      p.in.image_queue_nD = at::cat({p.in.image_queue_nD, p.in.image_key_BD});
      p.in.text_queue_nD = at::cat({p.in.text_queue_nD, p.in.text_key_BD});
      if (policy != kKeep) p.in.queue_id_n = at::cat({p.in.queue_id_n, p.in.id_B});
      p.options.batch_key_column = 70;
      p.options.include_positive = include_positive;
      p.options.normalizer = 31;
      p.in.weights_B[3].fill_(0.0f);
      p.in.weights_B[5].fill_(0.5f);
      const Result kernel = check_float32(p, 3);
      CHECK(test::max_abs(kernel.image[3]) == 0.0);
      check_bf16(p, 2);
    }
}

TEST_CASE("cuda queue_contrast: all columns masked, and all weights 0") {
  Problem p = random_problem(3, 10, 8);
  p.options.duplicate_policy = kMaskSameImage;
  p.in.id_B = at::tensor({int64_t{1}, int64_t{2}, int64_t{1}}, at::kLong);
  p.in.queue_id_n = at::ones({10}, at::kLong);
  for (const bool include_positive : {true, false}) {
    p.options.include_positive = include_positive;
    p.in.weights_B = at::ones({3});
    const Result kernel = check_float32(p);
    CHECK(test::max_abs(kernel.image[0]) == 0.0);
    CHECK(test::max_abs(kernel.image[1]) > 0.0);
    p.in.weights_B = at::zeros({3});
    CHECK(test::max_abs(check_float32(p).losses) == 0.0);
  }
}

TEST_CASE("cuda queue_contrast: a row of weight 0 may hold NaN") {
  Problem p = random_problem(5, 20, 8);
  p.in.weights_B[2].fill_(0.0f);
  const Result clean = emulate(p, true);
  for (Tensor* x : {&p.in.image_BD, &p.in.text_BD, &p.in.image_key_BD, &p.in.text_key_BD}) {
    *x = x->clone();
    x->select(0, 2).fill_(NAN);
  }
  const Result poisoned = emulate(p, true);
  CHECK(poisoned.losses.equal(clean.losses));
  CHECK(poisoned.image.equal(clean.image));
  CHECK(poisoned.text.equal(clean.text));
  CHECK(poisoned.log_scale.equal(clean.log_scale));
}

TEST_CASE("cuda queue_contrast: large logits") {
  Problem p = random_problem(9, 37, 8);
  p.in.log_scale = at::scalar_tensor(std::log(2000.0));
  for (const bool include_positive : {true, false}) {
    p.options.include_positive = include_positive;
    CHECK(check_float32(p).losses[3].item<double>() > 100);
  }
}

TEST_CASE("cuda queue_contrast: bit for bit the same in every order of the threads") {
  Problem p = random_problem(40, 100, 72);
  add_ids(p, kMultiPositive, 7);
  for (const bool is_bf16 : {true, false}) {
    emulator::machine().order = emulator::Order::kForward;
    const Result first = emulate(p, is_bf16, 2);
    for (const auto order : {emulator::Order::kBackward, emulator::Order::kShuffled}) {
      emulator::machine().order = order;
      const Result other = emulate(p, is_bf16, 2);
      CHECK(other.losses.equal(first.losses));
      CHECK(other.image.equal(first.image));
      CHECK(other.text.equal(first.text));
      CHECK(other.log_scale.equal(first.log_scale));
    }
    emulator::machine().order = emulator::Order::kForward;
  }
}
