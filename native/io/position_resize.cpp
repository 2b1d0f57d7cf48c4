#include "io/position_resize.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace cots::io {
namespace {

using at::Tensor;

constexpr int64_t kClsRows = 3;
constexpr int64_t kSmallestSide = 5;  // a spline with the ends below wants four points

int64_t square_root(int64_t n) {
  return static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(n))));
}

/// Where the `side` old offsets lie so that they span `to` of them. BEiT's bisection, step by step:
/// its q is off by up to 1e-6, and the spline with it.
std::vector<double> geometric_offsets(int64_t side, int64_t to) {
  const int64_t terms = side / 2;
  const auto power = [](double q, int64_t n) { return std::pow(q, static_cast<double>(n)); };
  double low = 1.01, high = 1.5, q = low;
  while (high - low > 1e-6) {
    q = (low + high) / 2;
    const double reach = (1 - power(q, terms)) / (1 - q);
    (reach > static_cast<double>(to / 2) ? high : low) = q;
  }
  std::vector<double> places(static_cast<size_t>(side), 0.0);
  double offset = 0;
  for (int64_t i = 0; i < terms; ++i) {
    offset += power(q, i);
    places[static_cast<size_t>(terms + 1 + i)] = offset;
    places[static_cast<size_t>(terms - 1 - i)] = -offset;
  }
  return places;
}

/// Second derivatives, at the knots x, of the cubic spline through values there, as a matrix
/// [n, n] on the values. Ends "not-a-knot": the third derivative does not jump at the second and
/// the last but one (which is what scipy's and FITPACK's interpolating splines do).
Tensor second_derivatives(const std::vector<double>& x) {
  const auto n = static_cast<int64_t>(x.size());
  Tensor left = at::zeros({n, n}, at::kDouble), right = at::zeros({n, n}, at::kDouble);
  auto a = left.accessor<double, 2>(), b = right.accessor<double, 2>();
  const auto h = [&](int64_t i) {
    return x[static_cast<size_t>(i + 1)] - x[static_cast<size_t>(i)];
  };
  for (int64_t i = 1; i + 1 < n; ++i) {
    a[i][i - 1] = h(i - 1), a[i][i] = 2 * (h(i - 1) + h(i)), a[i][i + 1] = h(i);
    b[i][i - 1] = 6 / h(i - 1), b[i][i + 1] = 6 / h(i), b[i][i] = -6 / h(i - 1) - 6 / h(i);
  }
  a[0][0] = h(1), a[0][1] = -h(0) - h(1), a[0][2] = h(0);
  a[n - 1][n - 1] = h(n - 3), a[n - 1][n - 2] = -h(n - 3) - h(n - 2), a[n - 1][n - 3] = h(n - 2);
  return at::linalg_solve(left, right);
}

/// The spline read at the whole numbers -to/2 .. to/2 as a matrix [to, n] on the values at x.
/// Beyond the ends the end is read.
Tensor spline_matrix(const std::vector<double>& x, int64_t to) {
  const auto n = static_cast<int64_t>(x.size());
  const Tensor curvature_nn = second_derivatives(x), values_nn = at::eye(n, at::kDouble);
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < to; ++i) {
    const double t = std::clamp(static_cast<double>(i - to / 2), x.front(), x.back());
    const auto above = std::upper_bound(x.begin() + 1, x.end() - 1, t);
    const int64_t k = above - x.begin() - 1;
    const double h = *above - *(above - 1), u = (*above - t) / h, v = 1 - u;
    rows.push_back(u * values_nn[k] + v * values_nn[k + 1] +
                   h * h / 6 *
                       ((u * u * u - u) * curvature_nn[k] + (v * v * v - v) * curvature_nn[k + 1]));
  }
  return at::stack(rows);
}

}  // namespace

Tensor resize_positions(const Tensor& positions_1Ld, int64_t to) {
  const int64_t d = positions_1Ld.size(2), patches = positions_1Ld.size(1) - 1;
  const int64_t from = square_root(patches);
  if (from * from != patches || from == to) return positions_1Ld;
  const Tensor old_1dgg =
      positions_1Ld.narrow(1, 1, patches).view({1, from, from, d}).permute({0, 3, 1, 2});
  const Tensor new_1dgg = at::upsample_bicubic2d(old_1dgg, {to, to}, /*align_corners=*/false);
  return at::cat({positions_1Ld.narrow(1, 0, 1), new_1dgg.flatten(2).transpose(1, 2)}, 1);
}

Tensor resize_relative_bias(const Tensor& table_NH, int64_t to) {
  const int64_t offsets = table_NH.size(0) - kClsRows, heads = table_NH.size(1);
  const int64_t side = square_root(offsets), new_side = 2 * to - 1;
  if (side * side != offsets || side % 2 == 0 || side < kSmallestSide || side == new_side)
    return table_NH;
  const Tensor matrix_ts = spline_matrix(geometric_offsets(side, new_side), new_side);
  const Tensor old_Hss =
      table_NH.narrow(0, 0, offsets).view({side, side, heads}).permute({2, 0, 1}).to(at::kDouble);
  const Tensor new_Htt = at::matmul(at::matmul(matrix_ts, old_Hss), matrix_ts.t());
  return at::cat({new_Htt.permute({1, 2, 0}).reshape({-1, heads}).to(at::kFloat),
                  table_NH.narrow(0, offsets, kClsRows)});
}

}  // namespace cots::io
