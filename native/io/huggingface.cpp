#include "io/huggingface.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "io/failure.h"
#include "io/safetensors.h"
#include "model/text.h"
#include "model/vision.h"

namespace cots::io {
namespace {

using at::Tensor;
using Renames =
    std::vector<std::pair<std::string_view, std::string_view>>;  // Hugging Face -> internal

constexpr int64_t kMaskTokenSeed = 0;

/// How the names of one Hugging Face model become those of one tower.
struct Dialect {
  std::string_view model, tower;           // ViTModel, visual
  std::vector<std::string_view> prefixes;  // of whole models that hold this one
  Renames outside, inside;  // of a layer; `inside` also has the q, k, v of each spelling
};

const Dialect kVit = {"ViTModel",
                      "visual",
                      {"module.", "vit."},
                      {{"embeddings.cls_token", "cls_token"},
                       {"embeddings.mask_token", "mask_token"},
                       {"embeddings.position_embeddings", "pos_embed"},
                       {"embeddings.patch_embeddings.projection", "patch"},
                       {"layernorm", "norm"}},
                      {{"layernorm_before", "ln1"},
                       {"layernorm_after", "ln2"},
                       {"attention.attention.query", "q"},
                       {"attention.attention.key", "k"},
                       {"attention.attention.value", "v"},
                       {"attention.output.dense", "proj"},
                       {"intermediate.dense", "fc1"},
                       {"output.dense", "fc2"},
                       // transformers 5 in memory
                       {"attention.q_proj", "q"},
                       {"attention.k_proj", "k"},
                       {"attention.v_proj", "v"},
                       {"attention.o_proj", "proj"},
                       {"mlp.fc1", "fc1"},
                       {"mlp.fc2", "fc2"}}};

const Dialect kBert = {
    "BertModel",
    "text",
    {"module.", "bert."},
    {{"embeddings.word_embeddings", "embed.word"},
     {"embeddings.position_embeddings", "embed.pos"},
     {"embeddings.token_type_embeddings", "embed.type"},
     {"embeddings.LayerNorm", "embed.ln"}},
    {{"attention.output.LayerNorm", "ln1"},  // post-LN: after the attention, after the MLP
     {"output.LayerNorm", "ln2"},
     {"attention.self.query", "q"},
     {"attention.self.key", "k"},
     {"attention.self.value", "v"},
     {"attention.output.dense", "proj"},
     {"intermediate.dense", "fc1"},
     {"output.dense", "fc2"}}};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// `module.weight` by the table, with the last part spelled as today.
std::optional<std::string> rename(std::string_view name, const Renames& table) {
  const size_t dot = name.rfind('.');
  std::string_view stem = name, last;
  if (const auto tail = dot == std::string_view::npos ? "" : name.substr(dot + 1);
      tail == "weight" || tail == "bias" || tail == "gamma" || tail == "beta") {
    stem = name.substr(0, dot);
    last = tail == "gamma" ? ".weight" : tail == "beta" ? ".bias" : name.substr(dot);
  }
  for (const auto& [theirs, ours] : table)
    if (stem == theirs) return std::string(ours) + std::string(last);
  return std::nullopt;
}

std::optional<std::string> internal_name(std::string_view name, const Dialect& dialect) {
  for (const auto prefix : dialect.prefixes) take_prefix(name, prefix);
  const std::string tower = std::string(dialect.tower) + ".";
  if (take_prefix(name, "encoder.layer.") || take_prefix(name, "layers.")) {
    const size_t dot = name.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const auto inside = rename(name.substr(dot + 1), dialect.inside);
    if (!inside) return std::nullopt;
    return tower + "blocks." + std::string(name.substr(0, dot)) + "." + *inside;
  }
  const auto outside = rename(name, dialect.outside);
  return outside ? std::optional(tower + *outside) : std::nullopt;
}

/// Position rows of another grid: CLS row kept, patch rows resampled (SPEC 6.3).
Tensor interpolate_positions(const Tensor& positions_1Ld, int64_t grid) {
  const int64_t d = positions_1Ld.size(2), patches = positions_1Ld.size(1) - 1;
  const auto old_grid = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  if (old_grid * old_grid != patches || old_grid == grid) return positions_1Ld;
  const Tensor old_1dgg =
      positions_1Ld.narrow(1, 1, patches).view({1, old_grid, old_grid, d}).permute({0, 3, 1, 2});
  const Tensor new_1dgg = at::upsample_bicubic2d(old_1dgg, {grid, grid}, /*align_corners=*/false);
  return at::cat({positions_1Ld.narrow(1, 0, 1), new_1dgg.flatten(2).transpose(1, 2)}, 1);
}

/// The tensors of one file by internal name; what has no place is added to `unused`.
class Source {
 public:
  Source(const std::string& file, const Dialect& dialect, std::vector<std::string>& unused)
      : file_(file), model_(dialect.model) {
    for (const auto& [name, value] : read_safetensors(file)) {
      if (const auto ours = internal_name(name, dialect))
        values_[*ours] = value.to(at::kFloat);
      else
        unused.push_back(name);
    }
  }

  std::optional<Tensor> find(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }

  /// One tensor, or q, k and v one below the other for a fused one.
  Tensor get(const std::string& name) const {
    const size_t fused = name.find("qkv.");
    if (fused == std::string::npos) return require(name);
    const std::string block = name.substr(0, fused), last = name.substr(fused + 3);
    return at::cat(
        {require(block + "q" + last), require(block + "k" + last), require(block + "v" + last)});
  }

  const std::string& file() const { return file_; }

 private:
  Tensor require(const std::string& name) const {
    if (const auto value = find(name)) return *value;
    throw Failure("ERR_COTS_CHECKPOINT",
                  "Expected the weights of a " + model_ + " in " + file_ +
                      ", but the tensor for '" + name +
                      "' is not there. Check the file and the number of layers in its config.");
  }
  std::string file_, model_;
  std::map<std::string, Tensor> values_;
};

/// The weights that a tower of this size has, in its own order.
void convert(const Parameters& wanted, const Source& source, int64_t grid, NamedTensors& out,
             ImportReport& report) {
  for (const Parameter& parameter : wanted.all()) {
    Tensor value;
    if (parameter.name == "visual.mask_token" && !source.find(parameter.name)) {
      value = parameter.value;
      report.missing.push_back(parameter.name);
    } else {
      value = source.get(parameter.name);
    }
    if (parameter.name == "visual.pos_embed" && value.dim() == 3)
      value = interpolate_positions(value, grid);
    if (value.sizes() != parameter.value.sizes())
      throw Failure("ERR_COTS_CHECKPOINT",
                    c10::str("Expected '", parameter.name, "' of shape ", parameter.value.sizes(),
                             " in ", source.file(), ", got ", value.sizes(),
                             ". Import with the sizes of the model's own config.json."));
    out.emplace_back(parameter.name, value.contiguous());
  }
}

}  // namespace

ImportReport import_hugging_face(const ModelConfig& config, const std::string& image_file,
                                 const std::string& text_file, const std::string& out_file) {
  ImportReport report;
  NamedTensors out;
  {
    Parameters visual(kMaskTokenSeed);  // drawn for the mask token alone
    const Vision vision(config.image, Scope(visual, "visual"));
    convert(visual, Source(image_file, kVit, report.unused), config.image.grid(), out, report);
  }
  {
    Parameters text(std::nullopt);
    const Text tower(config.text, Scope(text, "text"));
    convert(text, Source(text_file, kBert, report.unused), 0, out, report);
  }
  if (config.has_projection())
    for (const char* name :
         {"visual.proj.weight", "visual.proj.bias", "text.proj.weight", "text.proj.bias"})
      report.missing.emplace_back(name);
  write_safetensors(out_file, out, {{"format", "pt"}});
  return report;
}

}  // namespace cots::io
