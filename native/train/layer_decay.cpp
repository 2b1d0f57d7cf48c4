#include "train/layer_decay.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/weights.h"

namespace cots {
namespace {

/// n of PREFIXblocks.n.*, or -1.
int64_t block_of(const std::string& name, const std::string& tower) {
  const std::string blocks = tower + "blocks.";
  return has_prefix(name, blocks.c_str()) ? std::stoll(name.substr(blocks.size())) : -1;
}

bool is_embedding(const std::string& name) {
  for (const char* prefix : {"visual.cls_token", "visual.mask_token", "visual.pos_embed",
                             "visual.patch.", "text.embed."})
    if (has_prefix(name, prefix)) return true;
  return false;
}

}  // namespace

std::vector<double> layer_scales(const Parameters& parameters, double decay) {
  std::vector<double> scales(parameters.all().size(), 1.0);
  for (const std::string tower : {"visual.", "text."}) {
    int64_t layers = 0;
    for (const Parameter& p : parameters.all())
      layers = std::max(layers, block_of(p.name, tower) + 1);
    for (size_t i = 0; i < scales.size(); ++i) {
      const std::string& name = parameters.all()[i].name;
      if (!has_prefix(name, tower.c_str())) continue;
      const int64_t block = block_of(name, tower);
      const int64_t depth = is_embedding(name) ? 0 : block >= 0 ? block + 1 : layers + 1;
      scales[i] = std::pow(decay, static_cast<double>(layers + 1 - depth));
    }
  }
  return scales;
}

}  // namespace cots
