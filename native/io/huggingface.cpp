#include "io/huggingface.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "io/failure.h"
#include "io/position_resize.h"
#include "io/safetensors.h"
#include "model/cots.h"
#include "model/weights.h"

namespace cots::io {
namespace {

using at::Tensor;

constexpr int64_t kMaskTokenSeed = 0;
constexpr double kMaskTokenStd = 0.02;
const std::string kMaskToken = "visual.mask_token", kScale = "loss.logit_scale",
                  kDistillation = "visual.distillation_token", kSharedBias = "visual.rel_bias";

[[noreturn]] void refuse(const std::string& message) {
  throw Failure("ERR_COTS_CHECKPOINT", message);
}

bool ends_with_one_of(const std::string& name, const std::vector<std::string_view>& ends) {
  return std::any_of(ends.begin(), ends.end(), [&](auto end) { return name.ends_with(end); });
}

bool is_projection(const std::string& name) {
  return has_prefix(name, "visual.proj.") || has_prefix(name, "text.proj.");
}

bool is_of(const std::string& name, const TowerNames& tower) {
  return has_prefix(name, (std::string(tower.tower) + ".").c_str());
}

/// The mask token of a model that never had one: the same in every import.
Tensor drawn_mask_token(int64_t width) {
  Parameters parameters(kMaskTokenSeed);
  return parameters.add(kMaskToken, {1, 1, width}, Init::truncated_normal(kMaskTokenStd), false);
}

// ------------------------------------------------------------------------------------- import

/// The tensors of one checkpoint by internal name; what has no place is added to `unused`.
class Source {
 public:
  Source(const ImportSource& source, std::vector<std::string>& unused)
      : dialect_(dialect_of(source.family)), file_(source.files.front()) {
    for (const std::string& file : source.files)
      for (const auto& [name, value] : read_safetensors(file)) add(file, name, value, unused);
    drop_distillation(unused);
  }

  /// The value of a parameter, put together from its parts; nothing if it is not there.
  std::optional<Tensor> find(const std::string& name) {
    const size_t fused = name.find(".qkv.");
    if (fused != std::string::npos)
      return joined(name.substr(0, fused + 1), name.substr(fused + 4));
    return name.ends_with(".rel_bias") ? relative_bias(name) : take(name);
  }

  /// Zeros where this family has no such parameter; nothing where it should have it.
  std::optional<Tensor> absent(const std::string& name, at::IntArrayRef shape) const {
    return ends_with_one_of(name, dialect_.absent_is_zero) ? std::optional(at::zeros(shape))
                                                           : std::nullopt;
  }

  bool covers(const std::string& name) const {
    return std::any_of(dialect_.towers.begin(), dialect_.towers.end(),
                       [&](const TowerNames& tower) { return is_of(name, tower); });
  }

  [[noreturn]] void refuse_missing(const std::string& name) const {
    refuse("Expected the weights of a " + std::string(dialect_.model) + " in " + file_ +
           ", but the tensor for '" + name +
           "' is not there. Check the file and the sizes in its config.");
  }

  /// What was read and has not been taken is of another model than the config's.
  void refuse_rest() const {
    for (const auto& [name, value] : values_)
      if (!taken_.contains(name))
        refuse("Expected " + file_ + " to hold a " + std::string(dialect_.model) +
               " of its config's sizes, got the tensor '" + published_.at(name) +
               "', which such a model does not have. Check the number of layers and the options in "
               "its config.json.");
  }

  const std::string& file() const { return file_; }

 private:
  void add(const std::string& file, const std::string& name, const Tensor& value,
           std::vector<std::string>& unused) {
    const Meaning meaning = meaning_of(name, dialect_);
    if (meaning.kind == Meaning::Kind::kLeftOut) return unused.push_back(name);
    if (meaning.kind == Meaning::Kind::kUnknown)
      refuse(
          "Expected " + file + " to hold a " + std::string(dialect_.model) + ", got the tensor '" +
          name +
          "', which such a model does not have. Only plain ViT, DeiT, BEiT, BERT and CLIP weights "
          "can be brought in.");
    if (!values_.emplace(meaning.name, value).second)
      refuse("Expected each tensor of " + file + " once, got '" + name + "' and '" +
             published_.at(meaning.name) + "' for '" + meaning.name +
             "'. Save the model again with save_pretrained.");
    published_[meaning.name] = name;
    require_weight(value, name, file);
  }

  std::optional<Tensor> take(const std::string& name) {
    const auto found = values_.find(name);
    if (found == values_.end()) return std::nullopt;
    taken_.insert(name);
    return found->second.to(at::kFloat);
  }

  /// q, k and v one below the other; a bias that the family does not have is zero.
  std::optional<Tensor> joined(const std::string& block, const std::string& last) {
    std::vector<Tensor> parts;
    for (const char* part : {"q", "k", "v"}) {
      const std::string name = block + part + last;
      auto value = take(name);
      if (!value && !parts.empty()) value = absent(name, parts.front().sizes());
      if (!value) refuse_missing(name);
      parts.push_back(*value);
    }
    return at::cat(parts);
  }

  /// The table of a layer, the one all layers share, or their sum.
  std::optional<Tensor> relative_bias(const std::string& name) {
    const auto own = take(name), shared = take(kSharedBias);
    return own && shared ? std::optional(*own + *shared) : own ? own : shared;
  }

  /// DeiT: [CLS, distillation, patches] becomes [CLS, patches].
  void drop_distillation(std::vector<std::string>& unused) {
    if (values_.erase(kDistillation) == 0) return;
    unused.push_back(published_.at(kDistillation));
    const auto positions = values_.find("visual.pos_embed");
    if (positions == values_.end() || positions->second.dim() != 3 || positions->second.size(1) < 3)
      return;
    const Tensor all = positions->second;
    positions->second = at::cat({all.narrow(1, 0, 1), all.narrow(1, 2, all.size(1) - 2)}, 1);
  }

  const Dialect& dialect_;
  std::string file_;
  std::map<std::string, Tensor> values_;
  std::map<std::string, std::string> published_;  // by internal name
  std::set<std::string> taken_;
};

/// A value in the shape that the config asks for, where only the layout or the grid differs.
Tensor fitted(const ModelConfig& config, const std::string& name, const Tensor& value) {
  const int64_t grid = config.image.grid();
  if (name == "visual.cls_token" && value.dim() == 1) return value.view({1, 1, -1});
  if (name.ends_with(".rel_bias") && value.dim() == 2) return resize_relative_bias(value, grid);
  if (name != "visual.pos_embed") return value;
  const Tensor positions = value.dim() == 2 ? value.unsqueeze(0) : value;
  return positions.dim() == 3 ? resize_positions(positions, grid) : positions;
}

/// One weight as it is written; nothing for what may stay away, which is reported.
std::optional<Tensor> converted(const ModelConfig& config, const Parameter& parameter,
                                Source& source, ImportReport& report) {
  const std::string& name = parameter.name;
  if (const auto value = source.find(name)) return fitted(config, name, *value);
  if (const auto zeros = source.absent(name, parameter.value.sizes())) return zeros;
  if (name != kMaskToken && !is_projection(name)) source.refuse_missing(name);
  report.missing.push_back(name);
  return name == kMaskToken ? std::optional(drawn_mask_token(config.image.width)) : std::nullopt;
}

/// The weights of the towers that one checkpoint holds, in the model's own order.
void convert(const ModelConfig& config, const Parameters& wanted, Source& source, NamedTensors& out,
             ImportReport& report) {
  for (const Parameter& parameter : wanted.all()) {
    if (!source.covers(parameter.name)) continue;
    const auto value = converted(config, parameter, source, report);
    if (!value) continue;
    if (value->sizes() != parameter.value.sizes())
      refuse(c10::str("Expected '", parameter.name, "' of shape ", parameter.value.sizes(), " in ",
                      source.file(), ", got ", value->sizes(),
                      ". Import with the sizes of the model's own config.json."));
    out.emplace_back(parameter.name, value->contiguous());
  }
  if (const auto scale = source.find(kScale)) out.emplace_back(kScale, scale->reshape({}));
  source.refuse_rest();
}

// ------------------------------------------------------------------------------------- export

/// A pooler of transformers is a dense layer and tanh, its projection has no bias. tanh(x) is x to
/// the last bit of a float32 for |x| < 2^-12, and a power of two changes no bit of a product: the
/// pooler scales our projection down into that range, the projection scales it back. The rows that
/// the pooler has beyond D are zero.
constexpr double kPoolerScale = 0x1p-24;

void add_pooler(NamedTensors& out, const std::string& tower, const std::string& projection,
                const Tensor& weight_Dd, const Tensor& bias_D) {
  const int64_t D = weight_Dd.size(0), d = weight_Dd.size(1);
  if (D > d)
    refuse(c10::str("Expected a projection no wider than its tower for a dual encoder, got ", D,
                    " from ", d, "."));
  out.emplace_back(tower + ".pooler.dense.weight",
                   at::constant_pad_nd(weight_Dd * kPoolerScale, {0, 0, 0, d - D}));
  out.emplace_back(tower + ".pooler.dense.bias",
                   at::constant_pad_nd(bias_D * kPoolerScale, {0, d - D}));
  out.emplace_back(projection + ".weight", at::eye(D, d) / kPoolerScale);
}

/// A weight under its published name, the parts of a fused one each under its own.
void add_published(NamedTensors& out, const std::string& name, const Tensor& value,
                   const Dialect& dialect) {
  if (const size_t fused = name.find(".qkv."); fused != std::string::npos) {
    const std::vector<Tensor> parts = value.chunk(3);
    for (size_t i = 0; i < 3; ++i)
      add_published(out, name.substr(0, fused + 1) + "qkv"[i] + name.substr(fused + 4), parts[i],
                    dialect);
    return;
  }
  if (ends_with_one_of(name, dialect.absent_is_zero) && !value.any().item<bool>()) return;
  const auto published = published_name(name, dialect);
  if (!published)
    refuse("Expected a model that a " + std::string(dialect.model) + " can hold, got the weight '" +
           name + "', for which it has no place.");
  out.emplace_back(*published, value.clone());
}

/// CLIP keeps its CLS token and image positions without the leading dimensions.
Tensor unfitted(Family family, const std::string& name, const Tensor& value) {
  if (family != Family::kClip) return value;
  if (name == "visual.cls_token") return value.flatten();
  return name == "visual.pos_embed" ? value.squeeze(0) : value;
}

/// The weights of a model file, checked against its config.
std::map<std::string, Tensor> read_model(const ModelConfig& config, const std::string& file) {
  std::map<std::string, Tensor> tensors = read_safetensors(file);
  Parameters parameters(std::nullopt);
  const Towers towers(config, Scope(parameters, "visual"), Scope(parameters, "text"));
  check_weights(parameters, tensors, file, [&](const std::string& name) {
    return name == kMaskToken && !tensors.contains(name) ? "" : name;
  });
  for (auto& [name, value] : tensors) value = value.to(at::kFloat);
  return tensors;
}

}  // namespace

ImportReport import_hugging_face(const ModelConfig& config,
                                 const std::vector<ImportSource>& sources,
                                 const std::string& out_file) {
  Parameters wanted(std::nullopt);
  const Towers towers(config, Scope(wanted, "visual"), Scope(wanted, "text"));
  ImportReport report;
  NamedTensors out;
  for (const ImportSource& given : sources) {
    Source source(given, report.unused);
    convert(config, wanted, source, out, report);
  }
  write_safetensors(out_file, out, {{"format", "pt"}});
  return report;
}

void export_hugging_face(const ModelConfig& config, const std::string& model_file, Family family,
                         const std::string& out_file) {
  const Dialect& dialect = dialect_of(family);
  const std::map<std::string, Tensor> model = read_model(config, model_file);
  NamedTensors out;
  for (const TowerNames& tower : dialect.towers)
    for (const auto& [name, value] : model) {
      if (!is_of(name, tower)) continue;
      if (name == kMaskToken && at::equal(value, drawn_mask_token(config.image.width))) continue;
      if (is_projection(name) && family != Family::kClip) continue;
      add_published(out, name, unfitted(family, name, value), dialect);
    }
  if (family == Family::kDualEncoder) {
    add_pooler(out, "vision_model", "visual_projection", model.at("visual.proj.weight"),
               model.at("visual.proj.bias"));
    add_pooler(out, "text_model", "text_projection", model.at("text.proj.weight"),
               model.at("text.proj.bias"));
  }
  if (const auto scale = model.find(kScale); scale != model.end() && !dialect.whole.empty())
    out.emplace_back(*published_name(kScale, dialect), scale->second);
  write_safetensors(out_file, out, {{"format", "pt"}});
}

}  // namespace cots::io
