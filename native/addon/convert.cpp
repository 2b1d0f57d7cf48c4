#include "addon/convert.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "io/failure.h"

namespace cots::addon {
namespace {

constexpr size_t kHandOver = 1 << 16;  // bytes from which a copy costs more than an external buffer

[[noreturn]] void refuse(const char* key, const std::string& rule, const std::string& got) {
  throw Failure("ERR_COTS_OPTION", "Expected native option \"" + std::string(key) + "\" to be " +
                                       rule + ", got " + got + ".");
}

std::string type_name(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_function:
      return "a function";
    default:
      return value.IsTypedArray() ? "a typed array of another kind" : "an object";
  }
}

Napi::TypedArray typed_array(const Napi::Object& o, const char* key, napi_typedarray_type type,
                             const char* name) {
  const Napi::Value value = o.Get(key);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    refuse(key, name, type_name(value));
  return value.As<Napi::TypedArray>();
}

const uint8_t* data_of(const Napi::TypedArray& array) {
  return static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
}

std::string to_text(at::IntArrayRef shape) {
  std::string result = "[";
  for (const int64_t side : shape) result += (result.size() > 1 ? ", " : "") + std::to_string(side);
  return result + "]";
}

void check_length(const char* key, size_t found, at::IntArrayRef shape) {
  uint64_t wanted = 1;
  bool sound = true;
  for (const int64_t side : shape)
    sound =
        sound && side >= 0 && !__builtin_mul_overflow(wanted, static_cast<uint64_t>(side), &wanted);
  if (!sound || wanted != found)
    throw Failure("ERR_COTS_SHAPE", "Expected native option \"" + std::string(key) + "\" to hold " +
                                        std::to_string(wanted) + " elements for shape " +
                                        to_text(shape) + ", got " + std::to_string(found) + ".");
}

at::Tensor copy_array(const Napi::Object& o, const char* key, at::IntArrayRef shape,
                      napi_typedarray_type type, const char* name, at::ScalarType dtype) {
  const Napi::TypedArray array = typed_array(o, key, type, name);
  check_length(key, array.ElementLength(), shape);
  at::Tensor tensor = at::empty(shape, at::TensorOptions(dtype));
  if (tensor.numel() > 0) std::memcpy(tensor.mutable_data_ptr(), data_of(array), tensor.nbytes());
  return tensor;
}

/// An ArrayBuffer with the tensor's bytes: the tensor's own memory when it is large and the runtime
/// takes foreign memory.
Napi::ArrayBuffer to_array_buffer(Napi::Env env, const at::Tensor& tensor) {
  const size_t size = tensor.nbytes();
  if (size >= kHandOver) {
    auto* owner = new at::Tensor(tensor);
    napi_value buffer;
    const auto release = [](napi_env, void*, void* owned) {
      delete static_cast<at::Tensor*>(owned);
    };
    if (napi_create_external_arraybuffer(env, tensor.mutable_data_ptr(), size, release, owner,
                                         &buffer) == napi_ok)
      return {env, buffer};
    delete owner;
  }
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, size);
  if (size > 0) std::memcpy(buffer.Data(), tensor.const_data_ptr(), size);
  return buffer;
}

template <typename Array>
Napi::Value to_typed_array(Napi::Env env, const at::Tensor& tensor, at::ScalarType dtype) {
  const at::Tensor plain =
      tensor.detach().to(dtype).contiguous();  // a job's result: nobody writes it any more
  return Array::New(env, plain.numel(), to_array_buffer(env, plain), 0);
}

}  // namespace

Napi::Object options_of(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsObject())
    throw Failure("ERR_COTS_OPTION", "Expected one options object.");
  return info[0].As<Napi::Object>();
}

Napi::Object object(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsObject()) refuse(key, "an object", type_name(value));
  return value.As<Napi::Object>();
}

double number(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsNumber()) refuse(key, "a number", type_name(value));
  const double result = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(result)) refuse(key, "a finite number", std::to_string(result));
  return result;
}

int64_t integer(const Napi::Object& o, const char* key) {
  const double value = number(o, key);
  if (value != std::floor(value) || std::abs(value) > 9007199254740991.0)
    refuse(key, "an exact integer", std::to_string(value));
  return static_cast<int64_t>(value);
}

int64_t count(const Napi::Object& o, const char* key, int64_t minimum) {
  const int64_t value = integer(o, key);
  if (value < minimum || value > INT32_MAX)
    refuse(key, "an integer from " + std::to_string(minimum) + " to " + std::to_string(INT32_MAX),
           std::to_string(value));
  return value;
}

bool boolean(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsBoolean()) refuse(key, "a boolean", type_name(value));
  return value.As<Napi::Boolean>().Value();
}

std::string text(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsString()) refuse(key, "a string", type_name(value));
  return value.As<Napi::String>().Utf8Value();
}

Napi::Array items_of(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsArray()) refuse(key, "a list", type_name(value));
  return value.As<Napi::Array>();
}

Napi::Object item_of(const Napi::Array& items, uint32_t index, const char* key) {
  const Napi::Value item = items.Get(index);
  if (!item.IsObject()) refuse(key, "a list of objects", type_name(item));
  return item.As<Napi::Object>();
}

std::vector<std::string> texts(const Napi::Object& o, const char* key) {
  const Napi::Array items = items_of(o, key);
  std::vector<std::string> result;
  for (uint32_t i = 0; i < items.Length(); ++i) {
    const Napi::Value item = items.Get(i);
    if (!item.IsString()) refuse(key, "a list of strings", type_name(item));
    result.push_back(item.As<Napi::String>().Utf8Value());
  }
  return result;
}

bool is_null(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  return value.IsNull() || value.IsUndefined();
}

void refuse_word(const char* key, const std::string& word, const std::string& allowed) {
  refuse(key, "one of " + allowed, "'" + word + "'");
}

at::Tensor bytes(const Napi::Object& o, const char* key, at::IntArrayRef shape) {
  return copy_array(o, key, shape, napi_uint8_array, "a Uint8Array", at::kByte);
}

at::Tensor floats(const Napi::Object& o, const char* key, at::IntArrayRef shape) {
  return copy_array(o, key, shape, napi_float32_array, "a Float32Array", at::kFloat);
}

at::Tensor integers(const Napi::Object& o, const char* key, at::IntArrayRef shape) {
  return copy_array(o, key, shape, napi_int32_array, "an Int32Array", at::kInt);
}

at::Tensor long_integers(const Napi::Object& o, const char* key, at::IntArrayRef shape) {
  const Napi::Value value = o.Get(key);
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array)
    return integers(o, key, shape).to(at::kLong);
  const at::Tensor values =
      copy_array(o, key, shape, napi_float64_array, "an Int32Array or Float64Array", at::kDouble);
  const double* data = values.const_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i)
    if (!(data[i] == std::floor(data[i]) && std::abs(data[i]) <= 9007199254740991.0))
      refuse(key, "exact integers", std::to_string(data[i]) + " at " + std::to_string(i));
  return values.to(at::kLong);
}

int64_t length(const Napi::Object& o, const char* key) {
  const Napi::Value value = o.Get(key);
  if (!value.IsTypedArray()) refuse(key, "a typed array", type_name(value));
  return static_cast<int64_t>(value.As<Napi::TypedArray>().ElementLength());
}

at::Tensor matrix(const Napi::Object& o, const char* key) {
  const Napi::Object value = object(o, key);
  const Napi::Value shape = value.Get("shape");
  if (!shape.IsArray() || shape.As<Napi::Array>().Length() != 2)
    refuse(key, "a matrix with shape [rows, columns]", type_name(shape));
  int64_t sides[2];
  for (uint32_t i = 0; i < 2; ++i) {
    const Napi::Value side = shape.As<Napi::Array>().Get(i);
    const double size = side.IsNumber() ? side.As<Napi::Number>().DoubleValue() : -1;
    if (!(size >= 0 && size <= INT32_MAX && size == std::floor(size)))
      refuse(key, "a matrix with sizes of 0 or more", "another shape");
    sides[i] = static_cast<int64_t>(size);
  }
  return floats(value, "data", sides);
}

void numbers3(const Napi::Object& o, const char* key, double (&values)[3]) {
  const Napi::Value list = o.Get(key);
  if (!list.IsArray() || list.As<Napi::Array>().Length() != 3)
    refuse(key, "a list of 3 numbers", type_name(list));
  for (uint32_t i = 0; i < 3; ++i) {
    const Napi::Value value = list.As<Napi::Array>().Get(i);
    values[i] = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
    if (!std::isfinite(values[i])) refuse(key, "a list of 3 finite numbers", type_name(value));
  }
}

Napi::Value to_float32_array(Napi::Env env, const at::Tensor& tensor) {
  return to_typed_array<Napi::Float32Array>(env, tensor, at::kFloat);
}
Napi::Value to_uint8_array(Napi::Env env, const at::Tensor& tensor) {
  return to_typed_array<Napi::Uint8Array>(env, tensor, at::kByte);
}
Napi::Value to_int32_array(Napi::Env env, const at::Tensor& tensor) {
  return to_typed_array<Napi::Int32Array>(env, tensor, at::kInt);
}
Napi::Value to_uint32_array(Napi::Env env, const at::Tensor& tensor) {
  return to_typed_array<Napi::Uint32Array>(env, tensor, at::kInt);
}

Napi::Object to_matrix(Napi::Env env, const at::Tensor& tensor) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Array shape = Napi::Array::New(env, 2);
  shape.Set(0u, static_cast<double>(tensor.size(0)));
  shape.Set(1u, static_cast<double>(tensor.size(1)));
  result.Set("data", to_float32_array(env, tensor));
  result.Set("shape", shape);
  return result;
}

at::Device device_of(const Napi::Object& o) {
  const std::string device = text(o, "device");
  const bool is_cuda = device.starts_with("cuda:") && device.size() > 5 &&
                       device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (device != "cpu" && !is_cuda) refuse("device", "cpu or cuda:N", '"' + device + '"');
  return at::Device(device);
}

at::ScalarType compute_type_of(const Napi::Object& o) {
  return one_of<at::ScalarType>(o, "precision",
                                {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}});
}

}  // namespace cots::addon
