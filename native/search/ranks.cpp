// One GEMM a tile serves both directions: along a row of scores the image's captions are compared,
// down a column the caption's image. Only scores near the one compared with are computed again in
// the fixed order of ops::exact_dot. Legend: I images, T texts, D embedding, R x C rows (images)
// and columns (texts) of a tile.
#include "search/ranks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "io/failure.h"
#include "ops/cancel.h"
#include "ops/cpu/isa.h"
#include "ops/exact_dot.h"

namespace cots {
namespace {

using at::Tensor;
using ops::Isa, ops::isa;  // named by COTS_VERSIONS

constexpr int64_t kTileRows = 128, kTileColumns = 512;
constexpr double kMargin = 1e-6;  // for unit rows; grows with the product of the norms

struct Counts {  // how many others score above, and exactly as high
  std::vector<int32_t> above, equal;
  explicit Counts(int64_t n) : above(static_cast<size_t>(n)), equal(static_cast<size_t>(n)) {}
};

struct Retrieval {
  Tensor images_ID, texts_TD;
  const float *images, *texts;
  const int32_t* image_of_text;
  int64_t I, T, D;
  float margin;
  std::vector<float> own_T;   // score of each text with its image
  std::vector<float> best_I;  // best score of each image with its own texts
};

void check_finite(const Tensor& x, const char* name) {
  if (x.isfinite().all().item<bool>()) return;
  throw Failure("ERR_COTS_NON_FINITE",
                std::string("Expected finite ") + name +
                    " embeddings, got NaN or infinity: no rank is defined. Embed them again.");
}

Retrieval own_scores(const Tensor& images_ID, const Tensor& texts_TD,
                     const Tensor& image_of_text_T) {
  Retrieval r{images_ID,
              texts_TD,
              images_ID.const_data_ptr<float>(),
              texts_TD.const_data_ptr<float>(),
              image_of_text_T.const_data_ptr<int32_t>(),
              images_ID.size(0),
              texts_TD.size(0),
              images_ID.size(1),
              0,
              {},
              {}};
  r.own_T.resize(static_cast<size_t>(r.T));
  r.best_I.assign(static_cast<size_t>(r.I), -std::numeric_limits<float>::infinity());
  for (int64_t t = 0; t < r.T; ++t) {
    const int64_t i = r.image_of_text[t];
    TORCH_CHECK(i >= 0 && i < r.I, "retrieval_ranks: expected imageOfText[", t, "] in [0, ", r.I,
                "), got ", i);
    const float own = ops::exact_dot(r.images + i * r.D, r.texts + t * r.D, r.D);
    r.own_T[static_cast<size_t>(t)] = own;
    r.best_I[static_cast<size_t>(i)] = std::max(r.best_I[static_cast<size_t>(i)], own);
  }
  for (int64_t i = 0; i < r.I; ++i)
    TORCH_CHECK(std::isfinite(r.best_I[static_cast<size_t>(i)]), "retrieval_ranks: image ", i,
                " has no text");
  const double norms =
      images_ID.norm(2, 1).max().item<double>() * texts_TD.norm(2, 1).max().item<double>();
  r.margin = static_cast<float>(kMargin * std::max(1.0, norms));
  return r;
}

struct Near {
  int64_t image, text;
  bool row, column;  // near the image's best text, near the text's image
};

/// Counts the scores clearly above `best` and, a column each, clearly above own; returns whether
/// any is near either.
COTS_INLINE bool count_above_body(const float* __restrict scores, const float* __restrict own,
                                  int64_t columns, float best, float margin, int32_t* above,
                                  int32_t* __restrict above_column) {
  int32_t count = 0, close = 0;
  for (int64_t t = 0; t < columns; ++t) {
    const float row_gap = scores[t] - best, column_gap = scores[t] - own[t];
    count += row_gap > margin;
    above_column[t] += column_gap > margin;
    close |= (std::abs(row_gap) <= margin) | (std::abs(column_gap) <= margin);
  }
  *above += count;
  return close != 0;
}
COTS_VERSIONS(bool, count_above,
              (const float* scores, const float* own, int64_t columns, float best, float margin,
               int32_t* above, int32_t* above_column),
              (scores, own, columns, best, margin, above, above_column))

/// Notes the scores of others within the margin.
void collect_near(const Retrieval& r, const float* scores, int64_t image, int64_t text,
                  int64_t columns, std::vector<Near>& near) {
  const float best = r.best_I[static_cast<size_t>(image)];
  const float* own = r.own_T.data() + text;
  for (int64_t t = 0; t < columns; ++t) {
    const bool row = std::abs(scores[t] - best) <= r.margin,
               column = std::abs(scores[t] - own[t]) <= r.margin;
    if ((row || column) && r.image_of_text[text + t] != image)
      near.push_back({image, text + t, row, column});
  }
}

void decide(const Retrieval& r, const std::vector<Near>& near, Counts& images, Counts& texts) {
  const auto count = [](Counts& counts, int64_t i, float score, float against) {
    counts.above[static_cast<size_t>(i)] += score > against;
    counts.equal[static_cast<size_t>(i)] += score == against;
  };
  for (const Near& n : near) {
    const float score = ops::exact_dot(r.images + n.image * r.D, r.texts + n.text * r.D, r.D);
    if (n.row) count(images, n.image, score, r.best_I[static_cast<size_t>(n.image)]);
    if (n.column) count(texts, n.text, score, r.own_T[static_cast<size_t>(n.text)]);
  }
}

/// All texts against images [begin, end); `texts` belongs to this thread.
void count_block(const Retrieval& r, int64_t begin, int64_t end, Counts& images, Counts& texts) {
  const Tensor buffer = at::empty({kTileRows * kTileColumns}, r.images_ID.options());
  std::vector<Near> near;
  for (int64_t image = begin; image < end; image += kTileRows) {
    const int64_t rows = std::min(kTileRows, end - image);
    for (int64_t text = 0; text < r.T; text += kTileColumns) {
      ops::check_cancelled();
      const int64_t columns = std::min(kTileColumns, r.T - text);
      Tensor scores_RC = buffer.narrow(0, 0, rows * columns).view({rows, columns});
      at::mm_out(scores_RC, r.images_ID.narrow(0, image, rows),
                 r.texts_TD.narrow(0, text, columns).t());
      const float* scores = scores_RC.const_data_ptr<float>();
      near.clear();
      for (int64_t row = 0; row < rows; ++row, scores += columns) {
        const auto i = static_cast<size_t>(image + row);
        if (count_above(scores, r.own_T.data() + text, columns, r.best_I[i], r.margin,
                        &images.above[i], texts.above.data() + text))
          collect_near(r, scores, image + row, text, columns, near);
      }
      decide(r, near, images, texts);
    }
  }
}

DirectionRanks ranks_of(const Counts& counts) {
  const auto n = static_cast<int64_t>(counts.above.size());
  DirectionRanks ranks{at::empty({n}, at::kInt), at::empty({n}, at::kInt)};
  int32_t* pessimistic = ranks.pessimistic.mutable_data_ptr<int32_t>();
  int32_t* optimistic = ranks.optimistic.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < n; ++i) {
    optimistic[i] = 1 + counts.above[static_cast<size_t>(i)];
    pessimistic[i] = optimistic[i] + counts.equal[static_cast<size_t>(i)];
  }
  return ranks;
}

}  // namespace

Ranks retrieval_ranks(const Tensor& images_ID, const Tensor& texts_TD,
                      const Tensor& image_of_text_T) {
  TORCH_CHECK(images_ID.dim() == 2 && texts_TD.dim() == 2 &&
                  images_ID.size(1) == texts_TD.size(1) && images_ID.scalar_type() == at::kFloat &&
                  texts_TD.scalar_type() == at::kFloat,
              "retrieval_ranks: expected float32 images [I, D] and texts [T, D], got ",
              images_ID.sizes(), " and ", texts_TD.sizes());
  TORCH_CHECK(image_of_text_T.dim() == 1 && image_of_text_T.size(0) == texts_TD.size(0) &&
                  image_of_text_T.scalar_type() == at::kInt,
              "retrieval_ranks: expected imageOfText as int32 [", texts_TD.size(0), "], got ",
              image_of_text_T.sizes());
  TORCH_CHECK(images_ID.size(0) > 0, "retrieval_ranks: expected at least one image, got none");
  check_finite(images_ID, "image");
  check_finite(texts_TD, "text");
  const Tensor images = images_ID.contiguous(), texts = texts_TD.contiguous(),
               owners = image_of_text_T.contiguous();
  const Retrieval r = own_scores(images, texts, owners);

  const int64_t chunks = std::clamp<int64_t>(r.I / kTileRows, 1, at::get_num_threads());
  Counts image_counts(r.I),
      text_counts(r.T);  // a chunk owns its images; counts of texts are added up
  std::vector<Counts> part(static_cast<size_t>(chunks), Counts(r.T));
  const std::atomic<bool>* cancel = ops::cancel_flag();
  at::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    const at::AutoDispatchBelowAutograd below;
    const ops::CancelScope scope(cancel);
    for (int64_t c = first; c < last; ++c)
      count_block(r, r.I * c / chunks, r.I * (c + 1) / chunks, image_counts,
                  part[static_cast<size_t>(c)]);
  });
  for (const Counts& counts : part)
    for (size_t t = 0; t < counts.above.size(); ++t) {
      text_counts.above[t] += counts.above[t];
      text_counts.equal[t] += counts.equal[t];
    }
  return {ranks_of(image_counts), ranks_of(text_counts)};
}

}  // namespace cots
