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
#include "ops/cpu/half_rows.h"
#include "ops/cpu/lanes.h"
#include "ops/exact_dot.h"

namespace cots::ops {
namespace {

constexpr int64_t kQueryBlock = 256, kTile = kGalleryTile;
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

template <class Floats>
COTS_INLINE float dot(const float* x, const float* y, int64_t D) {
  Floats sum{};
  const int64_t whole = D / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
    __builtin_prefetch(reinterpret_cast<const char*>(y + k) + kPrefetchBytes);
    sum += load<Floats>(x + k) * load<Floats>(y + k);
  }
  if (whole < D)
    sum += load_part<Floats>(x + whole, D - whole, 0) * load_part<Floats>(y + whole, D - whole, 0);
  return reduce_sum_fast(sum);
}

/// scores[t] = q . gallery row t for t < T.
template <class Floats>
COTS_INLINE void score_rows_body(const float* q, const float* gallery, int64_t T, int64_t D,
                                 float* scores) {
  for (int64_t t = 0; t < T; ++t) scores[t] = dot<Floats>(q, gallery + t * D, D);
}
COTS_LANE_VERSIONS(void, score_rows,
                   (const float* q, const float* gallery, int64_t T, int64_t D, float* scores),
                   (q, gallery, T, D, scores))

template <class Floats>
COTS_INLINE float largest_square_body(const float* gallery, int64_t T, int64_t D) {
  float largest = 0;
  for (int64_t t = 0; t < T; ++t) {
    const float square = dot<Floats>(gallery + t * D, gallery + t * D, D);
    if (!(square <= largest)) largest = square;  // NaN stays: nothing compares with it
  }
  return largest;
}
COTS_LANE_VERSIONS(float, largest_square, (const float* gallery, int64_t T, int64_t D),
                   (gallery, T, D))

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

/// The rows that are searched: float32, or float16 taken for the float32 numbers that they stand
/// for.
struct Gallery {
  Tensor rows_ND;
  const float* float32;     // null for a float16 gallery
  const at::Half* float16;  // null for a float32 gallery
  int64_t N, D;
  float* tile_norms;  // the largest norm of each tile, NaN where it is not known yet
};

/// Replaces approximate scores by the exact ones.
void score_exactly(std::vector<Candidate>& list, const float* query, const Gallery& gallery) {
  const int64_t D = gallery.D;
  std::vector<int64_t> row(list.size());
  std::vector<float> score(list.size()), widened;
  if (gallery.float16 != nullptr) widened.resize(list.size() * static_cast<size_t>(D));
  for (size_t i = 0; i < list.size(); ++i) {
    row[i] = list[i].row;
    if (widened.empty()) continue;
    to_float(gallery.float16 + row[i] * D, D, widened.data() + static_cast<int64_t>(i) * D);
    row[i] = static_cast<int64_t>(i);
  }
  exact_dots(query, widened.empty() ? gallery.float32 : widened.data(), row.data(),
             static_cast<int64_t>(row.size()), D, score.data());
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
  void prune(int64_t k, float margin, const float* query, const Gallery& gallery) {
    const auto limit = static_cast<size_t>(2 * k + 64);
    if (list_.size() <= limit) return;
    const auto kth = list_.begin() + (k - 1);
    std::nth_element(list_.begin(), kth, list_.end(), better);
    threshold_ = std::max(threshold_, kth->score - margin);
    std::erase_if(list_, [&](const Candidate& c) { return c.score < threshold_; });
    if (list_.size() <= limit) return;
    score_exactly(list_, query, gallery);
    std::nth_element(list_.begin(), list_.begin() + (k - 1), list_.end(), better);
    list_.resize(static_cast<size_t>(k));
  }

 private:
  std::vector<Candidate> list_;
  float threshold_ = kNothing;
};

struct Search {
  const float* queries;
  Tensor queries_QD;
  const Gallery& gallery;
  int64_t Q, k;
  std::vector<float> query_norm;  // [Q]
};

/// Rows [row, row + T) as float32 [T, D].
Tensor tile_of(const Gallery& gallery, int64_t row, int64_t T) {
  const Tensor tile_TD = gallery.rows_ND.narrow(0, row, T);
  if (gallery.float16 == nullptr) return tile_TD;
  Tensor widened_TD = at::empty({T, gallery.D}, at::kFloat);
  to_float(gallery.float16 + row * gallery.D, T * gallery.D, widened_TD.mutable_data_ptr<float>());
  return widened_TD;
}

/// The largest norm among tile rows [row, row + T): read once in the life of the gallery's norms.
double norm_of_tile(const Gallery& gallery, int64_t row, int64_t T) {
  float& norm = gallery.tile_norms[row / kGalleryTile];
  if (!std::isnan(norm)) return norm;
  const Tensor tile_TD = tile_of(gallery, row, T);
  const float square = largest_square(tile_TD.const_data_ptr<float>(), T, gallery.D);
  if (!std::isfinite(square)) fail_non_finite("gallery rows");
  norm = std::sqrt(square);
  return norm;
}

/// Scores of tile rows [row, row + T) for all queries.
void score_tile(const Search& s, int64_t row, int64_t T, Tensor& scores_QT) {
  const Gallery& gallery = s.gallery;
  const int64_t D = gallery.D;
  if (s.Q > kFewQueries) {
    at::mm_out(scores_QT, s.queries_QD, tile_of(gallery, row, T).t());
    return;
  }
  float* scores = scores_QT.mutable_data_ptr<float>();
  const float* query = s.queries;
  for (int64_t q = 0; q < s.Q; ++q, query += D, scores += T) {
    if (gallery.float16 == nullptr)
      score_rows(query, gallery.float32 + row * D, T, D, scores);
    else
      half_scores(query, gallery.float16 + row * D, T, D, scores);
  }
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
    largest_norm = std::max(largest_norm, norm_of_tile(s.gallery, row, T));
    score_tile(s, row, T, scores_QT);
    for (int64_t q = 0; q < s.Q; ++q) {
      const float* scores = scores_QT.const_data_ptr<float>() + q * T;
      Shortlist& list = lists_Q[static_cast<size_t>(q)];
      const int64_t found = collect(scores, T, list.threshold(), places.data());
      if (found == 0) continue;
      list.add(scores, places.data(), found, row);
      const double margin =
          kMargin * std::max(1.0, largest_norm * s.query_norm[static_cast<size_t>(q)]);
      list.prune(s.k, static_cast<float>(margin), s.queries + q * s.gallery.D, s.gallery);
    }
  }
}

void search_block(const Search& s, float* scores_Qk, int64_t* indices_Qk) {
  const int64_t N = s.gallery.N, tiles = (N + kTile - 1) / kTile,
                C = std::clamp<int64_t>(tiles / 4, 1, at::get_num_threads());
  std::vector<std::vector<Shortlist>> lists_CQ(static_cast<size_t>(C),
                                               std::vector<Shortlist>(static_cast<size_t>(s.Q)));
  const std::atomic<bool>* cancel = cancel_flag();
  at::parallel_for(0, C, 1, [&](int64_t first, int64_t last) {
    const at::AutoDispatchBelowADInplaceOrView below;  // workers do not inherit the caller's
    const CancelScope scope(cancel);
    for (int64_t c = first; c < last; ++c)
      search_chunk(s, tiles * c / C * kTile, std::min(N, tiles * (c + 1) / C * kTile),
                   lists_CQ[static_cast<size_t>(c)]);
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
      score_exactly(all, s.queries + q * s.gallery.D, s.gallery);
      std::partial_sort(all.begin(), all.begin() + s.k, all.end(), better);
      for (int64_t i = 0; i < s.k; ++i) {
        scores_Qk[q * s.k + i] = all[static_cast<size_t>(i)].score;
        indices_Qk[q * s.k + i] = all[static_cast<size_t>(i)].row;
      }
    }
  });
}

std::tuple<Tensor, Tensor> top_k_cpu(const Tensor& queries_QD, const Tensor& gallery_ND, int64_t k,
                                     const std::optional<Tensor>& tile_norms) {
  TORCH_CHECK(
      queries_QD.dim() == 2 && gallery_ND.dim() == 2 && queries_QD.size(1) == gallery_ND.size(1),
      "top_k: expected queries [Q, D] and gallery [N, D], got ", queries_QD.sizes(), " and ",
      gallery_ND.sizes());
  const bool is_half = gallery_ND.scalar_type() == at::kHalf;
  TORCH_CHECK(
      queries_QD.scalar_type() == at::kFloat && (is_half || gallery_ND.scalar_type() == at::kFloat),
      "top_k: expected float32 queries and a float32 or float16 gallery, got ",
      queries_QD.scalar_type(), " and ", gallery_ND.scalar_type());
  TORCH_CHECK(k >= 1 && k <= gallery_ND.size(0), "top_k: expected k in [1, ", gallery_ND.size(0),
              "], got ", k);
  const Tensor queries = queries_QD.contiguous(), rows_ND = gallery_ND.contiguous();
  const Tensor norms = tile_norms ? *tile_norms : unknown_tile_norms(rows_ND.size(0));
  TORCH_CHECK(norms.scalar_type() == at::kFloat && norms.is_contiguous() &&
                  norms.numel() == unknown_tile_norms(rows_ND.size(0)).numel(),
              "top_k: expected float32 norms of every ", kTile, " gallery rows, got ",
              norms.scalar_type(), " ", norms.sizes());
  const Gallery gallery{rows_ND,
                        is_half ? nullptr : rows_ND.const_data_ptr<float>(),
                        is_half ? rows_ND.const_data_ptr<at::Half>() : nullptr,
                        rows_ND.size(0),
                        rows_ND.size(1),
                        norms.mutable_data_ptr<float>()};
  const int64_t Q = queries.size(0);
  if (!queries.isfinite().all().item<bool>()) fail_non_finite("queries");
  Tensor scores_Qk = at::empty({Q, k}, queries.options()),
         indices_Qk = at::empty({Q, k}, queries.options().dtype(at::kLong));
  for (int64_t q = 0; q < Q; q += kQueryBlock) {
    const Tensor block = queries.narrow(0, q, std::min(kQueryBlock, Q - q));
    const Tensor query_norms = block.norm(2, 1).contiguous();
    const float* norm = query_norms.const_data_ptr<float>();
    const Search s{block.const_data_ptr<float>(),
                   block,
                   gallery,
                   block.size(0),
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
