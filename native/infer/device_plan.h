// The execution plan of both towers on an accelerator: libtorch's operations, in batches of a few
// fixed shapes, each recorded once as a graph. Runs on the CPU too, where the tests hold it against
// the CPU's own plans. Legend: B rows, L tokens, D embedding.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/placement.h"
#include "device/recorded.h"
#include "model/cots.h"

namespace cots {

class DevicePlan {
 public:
  /// `weight`: a parameter by its name, float32 on the CPU; undefined where the model lacks it.
  /// Takes both towers' weights to the device.
  DevicePlan(const ModelConfig& config, const std::function<Tensor(const std::string&)>& weight,
             const Placement& placement);

  /// As Embedder's, of any number of rows; results on the CPU. A row may differ in its last bits
  /// from one batch to another. Where the device is out of memory the batch is halved, what was
  /// kept is given back, and the work goes on: then batches stay that small. Throws
  /// ERR_COTS_MEMORY when one row is too much. One call at a time.
  Tensor embed_images(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3]);
  Tensor embed_texts(const Tensor& ids_BL, const Tensor& lengths_B);

  /// Rows that go through at once: less than at first after the device ran out of memory.
  int64_t images_at_once() const { return images_at_once_; }
  int64_t texts_at_once() const { return texts_at_once_; }
  /// Shapes recorded so far.
  size_t shapes() const { return buckets_.size(); }

 private:
  /// Work of one shape, and the tensors that it reads and writes.
  struct Bucket {
    std::vector<Tensor> inputs;
    Tensor output_BD;
    std::unique_ptr<device::Recorded> work;
  };
  using Shape = std::pair<int64_t, int64_t>;  // rows, and tokens of a text; 0 for images

  Bucket& bucket(const Shape& shape, const std::function<void(Bucket&)>& make);
  Bucket& image_bucket(int64_t rows);
  Bucket& text_bucket(int64_t rows, int64_t tokens);
  void set_normalization(const double (&mean)[3], const double (&std)[3]);
  Tensor run(int64_t rows, int64_t width, int64_t& at_once,
             const std::function<Bucket&(int64_t first, int64_t count)>& fill);
  void shrink(int64_t& at_once, int64_t count);

  ModelConfig config_;
  Placement placement_;
  Parameters parameters_;
  Towers towers_;
  Tensor mean_3, std_3;  // [3, 1, 1]
  int64_t images_at_once_, texts_at_once_;
  std::unique_ptr<device::Recorder> recorder_;
  std::map<Shape, Bucket> buckets_;
};

}  // namespace cots
