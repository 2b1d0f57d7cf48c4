// A linear layer in 8-bit integers: weights by output channel, once; activations by token, as they
// come, so that nothing has to be calibrated and a row's result never depends on its batch.
// Products and their sums are exact in int32. Legend: M rows (tokens), K inputs, N outputs.
#pragma once

#include <string>

#include "infer/kernels/packed_linear.h"

namespace cots::kernels {

struct QuantizedPiece;

/// How the products are formed; all give the same bits.
enum class Dot4Path { kPortable, kAvx2, kAvxVnni, kAvx512Vnni };
/// The best one that both this build and this machine have.
Dot4Path dot4_path();
/// "portable", "avx2", "avx_vnni" or "avx512_vnni".
std::string to_text(Dot4Path path);

/// Rows as 8-bit integers of their own range: x ~ scale * code + least, codes 0 to 255.
class QuantizedRows {
 public:
  /// Memory for `rows` rows of K numbers.
  void reserve(int64_t rows, int64_t K);
  /// Takes over `rows` rows of K finite numbers; memory is kept for the next call.
  void quantize(Rows2d x, int64_t rows, int64_t K);
  const uint8_t* codes() const { return codes_.const_data_ptr<uint8_t>(); }  // [rows, K to 4]
  const float* ranges() const { return ranges_.const_data_ptr<float>(); }    // (scale, least)

 private:
  Tensor codes_, ranges_;
};

class QuantizedLinear {
 public:
  QuantizedLinear() = default;
  /// weight_NK and bias_N f32 (bias may be undefined). An output's weights become codes of -127 to
  /// 127 times its step, their largest size / 127.
  QuantizedLinear(const Tensor& weight_NK, const Tensor& bias_N);

  int64_t in() const { return K_; }
  int64_t out() const { return N_; }
  /// As PackedLinear::run(), of rows that were quantized.
  void run(const QuantizedRows& x, int64_t rows, float* y, int64_t y_stride,
           const Epilogue& epilogue = {}, Dot4Path path = dot4_path()) const;
  /// The whole product as one piece.
  QuantizedPiece piece(const QuantizedRows& x, int64_t rows, float* y, int64_t y_stride,
                       const Epilogue& epilogue) const;
  /// What the codes lose: |W - codes * steps| / |W|, Euclidean over the layer.
  double relative_error() const { return relative_error_; }

 private:
  int64_t N_ = 0, K_ = 0;
  Tensor panels_;                // int8 [N / 16][K / 4][16][4], filled up with zeros
  Tensor scales_, sums_, bias_;  // f32 [N to 16]: step, sum of the codes, bias
  double relative_error_ = 0;
};

}  // namespace cots::kernels
