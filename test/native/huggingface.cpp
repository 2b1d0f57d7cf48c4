#include "io/huggingface.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>

#include "io/failure.h"
#include "io/safetensors.h"
#include "tiny-model.h"

using namespace cots;
using io::NamedTensors;

namespace {

const std::vector<std::string> kParts = {"weight", "bias"};

ModelConfig config_without_projection() {
  ModelConfig config = test::tiny_model();
  config.embed_dim = 0;
  return config;
}

/// A folder that goes with the test.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("cots-hf-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
};

int64_t next_key = 0;
Tensor draw(at::IntArrayRef shape) { return test::normal(shape, ++next_key); }

struct VitNames {
  std::string layer, query, key, value, proj, fc1, fc2;
};
const VitNames kSaved = {"encoder.layer.",
                         "attention.attention.query",
                         "attention.attention.key",
                         "attention.attention.value",
                         "attention.output.dense",
                         "intermediate.dense",
                         "output.dense"};
const VitNames kInMemory = {"layers.",          "attention.q_proj", "attention.k_proj",
                            "attention.v_proj", "attention.o_proj", "mlp.fc1",
                            "mlp.fc2"};

void add_linear(NamedTensors& out, const std::string& name, int64_t in, int64_t width) {
  out.emplace_back(name + ".weight", draw({width, in}));
  out.emplace_back(name + ".bias", draw({width}));
}

NamedTensors vit(const VitNames& names, const std::string& prefix, int64_t grid) {
  NamedTensors t;
  t.emplace_back(prefix + "embeddings.cls_token", draw({1, 1, 16}));
  t.emplace_back(prefix + "embeddings.position_embeddings", draw({1, 1 + grid * grid, 16}));
  t.emplace_back(prefix + "embeddings.patch_embeddings.projection.weight", draw({16, 3, 4, 4}));
  t.emplace_back(prefix + "embeddings.patch_embeddings.projection.bias", draw({16}));
  for (int n = 0; n < 2; ++n) {
    const std::string layer = prefix + names.layer + std::to_string(n) + ".";
    for (const std::string& name : {names.query, names.key, names.value, names.proj})
      add_linear(t, layer + name, 16, 16);
    add_linear(t, layer + names.fc1, 16, 32);
    add_linear(t, layer + names.fc2, 32, 16);
    for (const char* norm : {"layernorm_before", "layernorm_after"})
      for (const std::string& part : kParts) t.emplace_back(layer + norm + "." + part, draw({16}));
  }
  for (const std::string& part : kParts) t.emplace_back(prefix + "layernorm." + part, draw({16}));
  add_linear(t, prefix + "pooler.dense", 16, 16);
  return t;
}

NamedTensors bert(const std::string& prefix, const std::vector<std::string>& norm_parts) {
  NamedTensors t;
  t.emplace_back(prefix + "embeddings.word_embeddings.weight", draw({40, 16}));
  t.emplace_back(prefix + "embeddings.position_embeddings.weight", draw({12, 16}));
  t.emplace_back(prefix + "embeddings.token_type_embeddings.weight", draw({2, 16}));
  const auto norm = [&](const std::string& name) {
    for (const std::string& part : norm_parts)
      t.emplace_back(name + ".LayerNorm." + part, draw({16}));
  };
  norm(prefix + "embeddings");
  for (int n = 0; n < 2; ++n) {
    const std::string layer = prefix + "encoder.layer." + std::to_string(n) + ".";
    for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense"})
      add_linear(t, layer + name, 16, 16);
    norm(layer + "attention.output");
    add_linear(t, layer + "intermediate.dense", 16, 32);
    add_linear(t, layer + "output.dense", 32, 16);
    norm(layer + "output");
  }
  return t;
}

/// Imports a ViT and a BERT.
io::ImportReport import_both(const ModelConfig& config, const std::string& vit_file,
                             const std::string& bert_file, const std::string& out) {
  return io::import_hugging_face(
      config, {{io::Family::kVit, {vit_file}}, {io::Family::kBert, {bert_file}}}, out);
}

Tensor value(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  FAIL("no tensor " << name);
  return {};
}

}  // namespace

TEST_CASE("Hugging Face weights land under this project's names, query, key and value fused") {
  const Folder folder;
  for (const VitNames& names : {kSaved, kInMemory}) {
    const NamedTensors image = vit(names, "", 4), text = bert("", kParts);
    io::write_safetensors(folder.file("vit"), image, {});
    io::write_safetensors(folder.file("bert"), text, {});
    const auto report = import_both(config_without_projection(), folder.file("vit"),
                                    folder.file("bert"), folder.file("out"));
    CHECK(report.missing == std::vector<std::string>{"visual.mask_token"});
    CHECK(report.unused == std::vector<std::string>{"pooler.dense.bias", "pooler.dense.weight"});

    const auto out = io::read_safetensors(folder.file("out"));
    const std::string layer = names.layer + "1.";
    CHECK(at::equal(out.at("visual.blocks.1.qkv.weight"),
                    at::cat({value(image, layer + names.query + ".weight"),
                             value(image, layer + names.key + ".weight"),
                             value(image, layer + names.value + ".weight")})));
    CHECK(at::equal(out.at("visual.blocks.1.proj.weight"),
                    value(image, layer + names.proj + ".weight")));
    CHECK(at::equal(out.at("visual.blocks.1.fc2.bias"), value(image, layer + names.fc2 + ".bias")));
    CHECK(at::equal(out.at("visual.blocks.1.ln2.weight"),
                    value(image, layer + "layernorm_after.weight")));
    CHECK(at::equal(out.at("visual.pos_embed"), value(image, "embeddings.position_embeddings")));
    CHECK(at::equal(out.at("text.embed.word.weight"),
                    value(text, "embeddings.word_embeddings.weight")));
    CHECK(at::equal(out.at("text.blocks.0.ln1.bias"),
                    value(text, "encoder.layer.0.attention.output.LayerNorm.bias")));
    CHECK(at::equal(out.at("text.blocks.0.ln2.bias"),
                    value(text, "encoder.layer.0.output.LayerNorm.bias")));
    CHECK(at::equal(out.at("text.blocks.1.qkv.bias").narrow(0, 16, 16),
                    value(text, "encoder.layer.1.attention.self.key.bias")));

    // Exactly the tensors of the towers, no more.
    Parameters parameters(std::nullopt);
    const Towers towers(config_without_projection(), Scope(parameters, "visual"),
                        Scope(parameters, "text"));
    CHECK(out.size() == parameters.all().size());
    for (const Parameter& p : parameters.all()) CHECK(out.at(p.name).sizes() == p.value.sizes());
  }
}

TEST_CASE("prefixes and LayerNorm's old gamma and beta are understood") {
  const Folder folder;
  const NamedTensors image = vit(kSaved, "module.vit.", 4), text = bert("bert.", {"gamma", "beta"});
  io::write_safetensors(folder.file("vit"), image, {});
  io::write_safetensors(folder.file("bert"), text, {});
  import_both(config_without_projection(), folder.file("vit"), folder.file("bert"),
              folder.file("out"));
  const auto out = io::read_safetensors(folder.file("out"));
  CHECK(at::equal(out.at("text.embed.ln.weight"), value(text, "bert.embeddings.LayerNorm.gamma")));
  CHECK(at::equal(out.at("text.embed.ln.bias"), value(text, "bert.embeddings.LayerNorm.beta")));
  CHECK(at::equal(out.at("visual.cls_token"), value(image, "module.vit.embeddings.cls_token")));
}

TEST_CASE("positions of another grid are interpolated, CLS stays") {
  const Folder folder;
  NamedTensors image = vit(kSaved, "", 8);
  // A plane over the grid: cubic interpolation gives the same plane away from the border.
  const Tensor y = at::arange(8).to(at::kFloat).view({8, 1, 1}),
               x = at::arange(8).to(at::kFloat).view({1, 8, 1});
  Tensor& positions = image[1].second;
  positions.narrow(1, 1, 64).copy_((2 * y + 3 * x).expand({8, 8, 16}).reshape({1, 64, 16}));
  io::write_safetensors(folder.file("vit"), image, {});
  io::write_safetensors(folder.file("bert"), bert("", kParts), {});
  import_both(config_without_projection(), folder.file("vit"), folder.file("bert"),
              folder.file("out"));
  const Tensor out = io::read_safetensors(folder.file("out")).at("visual.pos_embed");
  CHECK(out.sizes().vec() == std::vector<int64_t>{1, 17, 16});
  CHECK(at::equal(out.narrow(1, 0, 1), positions.narrow(1, 0, 1)));
  // Patch (1, 2) of 4 x 4 lies at (2.5, 4.5) of 8 x 8.
  CHECK(test::relative_error(out[0][1 + 4 + 2][0].item<double>(), 2 * 2.5 + 3 * 4.5) < 1e-5);
}

TEST_CASE("projections are never invented, missing and wrong-shaped weights are refused by name") {
  const Folder folder;
  NamedTensors image = vit(kSaved, "", 4), text = bert("", kParts);
  io::write_safetensors(folder.file("vit"), image, {});
  io::write_safetensors(folder.file("bert"), text, {});
  const auto import = [&](const ModelConfig& config) {
    return import_both(config, folder.file("vit"), folder.file("bert"), folder.file("out"));
  };
  CHECK(import(test::tiny_model()).missing.size() == 5);  // the mask token and two projections
  CHECK(io::read_safetensors(folder.file("out")).count("visual.proj.weight") == 0);

  ModelConfig deeper = config_without_projection();
  deeper.text.layers = 3;
  CHECK_THROWS_WITH_AS(import(deeper), doctest::Contains("'text.blocks.2.ln1.weight' is not there"),
                       Failure);
  ModelConfig wider = config_without_projection();
  wider.text.vocab_size = 41;
  CHECK_THROWS_WITH_AS(import(wider),
                       doctest::Contains("'text.embed.word.weight' of shape [41, 16]"), Failure);
}
