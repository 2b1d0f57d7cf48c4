// Layer-wise learning rates (Clark et al. 2020; BEiT's fine-tuning): the lower a layer, the less it
// moves.
#pragma once

#include <vector>

#include "model/parameters.h"

namespace cots {

/// Factor on the learning rate of each parameter, in the order of `parameters`: decay^(layers + 1 -
/// depth) in a tower of that many blocks, where the embeddings (patch, positions, CLS and mask
/// token; words, positions, types and their norm) are depth 0, block n is n + 1, and the final norm
/// and the projection are layers + 1, as in BEiT's optim_factory.py. The heads and the temperature
/// have factor 1. `decay` in (0, 1].
std::vector<double> layer_scales(const Parameters& parameters, double decay);

}  // namespace cots
