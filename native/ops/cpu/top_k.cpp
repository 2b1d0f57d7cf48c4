// Scores of a tile of the gallery by GEMM, candidates by a threshold that only rises, and the last
// word by exact_dot. A thread keeps about 2k candidates a query; no [Q, N] matrix is formed. Why
// the threshold loses nothing: a float32 score is off by less than half of `margin`, so whatever
// scores `margin` below the k-th best seen cannot be among the k best. Legend: Q queries, N gallery
// rows, D embedding, k results, T rows of a tile.
#include "ops/top_k.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/failure.h"
#include "ops/cancel.h"
#include "ops/cpu/lanes.h"
#include "ops/exact_dot.h"

namespace cots::ops {
namespace {

constexpr int64_t kQueryBlock = 256, kTile = 512;
constexpr int64_t kFewQueries =
    2;  // up to here the gallery's bandwidth decides, and our own dot products beat GEMM
constexpr double kMargin = 1e-6;  // for unit rows; grows with the product of the norms
constexpr float kNothing = -INFINITY;

struct Candidate {
  float score;
  int64_t row;
};

/// Best first; equal scores by lower row.
bool better(const Candidate& x, const Candidate& y) {
  return x.score != y.score ? x.score > y.score : x.row < y.row;
}

[[noreturn]] void fail_non_finite(const char* what) {
  throw Failure("ERR_COTS_NON_FINITE",
                std::string("top_k: expected finite ") + what +
                    ", got NaN or infinity. Check the embeddings that were written.");
}

/// Sum of products of two rows and sum of squares of the second, in one read of it.
COTS_INLINE void dot_and_square(const float* q, const float* g, int64_t D, float& dot,
                                float& square) {
  Floats dot_lanes{}, square_lanes{};
  const int64_t whole = D / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
    const Floats x = load(g + k);
    dot_lanes += load(q + k) * x;
    square_lanes += x * x;
  }
  if (whole < D) {
    const Floats x = load_part(g + whole, D - whole, 0);
    dot_lanes += load_part(q + whole, D - whole, 0) * x;
    square_lanes += x * x;
  }
  dot = reduce_sum_fast(dot_lanes);
  square = reduce_sum_fast(square_lanes);
}

/// scores[t] = q . gallery row t for t < T; returns the largest squared norm of those rows.
COTS_INLINE float score_rows_body(const float* q, const float* gallery, int64_t T, int64_t D,
                                  float* scores) {
  float largest = 0;
  for (int64_t t = 0; t < T; ++t) {
    float square;
    dot_and_square(q, gallery + t * D, D, scores[t], square);
    largest = square > largest ? square : largest;
  }
  return largest;
}
COTS_VERSIONS(float, score_rows,
              (const float* q, const float* gallery, int64_t T, int64_t D, float* scores),
              (q, gallery, T, D, scores))

COTS_INLINE float largest_square_body(const float* gallery, int64_t T, int64_t D) {
  float largest = 0, dot, square;
  for (int64_t t = 0; t < T; ++t) {
    dot_and_square(gallery + t * D, gallery + t * D, D, dot, square);
    largest = square > largest ? square : largest;
  }
  return largest;
}
COTS_VERSIONS(float, largest_square, (const float* gallery, int64_t T, int64_t D), (gallery, T, D))

/// Places of the scores that are not below the threshold (NaN is not below); returns how many.
COTS_INLINE int64_t collect_body(const float* scores, int64_t T, float threshold, int32_t* places) {
  int64_t found = 0, t = 0;
  for (; t + 4 * kLanes <= T; t += 4 * kLanes) {
    int32_t below[4 * kLanes], all = -1;
    for (int64_t l = 0; l < 4 * kLanes; ++l) below[l] = scores[t + l] < threshold ? -1 : 0;
    for (int64_t l = 0; l < 4 * kLanes; ++l) all &= below[l];
    if (all) continue;
    for (int64_t l = 0; l < 4 * kLanes; ++l)
      if (!below[l]) places[found++] = static_cast<int32_t>(t + l);
  }
  for (; t < T; ++t)
    if (!(scores[t] < threshold)) places[found++] = static_cast<int32_t>(t);
  return found;
}
COTS_VERSIONS(int64_t, collect, (const float* scores, int64_t T, float threshold, int32_t* places),
              (scores, T, threshold, places))

/// Replaces approximate scores by the exact ones.
void score_exactly(std::vector<Candidate>& list, const float* query, const float* gallery,
                   int64_t D) {
  std::vector<int64_t> row(list.size());
  std::vector<float> score(list.size());
  for (size_t i = 0; i < list.size(); ++i) row[i] = list[i].row;
  exact_dots(query, gallery, row.data(), static_cast<int64_t>(row.size()), D, score.data());
  for (size_t i = 0; i < list.size(); ++i) list[i].score = score[i];
}

/// The candidates of one query in one chunk of the gallery.
class Shortlist {
 public:
  float threshold() const { return threshold_; }
  const std::vector<Candidate>& list() const { return list_; }

  void add(const float* scores, const int32_t* places, int64_t count, int64_t first_row) {
    for (int64_t i = 0; i < count; ++i) {
      if (!std::isfinite(scores[places[i]])) fail_non_finite("scores");
      list_.push_back({scores[places[i]], first_row + places[i]});
    }
  }

  /// Drops what cannot be among the k best any more. Ties may leave too many: then the exact order
  /// decides at once.
  void prune(int64_t k, float margin, const float* query, const float* gallery, int64_t D) {
    const auto limit = static_cast<size_t>(2 * k + 64);
    if (list_.size() <= limit) return;
    const auto kth = list_.begin() + (k - 1);
    std::nth_element(list_.begin(), kth, list_.end(), better);
    threshold_ = std::max(threshold_, kth->score - margin);
    std::erase_if(list_, [&](const Candidate& c) { return c.score < threshold_; });
    if (list_.size() <= limit) return;
    score_exactly(list_, query, gallery, D);
    std::nth_element(list_.begin(), list_.begin() + (k - 1), list_.end(), better);
    list_.resize(static_cast<size_t>(k));
  }

 private:
  std::vector<Candidate> list_;
  float threshold_ = kNothing;
};

struct Search {
  const float *queries, *gallery;
  Tensor queries_QD, gallery_ND;
  int64_t Q, N, D, k;
  std::vector<float> query_norm;  // [Q]
};

/// Scores of tile rows [row, row + T) for all queries; returns the largest norm among them.
double score_tile(const Search& s, int64_t row, int64_t T, Tensor& scores_QT) {
  float* scores = scores_QT.mutable_data_ptr<float>();
  const float* tile = s.gallery + row * s.D;
  double square = 0;
  if (s.Q <= kFewQueries) {
    for (int64_t q = 0; q < s.Q; ++q)
      square = score_rows(s.queries + q * s.D, tile, T, s.D, scores + q * T);
  } else {
    at::mm_out(scores_QT, s.queries_QD, s.gallery_ND.narrow(0, row, T).t());
    square = largest_square(tile, T, s.D);
  }
  if (!std::isfinite(square)) fail_non_finite("gallery rows");
  return std::sqrt(square);
}

/// The shortlists of all queries over gallery rows [begin, end).
void search_chunk(const Search& s, int64_t begin, int64_t end, std::vector<Shortlist>& lists_Q) {
  const Tensor buffer = at::empty({s.Q * std::min(kTile, end - begin)}, s.queries_QD.options());
  std::vector<int32_t> places(static_cast<size_t>(kTile));
  double largest_norm = 0;
  for (int64_t row = begin; row < end; row += kTile) {
    check_cancelled();
    const int64_t T = std::min(kTile, end - row);
    Tensor scores_QT = buffer.narrow(0, 0, s.Q * T).view({s.Q, T});
    largest_norm = std::max(largest_norm, score_tile(s, row, T, scores_QT));
    for (int64_t q = 0; q < s.Q; ++q) {
      const float* scores = scores_QT.const_data_ptr<float>() + q * T;
      Shortlist& list = lists_Q[static_cast<size_t>(q)];
      const int64_t found = collect(scores, T, list.threshold(), places.data());
      if (found == 0) continue;
      list.add(scores, places.data(), found, row);
      const double margin =
          kMargin * std::max(1.0, largest_norm * s.query_norm[static_cast<size_t>(q)]);
      list.prune(s.k, static_cast<float>(margin), s.queries + q * s.D, s.gallery, s.D);
    }
  }
}

void search_block(const Search& s, float* scores_Qk, int64_t* indices_Qk) {
  const int64_t C = std::clamp<int64_t>(s.N / (4 * kTile), 1, at::get_num_threads());
  std::vector<std::vector<Shortlist>> lists_CQ(static_cast<size_t>(C),
                                               std::vector<Shortlist>(static_cast<size_t>(s.Q)));
  const std::atomic<bool>* cancel = cancel_flag();
  at::parallel_for(0, C, 1, [&](int64_t first, int64_t last) {
    const at::AutoDispatchBelowADInplaceOrView below;  // workers do not inherit the caller's
    const CancelScope scope(cancel);
    for (int64_t c = first; c < last; ++c)
      search_chunk(s, s.N * c / C, s.N * (c + 1) / C, lists_CQ[static_cast<size_t>(c)]);
  });
  at::parallel_for(0, s.Q, 16, [&](int64_t first, int64_t last) {
    const CancelScope scope(cancel);
    std::vector<Candidate> all;
    for (int64_t q = first; q < last; ++q) {
      check_cancelled();
      all.clear();
      for (const auto& lists_Q : lists_CQ) {
        const auto& list = lists_Q[static_cast<size_t>(q)].list();
        all.insert(all.end(), list.begin(), list.end());
      }
      score_exactly(all, s.queries + q * s.D, s.gallery, s.D);
      std::partial_sort(all.begin(), all.begin() + s.k, all.end(), better);
      for (int64_t i = 0; i < s.k; ++i) {
        scores_Qk[q * s.k + i] = all[static_cast<size_t>(i)].score;
        indices_Qk[q * s.k + i] = all[static_cast<size_t>(i)].row;
      }
    }
  });
}

std::tuple<Tensor, Tensor> top_k_cpu(const Tensor& queries_QD, const Tensor& gallery_ND,
                                     int64_t k) {
  TORCH_CHECK(
      queries_QD.dim() == 2 && gallery_ND.dim() == 2 && queries_QD.size(1) == gallery_ND.size(1),
      "top_k: expected queries [Q, D] and gallery [N, D], got ", queries_QD.sizes(), " and ",
      gallery_ND.sizes());
  TORCH_CHECK(queries_QD.scalar_type() == at::kFloat && gallery_ND.scalar_type() == at::kFloat,
              "top_k: expected float32, got ", queries_QD.scalar_type(), " and ",
              gallery_ND.scalar_type());
  TORCH_CHECK(k >= 1 && k <= gallery_ND.size(0), "top_k: expected k in [1, ", gallery_ND.size(0),
              "], got ", k);
  const Tensor queries = queries_QD.contiguous(), gallery = gallery_ND.contiguous();
  const int64_t Q = queries.size(0), N = gallery.size(0), D = gallery.size(1);
  if (!queries.isfinite().all().item<bool>()) fail_non_finite("queries");
  Tensor scores_Qk = at::empty({Q, k}, queries.options()),
         indices_Qk = at::empty({Q, k}, queries.options().dtype(at::kLong));
  for (int64_t q = 0; q < Q; q += kQueryBlock) {
    const Tensor block = queries.narrow(0, q, std::min(kQueryBlock, Q - q));
    const Tensor norms = block.norm(2, 1).contiguous();
    const float* norm = norms.const_data_ptr<float>();
    const Search s{block.const_data_ptr<float>(),
                   gallery.const_data_ptr<float>(),
                   block,
                   gallery,
                   block.size(0),
                   N,
                   D,
                   k,
                   std::vector<float>(norm, norm + block.size(0))};
    search_block(s, scores_Qk.mutable_data_ptr<float>() + q * k,
                 indices_Qk.mutable_data_ptr<int64_t>() + q * k);
  }
  return {scores_Qk, indices_Qk};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("top_k", top_k_cpu); }

}  // namespace cots::ops
