#include "loss/masked_modelling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/keyed_random.h"
#include "ops/vocabulary_cross_entropy.h"

namespace cots::loss {
namespace {

// Random sites of this file: 1 to 15 (model/transformer.h has the others). The block draws of a row
// that needs many go on at kBlockSite + 2^16, + 2 * 2^16, ...
constexpr int64_t kPatchOrderSite = 1, kPickSite = 2, kCorruptSite = 3, kWordSite = 4,
                  kBlockSite = 5;
constexpr int64_t kNextDraws = 1 << 16;

// BEiT's generator (masking_generator.py).
constexpr int kTriesPerBlock = 10;
constexpr double kMinAspect = 0.3;
constexpr int64_t kMinArea = 16, kMinAreaGrid = 24;

/// The uniform draws of one row, one after the other; as many as the generator asks for.
class DrawStream {
 public:
  explicit DrawStream(const Tensor& key_1) : key_(key_1) {}
  double uniform(double low, double high) {
    if (next_ == kDrawn) refill();
    return low + (high - low) * static_cast<double>(draws_.const_data_ptr<float>()[next_++]);
  }
  int64_t integer(int64_t count) {  // in [0, count)
    return std::min(count - 1, static_cast<int64_t>(uniform(0, static_cast<double>(count))));
  }

 private:
  static constexpr int64_t kDrawn = 128;
  void refill() {
    draws_ = ops::keyed_uniform(key_, site_, kDrawn);
    site_ += kNextDraws;
    next_ = 0;
  }
  Tensor key_, draws_;
  int64_t site_ = kBlockSite, next_ = kDrawn;
};

/// Masks rectangles in a g x g grid until `budget` patches are masked or no rectangle fits any
/// more.
class BlockMasker {
 public:
  BlockMasker(bool* mask_P, int64_t grid, const Tensor& key_1)
      : mask_(mask_P), g_(grid), draws_(key_1) {}

  /// Returns how many patches it masked: at most `budget`, often a few less.
  int64_t fill(int64_t budget) {
    int64_t masked = 0;
    while (masked < budget) {
      const int64_t added = add_block(budget - masked);
      if (added == 0) break;
      masked += added;
    }
    return masked;
  }

 private:
  int64_t add_block(int64_t room) {
    // BEiT's least area of 16 is for 14 x 14 and 24 x 24 patches; smaller grids take the same share
    // of 24 x 24.
    const int64_t least =
        g_ >= kMinAreaGrid
            ? kMinArea
            : std::max<int64_t>(1, kMinArea * g_ * g_ / (kMinAreaGrid * kMinAreaGrid));
    for (int attempt = 0; attempt < kTriesPerBlock; ++attempt) {
      const double area = draws_.uniform(static_cast<double>(least), static_cast<double>(room));
      const double aspect = std::exp(draws_.uniform(std::log(kMinAspect), -std::log(kMinAspect)));
      const auto h = static_cast<int64_t>(std::lround(std::sqrt(area * aspect)));
      const auto w = static_cast<int64_t>(std::lround(std::sqrt(area / aspect)));
      if (h < 1 || w < 1 || h >= g_ || w >= g_) continue;
      const int64_t top = draws_.integer(g_ - h + 1), left = draws_.integer(g_ - w + 1);
      const int64_t fresh = h * w - visit(top, left, h, w, [](const bool& m) { return m ? 1 : 0; });
      if (fresh < 1 || fresh > room) continue;
      visit(top, left, h, w, [](bool& m) { return m = true, 0; });
      return fresh;
    }
    return 0;
  }

  /// Sum of `f` over the rectangle's patches.
  template <typename F>
  int64_t visit(int64_t top, int64_t left, int64_t h, int64_t w, F f) {
    int64_t sum = 0;
    for (int64_t y = top; y < top + h; ++y)
      for (int64_t x = left; x < left + w; ++x) sum += f(mask_[y * g_ + x]);
    return sum;
  }

  bool* mask_;
  int64_t g_;
  DrawStream draws_;
};

/// Masks `count` more patches in the order of their draws.
void add_single_patches(bool* mask_P, const float* draws_P, int64_t P, int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(P));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return draws_P[a] < draws_P[b]; });
  for (const int64_t patch : order) {
    if (count == 0) return;
    if (!mask_P[patch]) mask_P[patch] = true, --count;
  }
}

}  // namespace

Tensor draw_image_mask(const Tensor& keys_B, const ImageMaskOptions& options) {
  const int64_t B = keys_B.size(0), P = options.grid * options.grid;
  const int64_t budget = std::lround(options.ratio * static_cast<double>(P));
  Tensor mask_BP = at::zeros({B, P}, at::kBool);
  const Tensor order_BP = ops::keyed_uniform(keys_B, kPatchOrderSite, P);
  for (int64_t b = 0; b < B; ++b) {
    bool* const mask_P = mask_BP.mutable_data_ptr<bool>() + b * P;
    int64_t masked = 0;
    if (options.block)
      masked = BlockMasker(mask_P, options.grid, keys_B.narrow(0, b, 1)).fill(budget);
    if (!options.block || options.exact)
      add_single_patches(mask_P, order_BP.const_data_ptr<float>() + b * P, P, budget - masked);
  }
  return mask_BP;
}

TextMask draw_text_mask(const Tensor& ids_BL, const Tensor& lengths_B, const Tensor& keys_B,
                        const TextMaskOptions& options) {
  const int64_t L = ids_BL.size(1);
  const auto draw_BL = [&](int64_t site) { return ops::keyed_uniform(keys_B, site, L); };
  // Words lie between CLS at 0 and SEP at length - 1.
  const Tensor place_L = at::arange(L, lengths_B.options());
  const Tensor word_BL = place_L.ge(1).logical_and(place_L < (lengths_B - 1).unsqueeze(1));
  const Tensor masked_BL = word_BL.logical_and(draw_BL(kPickSite) < options.ratio);

  const Tensor corrupt_BL = draw_BL(kCorruptSite);
  const Tensor random_BL = (draw_BL(kWordSite).to(at::kDouble) * options.vocab_size).to(at::kLong);
  const Tensor corrupted_BL =
      at::where(corrupt_BL < 0.8, options.mask_id, at::where(corrupt_BL < 0.9, random_BL, ids_BL));
  return {at::where(masked_BL, corrupted_BL, ids_BL), masked_BL};
}

Tensor masked_cross_entropy(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                            const Tensor& target_M, const Tensor& normalizer) {
  return ops::vocabulary_cross_entropy(query_Md, weight_Vd, bias_V, target_M) /
         normalizer.clamp_min(1);
}

}  // namespace cots::loss
