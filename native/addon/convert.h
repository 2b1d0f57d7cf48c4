// JavaScript values to structs and tensors, copied on the JavaScript thread, and back. Type, rank
// and length are always checked: memory safety does not depend on TypeScript.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <string>
#include <vector>

namespace cots::addon {

/// The one argument of every entry.
Napi::Object options_of(const Napi::CallbackInfo& info);

Napi::Object object(const Napi::Object& o, const char* key);
double number(const Napi::Object& o, const char* key);
/// An exact integer.
int64_t integer(const Napi::Object& o, const char* key);
/// An integer in [minimum, 2^31): sizes and counts.
int64_t count(const Napi::Object& o, const char* key, int64_t minimum = 0);
bool boolean(const Napi::Object& o, const char* key);
std::string text(const Napi::Object& o, const char* key);
/// A list of strings.
std::vector<std::string> texts(const Napi::Object& o, const char* key);
bool is_null(const Napi::Object& o, const char* key);  // null or undefined

/// One of a closed list of words, as the enumerator of the same place.
template <typename Enum>
Enum one_of(const Napi::Object& o, const char* key,
            std::initializer_list<std::pair<const char*, Enum>> words);
[[noreturn]] void refuse_word(const char* key, const std::string& word, const std::string& allowed);

/// A list of objects, each read by `read`.
template <typename Item, typename Read>
std::vector<Item> list(const Napi::Object& o, const char* key, Read read);
Napi::Array items_of(const Napi::Object& o, const char* key);
Napi::Object item_of(const Napi::Array& items, uint32_t index, const char* key);

/// Copies of typed arrays, whose length must be the product of `shape`.
at::Tensor bytes(const Napi::Object& o, const char* key,
                 at::IntArrayRef shape);  // Uint8Array -> uint8
at::Tensor floats(const Napi::Object& o, const char* key,
                  at::IntArrayRef shape);  // Float32Array -> f32
at::Tensor long_integers(
    const Napi::Object& o, const char* key,
    at::IntArrayRef shape);  // Int32Array or Float64Array of exact integers -> int64
at::Tensor integers(const Napi::Object& o, const char* key,
                    at::IntArrayRef shape);  // Int32Array -> int32
/// Length of a typed array of any kind.
int64_t length(const Napi::Object& o, const char* key);
/// { data: Float32Array, shape: [rows, columns] }.
at::Tensor matrix(const Napi::Object& o, const char* key);
void numbers3(const Napi::Object& o, const char* key, double (&values)[3]);

/// Tensors to JavaScript. Large ones are handed over without a copy where the runtime allows it.
Napi::Value to_float32_array(Napi::Env env, const at::Tensor& tensor);
Napi::Value to_uint8_array(Napi::Env env, const at::Tensor& tensor);
Napi::Value to_int32_array(Napi::Env env, const at::Tensor& tensor);
Napi::Value to_uint32_array(Napi::Env env, const at::Tensor& tensor);
Napi::Object to_matrix(Napi::Env env, const at::Tensor& tensor);

template <typename Item, typename Read>
std::vector<Item> list(const Napi::Object& o, const char* key, Read read) {
  const Napi::Array items = items_of(o, key);
  std::vector<Item> result;
  for (uint32_t i = 0; i < items.Length(); ++i) {
    const Napi::HandleScope scope(o.Env());
    result.push_back(read(item_of(items, i, key)));
  }
  return result;
}

template <typename Enum>
Enum one_of(const Napi::Object& o, const char* key,
            std::initializer_list<std::pair<const char*, Enum>> words) {
  const std::string word = text(o, key);
  std::string allowed;
  for (const auto& [name, value] : words) {
    if (word == name) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  refuse_word(key, word, allowed);
}

/// "cpu" or "cuda:N", which lib/device.ts has found usable.
at::Device device_of(const Napi::Object& o);
/// "float32" or "bfloat16".
at::ScalarType compute_type_of(const Napi::Object& o);

}  // namespace cots::addon
