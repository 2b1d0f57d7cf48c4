// Each op of native/ops beside its plain-torch composite, on the device of this machine: a GPU
// where there is one, else the CPU. Writes one JSON document.
//   cots_native_bench FILE.json [--small]     --small: sizes that say only whether the program
//   works
// A row is the median over rounds of the mean time of a call, the device idle before and after.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/adamw.h"
#include "ops/attention.h"
#include "ops/keyed_random.h"
#include "ops/linear.h"
#include "ops/momentum_filter.h"
#include "ops/queue_contrast.h"
#include "ops/queue_push.h"
#include "ops/scale_pixels.h"
#include "ops/top_k.h"
#include "ops/vocabulary_cross_entropy.h"

using namespace cots;
using at::Tensor;
using Json = nlohmann::ordered_json;

namespace {

constexpr int kRounds = 7;
constexpr double kRoundSeconds = 0.2;

struct Bench {
  at::Device device;
  bool is_small;
  Json rows = Json::array();

  void wait() const {
    if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(0);
  }

  double seconds_of(const std::function<void()>& call, int calls) const {
    wait();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
  }

  double median_ms(const std::function<void()>& call) const {
    seconds_of(call, 3);  // warm-up
    const double once = seconds_of(call, 1);
    const double wanted = (is_small ? 0.005 : kRoundSeconds) / std::max(once, 1e-6);
    const int calls = static_cast<int>(std::clamp(wanted, 1.0, 1000.0));
    std::vector<double> rounds;
    for (int i = 0; i < kRounds; ++i) rounds.push_back(1e3 * seconds_of(call, calls));
    std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
    return rounds[kRounds / 2];
  }

  void compare(const std::string& op, const Json& sizes, const std::function<void()>& kernel,
               const std::function<void()>& composite) {
    Json row{{"op", op}, {"sizes", sizes}, {"kernel_ms", median_ms(kernel)}};
    try {
      row["composite_ms"] = median_ms(composite);
      row["ratio"] = row["composite_ms"].get<double>() / row["kernel_ms"].get<double>();
    } catch (
        const c10::Error& error) {  // the composite may not fit in memory where the kernel does
      row["composite_failed"] = error.what_without_backtrace();
    }
    std::cout << row.dump() << "\n";
    rows.push_back(row);
  }

  Tensor unit_rows(int64_t count, int64_t D, at::ScalarType type) const {
    const Tensor x = at::randn({count, D}, at::TensorOptions().device(device));
    return (x / x.norm(2, 1, true)).to(type);
  }
};

void bench_contrast(Bench& bench, int64_t B, int64_t n, int64_t D, at::ScalarType type) {
  const ops::ContrastInputs in{
      bench.unit_rows(B, D, type).requires_grad_(),
      bench.unit_rows(B, D, type).requires_grad_(),
      bench.unit_rows(B, D, type),
      bench.unit_rows(B, D, type),
      bench.unit_rows(n, D, type),
      bench.unit_rows(n, D, type),
      at::ones({B}, at::TensorOptions().device(bench.device)),
      at::full({}, std::log(20.0), at::TensorOptions().device(bench.device)),
      {},
      {}};
  const ops::ContrastOptions options{static_cast<double>(B), 1, 1, true, false};
  const auto step = [&](const auto& losses_of) {
    return [&, losses_of] {
      Tensor image = in.image_BD, text = in.text_BD;
      image.mutable_grad() = Tensor(), text.mutable_grad() = Tensor();
      losses_of(in, options).select(0, 0).backward();
    };
  };
  const Json sizes{{"B", B}, {"n", n}, {"D", D}, {"type", c10::toString(type)}};
  bench.compare("queue_contrast", sizes, step(ops::queue_contrast_loss),
                step(ops::queue_contrast_composite));
  // 12 B n D flops: two products forward, four backward.
  Json& row = bench.rows.back();
  row["kernel_tflops"] = 12e-9 * static_cast<double>(B) * static_cast<double>(n) *
                         static_cast<double>(D) / row["kernel_ms"].get<double>();
}

void bench_vocabulary(Bench& bench, int64_t M, int64_t d, int64_t V, at::ScalarType type) {
  const Tensor query = bench.unit_rows(M, d, type).requires_grad_(),
               weight = bench.unit_rows(V, d, type).requires_grad_();
  const auto options = at::TensorOptions().device(bench.device);
  const Tensor bias = at::zeros({V}, options), target = at::arange(M, options.dtype(at::kLong)) % V;
  const auto step = [&](const auto& loss_of) {
    return [&, loss_of] {
      for (Tensor x : {query, weight}) x.mutable_grad() = Tensor();
      loss_of(query, weight, bias.to(query.is_cuda() ? at::kFloat : type), target).backward();
    };
  };
  bench.compare(
      "vocabulary_cross_entropy", {{"M", M}, {"d", d}, {"V", V}, {"type", c10::toString(type)}},
      step(ops::vocabulary_cross_entropy), [&] {
        for (Tensor x : {query, weight}) x.mutable_grad() = Tensor();
        ops::vocabulary_cross_entropy_composite(query, weight, bias.to(type), target).backward();
      });
}

/// Forward and gradients of the linear layers and the attention of a block, on a CPU alone.
void bench_block(Bench& bench, int64_t S, int64_t L, int64_t d, int64_t heads) {
  const auto leaf = [](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}).requires_grad_();
  };
  const auto step = [](const auto& arguments, const auto& run, std::vector<Tensor> leaves) {
    return [=] {
      for (Tensor x : leaves) x.mutable_grad() = Tensor();
      run(arguments).sum().backward();
    };
  };
  ops::LinearArguments layer{leaf(S * L, d), leaf(4 * d, d), at::zeros({4 * d})};
  layer.norm_weight_K = at::ones({d}), layer.norm_bias_K = at::zeros({d}), layer.norm_eps = 1e-6;
  const std::vector<Tensor> leaves{layer.x_MK, layer.weight_NK};
  bench.compare("linear with norm", {{"M", S * L}, {"K", d}, {"N", 4 * d}},
                step(layer, ops::linear, leaves), step(layer, ops::linear_composite, leaves));
  const ops::AttentionArguments sequences{
      .rows_M = leaf(S * L, 3 * d), .starts = at::arange(S + 1, at::kLong) * L, .heads = heads};
  bench.compare("attention", {{"S", S}, {"L", L}, {"d", d}, {"heads", heads}},
                step(sequences, ops::attention, {sequences.rows_M}),
                step(sequences, ops::attention_composite, {sequences.rows_M}));
}

void bench_adamw(Bench& bench, int64_t N) {
  const auto options = at::TensorOptions().device(bench.device);
  const auto draw = [&] { return at::rand({N}, options); };
  const Tensor p = draw(), g = draw(), m = draw(), v = draw(), decay = draw(), average = draw();
  const ops::AdamW step{1e-4, 0.9, 0.999, 1e-8, 0.02, 10, 1.0};
  bench.compare(
      "adamw_ with moving average", {{"N", N}},
      [&] {
        ops::adamw_(p, g, m, v, decay, step, {}, {average, 0.99});
      },
      [&] {
        ops::adamw_composite_(p, g, m, v, decay, step, {}, {average, 0.99});
      });
}

void bench_small_ops(Bench& bench, int64_t B, int64_t n) {
  const auto options = at::TensorOptions().device(bench.device);
  const Tensor score = at::rand({B}, options), queue = at::rand({n}, options);
  bench.compare(
      "momentum_filter", {{"B", B}, {"n", n}}, [&] { ops::momentum_filter(score, queue, 2); },
      [&] { ops::momentum_filter_composite(score, queue, 2); });
  const ops::QueueColumns ring{at::zeros({n, 256}, options),
                               at::zeros({n, 256}, options),
                               at::zeros({n}, options),
                               at::zeros({n}, options.dtype(at::kLong)),
                               at::zeros({n}, options.dtype(at::kBool)),
                               at::zeros({2}, options.dtype(at::kLong))};
  const ops::QueueBatch batch{at::rand({B, 256}, options), at::rand({B, 256}, options), score,
                              at::arange(B, options.dtype(at::kLong)),
                              at::ones({B}, options.dtype(at::kBool))};
  bench.compare(
      "queue_push_", {{"B", B}, {"n", n}, {"D", 256}}, [&] { ops::queue_push_(ring, batch); },
      [&] { ops::queue_push_composite_(ring, batch); });
  const int64_t side = bench.is_small ? 24 : 384, images = bench.is_small ? 3 : 128;
  const Tensor rgb = at::randint(0, 256, {images, side, side, 3}, options.dtype(at::kByte));
  const ops::PixelScale half{
      {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, bench.device.is_cuda() ? at::kBFloat16 : at::kFloat};
  bench.compare(
      "scale_pixels", {{"B", images}, {"S", side}}, [&] { ops::scale_pixels(rgb, half); },
      [&] { ops::scale_pixels_composite(rgb, half); });
  const Tensor keys = at::arange(B, options.dtype(at::kLong)), x = at::rand({B, n}, options);
  bench.compare(
      "keyed_dropout", {{"B", B}, {"n", n}}, [&] { ops::keyed_dropout(x, keys, 1, 0.1); },
      [&] { ops::keyed_dropout_composite(x, keys, 1, 0.1); });
}

void bench_top_k(Bench& bench, int64_t Q, int64_t N, int64_t D, at::ScalarType type) {
  const Tensor query = bench.unit_rows(Q, D, at::kFloat), gallery = bench.unit_rows(N, D, type);
  Tensor norms = ops::unknown_tile_norms(N);
  bench.compare(
      "top_k", {{"Q", Q}, {"N", N}, {"D", D}, {"k", 10}, {"type", c10::toString(type)}},
      [&] { ops::top_k(query, gallery, 10, norms); },
      [&] { query.mm(gallery.to(at::kFloat).t()).topk(10, 1); });
}

void run_all(Bench& bench) {
  const auto pick = [&](int64_t full, int64_t small) { return bench.is_small ? small : full; };
  const bool on_gpu = bench.device.is_cuda();
  for (const auto type : {at::kBFloat16, at::kFloat}) {
    if (type == at::kBFloat16 && !on_gpu) continue;  // the CPU's kernels are float32
    bench_contrast(bench, pick(1024, 33), pick(65536, 130), 256, type);
    bench_contrast(bench, pick(256, 33), pick(12800, 130), 256, type);
    bench_vocabulary(bench, pick(14720, 40), pick(768, 16), pick(8192, 50), type);
    bench_vocabulary(bench, pick(400, 40), pick(768, 16), pick(30522, 50), type);
  }
  if (!on_gpu) {
    bench_block(bench, pick(4, 2), pick(577, 5), pick(768, 16), pick(12, 2));
    bench_block(bench, pick(128, 2), pick(65, 5), pick(192, 16), pick(6, 2));
  }
  bench_adamw(bench, pick(200'000'000, 1000));
  bench_small_ops(bench, pick(1024, 20), pick(12800, 50));
  for (const auto type : {at::kFloat, at::kHalf}) {
    bench_top_k(bench, 1, pick(1'000'000, 2000), 256, type);
    bench_top_k(bench, pick(1024, 20), pick(1'000'000, 2000), 256, type);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3 || (argc == 3 && std::string(argv[2]) != "--small")) {
    std::cerr << "Usage: cots_native_bench FILE.json [--small]\n";
    return 2;
  }
  Bench bench{at::hasCUDA() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU), argc == 3};
  run_all(bench);
  const Json document{{"device", bench.device.str()},
                      {"libtorch", TORCH_VERSION},
                      {"small", bench.is_small},
                      {"rows", bench.rows}};
  std::ofstream file(argv[1]);
  file << document.dump(2) << "\n";
  return file ? 0 : 1;
}
