// All weights of a network as named views of one flat float32 buffer, so that the optimizer, the
// EMA and the gradient norm are single passes over contiguous memory and a checkpoint is a list of
// names.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cots {

using at::Tensor;

/// How a new parameter is filled before a checkpoint replaces it. Draws come from the counter-based
/// generator keyed by (seed, name), so that adding a parameter never changes the others.
struct Init {
  enum class Kind {
    kZeros,
    kOnes,
    kTruncatedNormal,
    kNormal,
    kConstant,
    kWeight
  } kind = Kind::kZeros;
  double value = 0;  // standard deviation, or the constant
  static Init zeros() { return {}; }
  static Init ones() { return {Kind::kOnes, 1}; }
  static Init truncated_normal(double std) { return {Kind::kTruncatedNormal, std}; }
  /// A weight matrix [out, in...]: by the set's WeightInit. `gain` scales the fan-in rule only.
  static Init weight(double gain = 1) { return {Kind::kWeight, gain}; }
  static Init normal(double std) { return {Kind::kNormal, std}; }
  static Init constant(double v) { return {Kind::kConstant, v}; }
};

/// How weight matrices of a transformer start: truncated normal with standard deviation 0.02 (BERT,
/// BEiT, timm's ViT: right for widths near 768), or 1 / sqrt(fan-in), with the outputs of residual
/// branches scaled by 1 / sqrt(2 layers) (Radford et al. 2019). At width 128 the fixed 0.02 is 4.4
/// times smaller than the latter, and a short run stays long on its first plateau.
enum class WeightInit { kFixed, kFanIn };

struct Parameter {
  std::string name;  // full name, e.g. visual.blocks.0.ln1.weight
  Tensor value;      // view of the flat buffer once flattened
  bool decay;        // false: 1-D, bias, LN, pos_embed, cls/mask tokens (SPEC 2.5 optim.no_decay)
};

class Parameters {
 public:
  /// Without a seed nothing is drawn and every value starts at zero, in memory that flatten()
  /// takes: for a network whose weights are copied or loaded.
  explicit Parameters(std::optional<int64_t> seed, WeightInit weights = WeightInit::kFixed)
      : seed_(seed), weights_(weights) {}
  Parameters(const Parameters&) = delete;

  /// Registers and initializes a parameter. `decay` asks for weight decay; a tensor of rank 0 or 1
  /// never gets it.
  Tensor add(const std::string& name, at::IntArrayRef shape, Init init, bool decay);

  /// Moves every parameter into one buffer (handles given out by add() stay valid). Call once,
  /// after the last add().
  void flatten(bool requires_grad);

  /// Moves the buffer, after flatten(), to another device or number type; handles given out by
  /// add() follow it, gradients are zero then. Not during a forward pass.
  void move(at::Device device, at::ScalarType type);

  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter* find(const std::string& name) const;
  int64_t count() const;  // scalars
  /// Flat float32 [count]; and the gradient buffer of the same layout (each .grad is a view of it),
  /// if trainable.
  const Tensor& flat() const { return flat_; }
  const Tensor& flat_grad() const { return flat_grad_; }
  void zero_grad();

 private:
  template <typename Fill>
  void bind(Fill fill);
  std::optional<int64_t> seed_;
  WeightInit weights_;
  std::vector<Parameter> parameters_;
  Tensor flat_, flat_grad_;
};

/// A prefix into Parameters: `scope.child("blocks.0").add("ln1.weight", ...)`.
class Scope {
 public:
  Scope(Parameters& parameters, std::string prefix)
      : parameters_(&parameters), prefix_(std::move(prefix)) {}
  Scope child(const std::string& name) const { return {*parameters_, join(name)}; }
  Tensor add(const std::string& name, at::IntArrayRef shape, Init init, bool decay) const {
    return parameters_->add(join(name), shape, init, decay);
  }

 private:
  std::string join(const std::string& name) const {
    return prefix_.empty() ? name : prefix_ + "." + name;
  }
  Parameters* parameters_;
  std::string prefix_;
};

}  // namespace cots
