// Both towers of a tiny model, with weights at which every part of the network matters.
#pragma once

#include <functional>
#include <string>

#include "tiny-model.h"

namespace cots::test {

struct TinyTowers {
  TinyTowers(const ModelConfig& config, double std)
      : config(config),
        parameters(1),
        towers(config, Scope(parameters, "visual"), Scope(parameters, "text")) {
    parameters.flatten(false);
    enlarge_weights(parameters, std);
  }
  std::function<Tensor(const std::string&)> weight() const {
    return [this](const std::string& name) { return parameters.find(name)->value; };
  }
  ModelConfig config;
  Parameters parameters;
  Towers towers;
};

}  // namespace cots::test
