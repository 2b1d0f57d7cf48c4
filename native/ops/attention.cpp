// Legend: M rows of all sequences, S sequences, L rows of one, d width, H heads of width w.
#include "ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "ops/dispatch.h"

namespace cots::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& rows_M,
                        const OptionalTensor& query_Sd, const Tensor& starts, int64_t heads,
                        bool causal) {
    static const auto op =
        find_op<Tensor(const Tensor&, const OptionalTensor&, const Tensor&, int64_t, bool)>(
            "cots::attention");
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({rows_M, query_Sd.value_or(Tensor())});
    context->saved_data["starts"] = starts;
    context->saved_data["heads"] = heads;
    context->saved_data["causal"] = causal;
    return op.call(rows_M, query_Sd, starts, heads, causal);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    static const auto op = find_op<std::tuple<Tensor, Tensor>(
        const Tensor&, const Tensor&, const OptionalTensor&, const Tensor&, int64_t, bool)>(
        "cots::attention_backward");
    variable_list out(5);
    if (!grads[0].defined()) return out;
    const auto saved = context->get_saved_variables();
    std::tie(out[0], out[1]) =
        op.call(grads[0], saved[0], saved[1].defined() ? OptionalTensor(saved[1]) : std::nullopt,
                context->saved_data["starts"].toTensor(), context->saved_data["heads"].toInt(),
                context->saved_data["causal"].toBool());
    return out;
  }
};

}  // namespace

Tensor attention(const AttentionArguments& a) {
  return AttentionFunction::apply(a.rows_M,
                                  a.query_Sd.defined() ? OptionalTensor(a.query_Sd) : std::nullopt,
                                  a.starts, a.heads, a.causal);
}

Tensor attention_composite(const AttentionArguments& a) {
  const bool first = a.query_Sd.defined();
  const int64_t H = a.heads, d = a.rows_M.size(1) / (first ? 2 : 3);
  const auto heads_of = [&](const Tensor& x_Ld) {
    return x_Ld.reshape({x_Ld.size(0), H, d / H}).transpose(0, 1);
  };
  const int64_t* starts = a.starts.const_data_ptr<int64_t>();
  std::vector<Tensor> mixed;
  for (int64_t s = 0; s + 1 < a.starts.numel(); ++s) {
    const int64_t L = starts[s + 1] - starts[s];
    const auto parts = a.rows_M.narrow(0, starts[s], L).split(d, 1);
    const Tensor q_HLw = heads_of(first ? a.query_Sd.narrow(0, s, 1) : parts[0]);
    const Tensor k_HLw = heads_of(parts[first ? 0 : 1]), v_HLw = heads_of(parts[first ? 1 : 2]);
    Tensor scores_HLL = q_HLw.matmul(k_HLw.transpose(1, 2)) / std::sqrt(static_cast<double>(d / H));
    if (a.causal)
      scores_HLL =
          scores_HLL + at::full({scores_HLL.size(1), L}, -std::numeric_limits<double>::infinity(),
                                scores_HLL.options())
                           .triu(1);
    mixed.push_back(
        scores_HLL.softmax(-1).matmul(v_HLw).transpose(0, 1).reshape({q_HLw.size(1), d}));
  }
  return at::cat(mixed);
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def("attention(Tensor rows, Tensor? query, Tensor starts, int heads, bool causal) -> Tensor");
  m.def(
      "attention_backward(Tensor grad, Tensor rows, Tensor? query, Tensor starts, int heads, bool "
      "causal) -> (Tensor grad_rows, Tensor grad_query)");
}

}  // namespace cots::ops
