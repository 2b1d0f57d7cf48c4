// Scores of a tile of the gallery in float32, candidates by a threshold that only rises, and the
// last word by exact_dot. A thread keeps about 2k candidates a query; no [Q, N] matrix is formed.
// Why the threshold loses nothing: a float32 score is off by less than half of `margin`, so
// whatever scores `margin` below the k-th best seen cannot be among the k best. Legend: Q queries,
// N gallery rows, D embedding, k results, T rows of a tile, C queries filled up to whole panels.
#include "ops/top_k.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cancel.h"
#include "ops/cpu/half_rows.h"
#include "ops/cpu/top_k_kernels.h"
#include "ops/exact_dot.h"

namespace cots::ops {
namespace {

constexpr int64_t kQueryBlock = 256, kTile = kGalleryTile;
constexpr int64_t kFewQueries =
    2;  // up to here the gallery's bandwidth decides, and a dot product each beats a tile of them
constexpr int64_t kScoredRows = 128;  // they and their scores stay in the second-level cache
constexpr float kNothing = -INFINITY;

struct Candidate {
  float score;
  int64_t row;
};

/// Best first; equal scores by lower row.
bool better(const Candidate& x, const Candidate& y) {
  return x.score != y.score ? x.score > y.score : x.row < y.row;
}

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
  /// What scores lower cannot be among the k best; `margin` for the row with the largest norm.
  float threshold(float margin) const { return kth_ - margin; }
  const std::vector<Candidate>& list() const { return list_; }

  void add(float score, int64_t row) {
    if (!std::isfinite(score)) fail_non_finite("scores");
    list_.push_back({score, row});
  }

  /// Drops what cannot be among the k best any more. Ties may leave too many: then the exact order
  /// decides at once.
  void prune(int64_t k, float margin, const float* query, const Gallery& gallery) {
    const auto limit = static_cast<size_t>(2 * k + 64);
    if (list_.size() <= limit) return;
    const auto kth = list_.begin() + (k - 1);
    std::nth_element(list_.begin(), kth, list_.end(), better);
    kth_ = std::max(kth_, kth->score);
    std::erase_if(list_, [&](const Candidate& c) { return c.score < threshold(margin); });
    if (list_.size() <= limit) return;
    score_exactly(list_, query, gallery);
    std::nth_element(list_.begin(), list_.begin() + (k - 1), list_.end(), better);
    list_.resize(static_cast<size_t>(k));
  }

 private:
  std::vector<Candidate> list_;
  float kth_ = kNothing;  // the k-th best score of those seen, or a lower one
};

struct Search {
  const float* queries;
  const Gallery& gallery;
  int64_t Q, k;
  std::vector<float> query_norm;  // [Q]
  std::vector<float> panels;      // of many queries; empty for few

  int64_t C() const { return panels_of(Q) * kLanes; }

  /// Twice what a float32 score of rows up to that norm can be off: a sum of D products in any
  /// order is within D * 2^-24 of the product of the norms (Higham 2002, 3.1; to first order).
  float margin(int64_t q, double largest_norm) const {
    return static_cast<float>(2.1 * std::ldexp(static_cast<double>(gallery.D), -24) * largest_norm *
                              query_norm[static_cast<size_t>(q)]);
  }
  const float* query(int64_t q) const { return queries + q * gallery.D; }
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

/// The shortlists of a chunk and the memory that they are made with.
struct Scan {
  std::vector<Shortlist>& lists_Q;
  double largest_norm = 0;  // of the rows so far
  std::vector<float> scores{};
  std::vector<int32_t> places{};
  std::vector<float> thresholds{};  // [C], of many queries: a copy side by side
};

/// Tile rows [row, row + T) for each query by itself.
void scan_for_few(const Search& s, int64_t row, int64_t T, Scan& scan) {
  const Gallery& gallery = s.gallery;
  const int64_t D = gallery.D;
  for (int64_t q = 0; q < s.Q; ++q) {
    if (gallery.float16 == nullptr)
      score_rows(s.query(q), gallery.float32 + row * D, T, D, scan.scores.data());
    else
      half_scores(s.query(q), gallery.float16 + row * D, T, D, scan.scores.data());
    Shortlist& list = scan.lists_Q[static_cast<size_t>(q)];
    const float margin = s.margin(q, scan.largest_norm);
    const int64_t found =
        collect_rows(scan.scores.data(), T, list.threshold(margin), scan.places.data());
    if (found == 0) continue;
    for (int64_t i = 0; i < found; ++i)
      list.add(scan.scores[static_cast<size_t>(scan.places[static_cast<size_t>(i)])],
               row + scan.places[static_cast<size_t>(i)]);
    list.prune(s.k, margin, s.query(q), gallery);
  }
}

/// Tile rows [row, row + T) for all queries side by side.
void scan_for_many(const Search& s, int64_t row, int64_t T, Scan& scan) {
  const int64_t C = s.C();
  const Tensor rows_TD = tile_of(s.gallery, row, T);
  score_panels(rows_TD.const_data_ptr<float>(), T, s.gallery.D, s.panels.data(), C,
               scan.scores.data());
  for (int64_t t = 0; t < T; ++t) {
    const float* scores = scan.scores.data() + t * C;
    const int64_t found = collect_queries(scores, C, scan.thresholds.data(), scan.places.data());
    for (int64_t i = 0; i < found; ++i) {
      const int64_t q = scan.places[static_cast<size_t>(i)];
      if (q >= s.Q) continue;  // a column that fills the panel; only NaN comes so far
      Shortlist& list = scan.lists_Q[static_cast<size_t>(q)];
      const float margin = s.margin(q, scan.largest_norm);
      list.add(scores[q], row + t);
      list.prune(s.k, margin, s.query(q), s.gallery);
      scan.thresholds[static_cast<size_t>(q)] = list.threshold(margin);
    }
  }
}

/// The shortlists of all queries over gallery rows [begin, end).
void search_chunk(const Search& s, int64_t begin, int64_t end, std::vector<Shortlist>& lists_Q) {
  const bool is_many = !s.panels.empty();
  Scan scan{lists_Q};
  scan.scores.resize(static_cast<size_t>(is_many ? kScoredRows * s.C() : kTile));
  scan.places.resize(static_cast<size_t>(std::max(kTile, s.C())));
  scan.thresholds.assign(static_cast<size_t>(s.C()), INFINITY);
  for (int64_t tile = begin; tile < end; tile += kTile) {
    check_cancelled();
    const int64_t tile_end = std::min(tile + kTile, end);
    scan.largest_norm = std::max(scan.largest_norm, norm_of_tile(s.gallery, tile, tile_end - tile));
    if (!is_many) {
      scan_for_few(s, tile, tile_end - tile, scan);
      continue;
    }
    for (int64_t q = 0; q < s.Q; ++q)
      scan.thresholds[static_cast<size_t>(q)] =
          lists_Q[static_cast<size_t>(q)].threshold(s.margin(q, scan.largest_norm));
    for (int64_t row = tile; row < tile_end; row += kScoredRows)
      scan_for_many(s, row, std::min(kScoredRows, tile_end - row), scan);
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
  check_top_k(queries_QD, gallery_ND, k);
  const bool is_half = gallery_ND.scalar_type() == at::kHalf;
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
    const float* rows = block.const_data_ptr<float>();
    const int64_t count = block.size(0);
    const Search s{
        rows,
        gallery,
        count,
        k,
        std::vector<float>(norm, norm + count),
        count > kFewQueries ? pack_queries(rows, count, gallery.D) : std::vector<float>{}};
    search_block(s, scores_Qk.mutable_data_ptr<float>() + q * k,
                 indices_Qk.mutable_data_ptr<int64_t>() + q * k);
  }
  return {scores_Qk, indices_Qk};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("top_k", top_k_cpu); }

}  // namespace cots::ops
