// What a run must keep to go on bit for bit: weights, heads, momentum, queues, optimizer, counters.
// Random draws are keyed by (seed, step, sample), so the step counter is all of the generator's
// state.
#include <ATen/ATen.h>

#include "io/failure.h"
#include "io/safetensors.h"
#include "model/weights.h"
#include "train/checkpoint_part.h"
#include "train/trainer.h"

namespace cots {
namespace {

std::string model_file(const std::string& directory) { return directory + "/model.safetensors"; }

std::string in_model(const std::string& name) { return belongs_to_model(name) ? name : ""; }
std::string in_state(const std::string& name) { return belongs_to_model(name) ? "" : name; }
std::string same(const std::string& name) { return name; }

/// The tensors of `wanted`, shapes checked.
std::vector<std::pair<std::string, Tensor>> select(
    const std::map<std::string, Tensor>& tensors,
    const std::vector<std::pair<std::string, Tensor>>& wanted, const std::string& file) {
  std::vector<std::pair<std::string, Tensor>> found;
  for (const auto& [name, tensor] : wanted)
    found.emplace_back(name, require_tensor(tensors, name, tensor.sizes(), file));
  return found;
}

}  // namespace

std::vector<std::pair<std::string, Tensor>> Trainer::counters() const {
  const auto scalar = [](int64_t value) { return at::scalar_tensor(value, at::kLong); };
  return {{"trainer.step", scalar(step_)},
          {"trainer.non_finite_in_row", scalar(non_finite_in_row_)},
          {"trainer.collapsed_steps", scalar(collapsed_steps_)},
          {"trainer.ema_pending", scalar(ema_pending_)}};
}

CheckpointPart Trainer::checkpoint_part() const {
  CheckpointPart part{{}, {}, state_file_name(group_)};
  io::NamedTensors state;
  for (const Parameter& p : model_.parameters().all())
    (belongs_to_model(p.name) ? part.model : state).emplace_back(p.name, p.value);
  if (group_.rank() > 0) part.model.clear();
  for (const Parameter& p : momentum_.parameters().all()) state.emplace_back(p.name, p.value);
  for (const auto& more : {queue_.state(), optimizer_.state(), counters()})
    state.insert(state.end(), more.begin(), more.end());
  if (group_.world() == 1) {
    part.state = std::move(state);
    return part;
  }
  io::NamedTensors moments, alike;
  for (const auto& entry : state) (is_in_parts(entry.first) ? moments : alike).push_back(entry);
  part.state = share_of(group_, alike);
  const Range own = group_.own_part(model_.parameters().count());
  for (const auto& [name, tensor] : moments)
    part.state.emplace_back(name,
                            tensor.narrow(0, own.begin - optimizer_.own().begin, own.count()));
  return part;
}

/// The momentum encoder follows first: then a step changes nothing before it is nearly over.
std::shared_ptr<Capture> Trainer::capture() {
  detach_capture();
  StageSeconds none;
  follow_online(none);
  const auto made = std::make_shared<Capture>(checkpoint_part());
  capture_ = made;
  return made;
}

/// Before anything of a checkpoint changes.
void Trainer::detach_capture() {
  if (const std::shared_ptr<Capture> capture = capture_.lock()) capture->detach();
  capture_.reset();
}

void Trainer::save(const std::string& directory) const {
  const CheckpointPart part = checkpoint_part();
  (config_.placement.device.is_cpu() ? part : part.copy()).write(directory);
}

/// The own part of moments that were read whole.
void Trainer::cut_moments(std::map<std::string, Tensor>& state, const std::string& where) const {
  const int64_t count = model_.parameters().count();
  for (const auto& [name, tensor] : optimizer_.state())
    if (is_in_parts(name))
      state[name] = require_tensor(state, name, {count}, where)
                        .narrow(0, optimizer_.own().begin, optimizer_.own().count());
}

void Trainer::restore(const std::string& directory) {
  const std::string model_path = model_file(directory), state_path = directory + " (state)";
  const std::map<std::string, Tensor> model = io::read_safetensors(model_path);
  std::map<std::string, Tensor> state = read_state(directory);
  cut_moments(state, state_path);
  // Everything is checked before anything is written: a refused checkpoint leaves the trainer as it
  // was.
  check_weights(model_.parameters(), model, model_path, in_model);
  check_weights(model_.parameters(), state, state_path, in_state);
  check_weights(momentum_.parameters(), state, state_path, same);
  const auto queue = select(state, queue_.state(), state_path);
  const auto optimizer = select(state, optimizer_.state(), state_path);
  const auto counter = select(state, counters(), state_path);
  detach_capture();
  queue_.restore(queue);
  optimizer_.restore(optimizer);
  copy_weights(model_.parameters(), model, model_path, in_model);
  copy_weights(model_.parameters(), state, state_path, in_state);
  copy_weights(momentum_.parameters(), state, state_path, same);
  step_ = counter[0].second.item<int64_t>();
  non_finite_in_row_ = counter[1].second.item<int64_t>();
  collapsed_steps_ = counter[2].second.item<int64_t>();
  ema_pending_ = counter[3].second.item<int64_t>() != 0;
  stop_ = Stop::kNone;
  if (device_step_) device_step_->forget();
}

void Trainer::initialize_from(const std::string& file) {
  const std::map<std::string, Tensor> tensors = io::read_safetensors(file);
  const auto holds = [&](const char* prefix) {
    const auto first = tensors.lower_bound(prefix);
    return first != tensors.end() && has_prefix(first->first, prefix);
  };
  const bool visual = holds("visual."), text = holds("text."), cmvm = holds("cmvm."),
             cmlm = holds("cmlm.");
  if (!visual && !text)
    throw Failure(
        "ERR_COTS_CHECKPOINT",
        "Expected " + file +
            " to hold visual.* or text.* tensors, found neither. Import foreign weights with "
            "`cots import` first.");
  detach_capture();
  copy_weights(model_.parameters(), tensors, file, [&](const std::string& name) -> std::string {
    const bool given = (visual && has_prefix(name, "visual.")) ||
                       (text && has_prefix(name, "text.")) || (cmvm && has_prefix(name, "cmvm.")) ||
                       (cmlm && has_prefix(name, "cmlm."));
    if (!given) return "";
    // Towers of others have neither a mask token nor a projection into this space: those stay
    // random.
    const bool ours = name == "visual.mask_token" || has_prefix(name, "visual.proj.") ||
                      has_prefix(name, "text.proj.");
    return ours && !tensors.contains(name) ? "" : name;
  });
  momentum_.update(model_, 0);
  ema_pending_ = false;
}

}  // namespace cots
