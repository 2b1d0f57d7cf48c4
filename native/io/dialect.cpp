#include "io/dialect.h"

#include <c10/util/Exception.h>

namespace cots::io {
namespace {

const std::vector<std::string_view> kLayers = {"encoder.layer.", "layers."};

const Renames kVitOutside = {{"embeddings.cls_token", "cls_token"},
                             {"embeddings.mask_token", "mask_token"},
                             {"embeddings.distillation_token", "distillation_token"},
                             {"embeddings.position_embeddings", "pos_embed"},
                             {"embeddings.patch_embeddings.projection", "patch"},
                             {"layernorm", "norm"}};
const Renames kVitInside = {{"layernorm_before", "ln1"},
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
                            {"mlp.fc2", "fc2"}};

/// The final norm is of all states, or of the pooled one (use_mean_pooling).
Renames beit_outside(const Renames& norms) {
  Renames names = {{"embeddings.cls_token", "cls_token"},
                   {"embeddings.mask_token", "mask_token"},
                   {"embeddings.position_embeddings", "pos_embed"},
                   {"embeddings.patch_embeddings.projection", "patch"},
                   {"encoder.relative_position_bias.relative_position_bias_table", "rel_bias"},
                   {"shared_position_bias.relative_position_bias_table", "rel_bias"}};
  names.insert(names.end(), norms.begin(), norms.end());
  return names;
}
const Renames kBeitInside = [] {
  Renames names = kVitInside;
  names.insert(
      names.end(),
      {{"lambda_1", "gamma1"},
       {"lambda_2", "gamma2"},
       {"attention.attention.relative_position_bias.relative_position_bias_table", "rel_bias"},
       {"attention.relative_position_bias.relative_position_bias_table", "rel_bias"}});
  return names;
}();

const Renames kBertOutside = {{"embeddings.word_embeddings", "embed.word"},
                              {"embeddings.position_embeddings", "embed.pos"},
                              {"embeddings.token_type_embeddings", "embed.type"},
                              {"embeddings.LayerNorm", "embed.ln"}};
const Renames kBertInside = {
    {"attention.output.LayerNorm", "ln1"},  // post-LN: after the attention
    {"output.LayerNorm", "ln2"},            // and after the MLP
    {"attention.self.query", "q"},         {"attention.self.key", "k"},
    {"attention.self.value", "v"},         {"attention.output.dense", "proj"},
    {"intermediate.dense", "fc1"},         {"output.dense", "fc2"}};

const Renames kClipInside = {{"layer_norm1", "ln1"},    {"layer_norm2", "ln2"},
                             {"self_attn.q_proj", "q"}, {"self_attn.k_proj", "k"},
                             {"self_attn.v_proj", "v"}, {"self_attn.out_proj", "proj"},
                             {"mlp.fc1", "fc1"},        {"mlp.fc2", "fc2"}};
const Renames kClipVisionOutside = {{"embeddings.class_embedding", "cls_token"},
                                    {"embeddings.patch_embedding", "patch"},
                                    {"embeddings.position_embedding.weight", "pos_embed"},
                                    {"pre_layrnorm", "ln_pre"},  // sic
                                    {"post_layernorm", "norm"}};
const Renames kClipTextOutside = {{"embeddings.token_embedding", "embed.word"},
                                  {"embeddings.position_embedding", "embed.pos"},
                                  {"final_layer_norm", "norm"}};
const Renames kWhole = {{"visual_projection", "visual.proj"},
                        {"text_projection", "text.proj"},
                        {"logit_scale", "loss.logit_scale"}};

const Dialect kVit = {"ViTModel",
                      {"module.", "vit.", "deit."},
                      {{"visual", "", kLayers, kVitOutside, kVitInside}},
                      {},
                      {}};

Dialect beit(const Renames& norms) {
  return {"BeitModel",
          {"module.", "beit."},
          {{"visual", "", kLayers, beit_outside(norms), kBeitInside}},
          {},
          {".k.bias", "visual.pos_embed"}};
}
const Dialect kBeit = beit({{"layernorm", "norm"}, {"pooler.layernorm", "norm"}});
const Dialect kBeitPooled = beit({{"pooler.layernorm", "norm"}, {"layernorm", "norm"}});

const Dialect kBert = {
    "BertModel", {"module.", "bert."}, {{"text", "", kLayers, kBertOutside, kBertInside}}, {}, {}};

const Dialect kClip = {
    "CLIPModel",
    {"module.", "clip."},
    {{"visual", "vision_model.", {"encoder.layers."}, kClipVisionOutside, kClipInside},
     {"text", "text_model.", {"encoder.layers."}, kClipTextOutside, kClipInside}},
    kWhole,
    {"visual.patch.bias", "visual.proj.bias", "text.proj.bias", "text.embed.type.weight"}};

const Dialect kDualEncoder = {"VisionTextDualEncoderModel",
                              {"module."},
                              {{"visual", "vision_model.", kLayers, kVitOutside, kVitInside},
                               {"text", "text_model.", kLayers, kBertOutside, kBertInside}},
                              kWhole,
                              {}};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// A name without `weight` or `bias`, and that with its dot; LayerNorm's old gamma and beta are
/// among them.
std::pair<std::string_view, std::string> split_last(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {name, ""};
  const std::string_view last = name.substr(dot);
  if (last == ".weight" || last == ".gamma") return {name.substr(0, dot), ".weight"};
  if (last == ".bias" || last == ".beta") return {name.substr(0, dot), ".bias"};
  return {name, ""};
}

std::optional<std::string> rename(std::string_view name, const Renames& table) {
  for (const auto& [theirs, ours] : table)
    if (name == theirs) return std::string(ours);
  const auto [stem, last] = split_last(name);
  for (const auto& [theirs, ours] : table)
    if (stem == theirs) return std::string(ours) + last;
  return std::nullopt;
}

std::optional<std::string> rename_back(std::string_view name, const Renames& table) {
  for (const auto& [theirs, ours] : table)
    if (name == ours) return std::string(theirs);
  const auto [stem, last] = split_last(name);
  for (const auto& [theirs, ours] : table)
    if (stem == ours) return std::string(theirs) + last;
  return std::nullopt;
}

std::optional<std::string> tower_name(std::string_view name, const TowerNames& tower) {
  const std::string start = std::string(tower.tower) + ".";
  for (const std::string_view layers : tower.layers) {
    std::string_view rest = name;
    if (!take_prefix(rest, layers)) continue;
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) continue;
    const auto inside = rename(rest.substr(dot + 1), tower.inside);
    if (inside) return start + "blocks." + std::string(rest.substr(0, dot)) + "." + *inside;
  }
  const auto outside = rename(name, tower.outside);
  return outside ? std::optional(start + *outside) : std::nullopt;
}

/// Whether a name that is none of ours is one of a tower, and neither a constant that older
/// versions saved nor of what may stand upon a tower.
bool is_of_tower(std::string_view name, const TowerNames& tower) {
  if (name.ends_with("position_ids") || name.ends_with("relative_position_index")) return false;
  if (name.starts_with("pooler.")) return false;
  return !tower.trunk.empty() || name.starts_with("embeddings.") || name.starts_with("encoder.") ||
         name.starts_with("layers.");
}

}  // namespace

const Dialect& dialect_of(Family family) {
  switch (family) {
    case Family::kVit:
      return kVit;
    case Family::kBeit:
      return kBeit;
    case Family::kBeitPooled:
      return kBeitPooled;
    case Family::kBert:
      return kBert;
    case Family::kClip:
      return kClip;
    case Family::kDualEncoder:
      return kDualEncoder;
  }
  TORCH_INTERNAL_ASSERT(false, "unknown family");
}

Meaning meaning_of(std::string_view published, const Dialect& dialect) {
  for (const auto prefix : dialect.prefixes) take_prefix(published, prefix);
  if (const auto whole = rename(published, dialect.whole)) return {Meaning::Kind::kWeight, *whole};
  for (const TowerNames& tower : dialect.towers) {
    std::string_view name = published;
    if (!take_prefix(name, tower.trunk)) continue;
    if (const auto ours = tower_name(name, tower)) return {Meaning::Kind::kWeight, *ours};
    if (is_of_tower(name, tower)) return {Meaning::Kind::kUnknown, ""};
  }
  return {Meaning::Kind::kLeftOut, ""};
}

std::optional<std::string> published_name(std::string_view internal, const Dialect& dialect) {
  if (const auto whole = rename_back(internal, dialect.whole)) return whole;
  for (const TowerNames& tower : dialect.towers) {
    std::string_view name = internal;
    if (!take_prefix(name, std::string(tower.tower) + ".")) continue;
    const std::string trunk(tower.trunk);
    if (!take_prefix(name, "blocks.")) {
      const auto outside = rename_back(name, tower.outside);
      return outside ? std::optional(trunk + *outside) : std::nullopt;
    }
    const size_t dot = name.find('.');
    const auto inside = rename_back(name.substr(dot + 1), tower.inside);
    if (!inside) return std::nullopt;
    return trunk + std::string(tower.layers.front()) + std::string(name.substr(0, dot)) + "." +
           *inside;
  }
  return std::nullopt;
}

}  // namespace cots::io
