#include "addon/config.h"

#include "addon/convert.h"

namespace cots::addon {
namespace {

Activation read_activation(const Napi::Object& o) {
  return one_of<Activation>(o, "activation",
                            {{"gelu", Activation::kGelu}, {"quick_gelu", Activation::kQuickGelu}});
}

VisionConfig read_vision(const Napi::Object& o) {
  VisionConfig c;
  c.size = count(o, "size", 1);
  c.patch = count(o, "patch", 1);
  c.width = count(o, "width", 1);
  c.layers = count(o, "layers", 1);
  c.heads = count(o, "heads", 1);
  c.mlp_ratio = number(o, "mlpRatio");
  c.drop_path = number(o, "dropPath");
  c.layer_norm_eps = number(o, "layerNormEps");
  c.pool = one_of<Pool>(o, "pool", {{"cls", Pool::kCls}, {"mean", Pool::kMean}});
  c.activation = read_activation(o);
  c.input_norm = boolean(o, "inputNorm");
  c.layer_scale = boolean(o, "layerScale");
  c.relative_bias = boolean(o, "relativeBias");
  c.pooled_norm = boolean(o, "pooledNorm");
  return c;
}

TextConfig read_text(const Napi::Object& o) {
  TextConfig c;
  c.width = count(o, "width", 1);
  c.layers = count(o, "layers", 1);
  c.heads = count(o, "heads", 1);
  c.mlp_ratio = number(o, "mlpRatio");
  c.vocab_size = count(o, "vocabSize", 1);
  c.max_positions = count(o, "maxPositions", 1);
  c.dropout = number(o, "dropout");
  c.layer_norm_eps = number(o, "layerNormEps");
  c.pool =
      one_of<Pool>(o, "pool", {{"cls", Pool::kCls}, {"mean", Pool::kMean}, {"last", Pool::kLast}});
  c.activation = read_activation(o);
  c.norm = one_of<NormOrder>(o, "norm", {{"pre", NormOrder::kPre}, {"post", NormOrder::kPost}});
  c.causal = boolean(o, "causal");
  return c;
}

TokenConfig read_token(const Napi::Object& o) {
  TokenConfig c;
  c.mask_image_ratio = number(o, "maskImageRatio");
  c.mask_image_block = one_of<bool>(o, "maskImageMode", {{"block", true}, {"random", false}});
  c.mask_image_exact = boolean(o, "maskImageExact");
  c.mask_text_ratio = number(o, "maskTextRatio");
  c.mask_id = count(o, "maskId");
  c.passes =
      one_of<Passes>(o, "passes", {{"separate", Passes::kSeparate}, {"shared", Passes::kShared}});
  c.global_source = one_of<GlobalSource>(o, "globalSource",
                                         {{"hidden", GlobalSource::kHidden},
                                          {"embed", GlobalSource::kEmbed},
                                          {"momentum", GlobalSource::kMomentum}});
  c.fusion = one_of<Fusion>(
      o, "fusion", {{"add", Fusion::kAdd}, {"concat", Fusion::kConcat}, {"none", Fusion::kNone}});
  c.head_image =
      one_of<ImageHead>(o, "headImage", {{"mlp", ImageHead::kMlp}, {"bare", ImageHead::kBare}});
  c.vocab = count(o, "vocab", 1);
  return c;
}

QueueConfig read_queue(const Napi::Object& o) {
  QueueConfig c;
  c.size = count(o, "size", 1);
  c.include_batch_keys = boolean(o, "includeBatchKeys");
  c.random_init = boolean(o, "randomInit");
  c.duplicates = one_of<DuplicatePolicy>(o, "duplicates",
                                         {{"keep", DuplicatePolicy::kKeep},
                                          {"mask_same_image", DuplicatePolicy::kMaskSameImage},
                                          {"multi_positive", DuplicatePolicy::kMultiPositive}});
  return c;
}

LossConfig read_loss(const Napi::Object& o) {
  LossConfig c;
  c.tau = number(o, "tau");
  c.tau_learnable = boolean(o, "tauLearnable");
  c.weight_instance = number(o, "weightInstance");
  c.weight_cmvm = number(o, "weightCmvm");
  c.weight_cmlm = number(o, "weightCmlm");
  c.weight_task = number(o, "weightTask");
  c.instance_mean = boolean(o, "instanceMean");
  c.task_include_positive = boolean(o, "taskIncludePositive");
  c.task_stopgrad_target = boolean(o, "taskStopgradTarget");
  c.task_half = boolean(o, "taskHalf");
  c.task_warmup_steps = integer(o, "taskWarmupSteps");
  return c;
}

FilterConfig read_filter(const Napi::Object& o) {
  FilterConfig c;
  c.enabled = boolean(o, "enabled");
  c.k = number(o, "k");
  c.apply_to = one_of<FilterScope>(
      o, "applyTo", {{"all", FilterScope::kAll}, {"contrast", FilterScope::kContrast}});
  c.min_valid = integer(o, "minValid");
  c.min_keep_fraction = number(o, "minKeepFraction");
  return c;
}

OptimizerConfig read_optimizer(const Napi::Object& o) {
  OptimizerConfig c;
  c.lr = number(o, "lr");
  c.beta1 = number(o, "beta1");
  c.beta2 = number(o, "beta2");
  c.eps = number(o, "eps");
  c.weight_decay = number(o, "weightDecay");
  c.clip_grad = number(o, "clipGrad");
  c.warmup_steps = integer(o, "warmupSteps");
  c.warmup_from = number(o, "warmupFrom");
  c.min_lr = number(o, "minLr");
  c.total_steps = integer(o, "totalSteps");
  return c;
}

/// Fills an object line by line: write(env)("size", 384)("patch", 16).
class Writer {
 public:
  explicit Writer(Napi::Env env) : object_(Napi::Object::New(env)) {}
  template <typename Value>
  Writer& operator()(const char* key, Value value) {
    object_.Set(key, value);
    return *this;
  }
  Writer& operator()(const char* key, int64_t value) {
    object_.Set(key, static_cast<double>(value));
    return *this;
  }
  operator Napi::Object() const { return object_; }  // NOLINT: what it is for

 private:
  Napi::Object object_;
};

constexpr const char* kPools[] = {"cls", "mean", "last"};
constexpr const char* kActivations[] = {"gelu", "quick_gelu"};
constexpr const char* kCheckpointing[] = {"off", "selective", "full"};
constexpr const char* kTowerSets[] = {"both", "image", "text"};

Napi::Object write_vision(Napi::Env env, const VisionConfig& c) {
  return Writer(env)("size", c.size)("patch", c.patch)("width", c.width)("layers", c.layers)(
      "heads", c.heads)("mlpRatio", c.mlp_ratio)("dropPath", c.drop_path)(
      "layerNormEps", c.layer_norm_eps)("pool", kPools[static_cast<int>(c.pool)])(
      "activation", kActivations[static_cast<int>(c.activation)])("inputNorm", c.input_norm)(
      "layerScale", c.layer_scale)("relativeBias", c.relative_bias)("pooledNorm", c.pooled_norm);
}

Napi::Object write_text(Napi::Env env, const TextConfig& c) {
  return Writer(env)("width", c.width)("layers", c.layers)("heads", c.heads)(
      "mlpRatio", c.mlp_ratio)("vocabSize", c.vocab_size)("maxPositions", c.max_positions)(
      "dropout", c.dropout)("layerNormEps", c.layer_norm_eps)(
      "pool", kPools[static_cast<int>(c.pool)])("activation",
                                                kActivations[static_cast<int>(c.activation)])(
      "norm", c.norm == NormOrder::kPre ? "pre" : "post")("causal", c.causal);
}

Napi::Object write_token(Napi::Env env, const TokenConfig& c) {
  const char* sources[] = {"hidden", "embed", "momentum"};
  const char* fusions[] = {"add", "concat", "none"};
  return Writer(env)("maskImageRatio", c.mask_image_ratio)("maskImageMode",
                                                           c.mask_image_block ? "block" : "random")(
      "maskImageExact", c.mask_image_exact)("maskTextRatio", c.mask_text_ratio)(
      "maskId", c.mask_id)("passes", c.passes == Passes::kSeparate ? "separate" : "shared")(
      "globalSource", sources[static_cast<int>(c.global_source)])(
      "fusion", fusions[static_cast<int>(c.fusion)])(
      "headImage", c.head_image == ImageHead::kMlp ? "mlp" : "bare")("vocab", c.vocab);
}

Napi::Object write_loss(Napi::Env env, const LossConfig& c) {
  return Writer(env)("tau", c.tau)("tauLearnable", c.tau_learnable)(
      "weightInstance", c.weight_instance)("weightCmvm", c.weight_cmvm)(
      "weightCmlm", c.weight_cmlm)("weightTask", c.weight_task)("instanceMean", c.instance_mean)(
      "taskIncludePositive", c.task_include_positive)("taskStopgradTarget", c.task_stopgrad_target)(
      "taskHalf", c.task_half)("taskWarmupSteps", c.task_warmup_steps);
}

Napi::Object write_queue(Napi::Env env, const QueueConfig& c) {
  const char* policies[] = {"keep", "mask_same_image", "multi_positive"};
  return Writer(env)("size", c.size)("includeBatchKeys", c.include_batch_keys)(
      "randomInit", c.random_init)("duplicates", policies[static_cast<int>(c.duplicates)]);
}

Napi::Object write_filter(Napi::Env env, const FilterConfig& c) {
  return Writer(env)("enabled", c.enabled)("k", c.k)(
      "applyTo", c.apply_to == FilterScope::kAll ? "all" : "contrast")("minValid", c.min_valid)(
      "minKeepFraction", c.min_keep_fraction);
}

Napi::Object write_optimizer(Napi::Env env, const OptimizerConfig& c) {
  return Writer(env)("lr", c.lr)("beta1", c.beta1)("beta2", c.beta2)("eps", c.eps)(
      "weightDecay", c.weight_decay)("clipGrad", c.clip_grad)("warmupSteps", c.warmup_steps)(
      "warmupFrom", c.warmup_from)("minLr", c.min_lr)("totalSteps", c.total_steps);
}

Napi::Array write_numbers3(Napi::Env env, const double (&values)[3]) {
  Napi::Array list = Napi::Array::New(env, 3);
  for (uint32_t i = 0; i < 3; ++i) list.Set(i, values[i]);
  return list;
}

}  // namespace

ModelConfig read_model_config(const Napi::Object& o) {
  ModelConfig c;
  c.image = read_vision(object(o, "image"));
  c.text = read_text(object(o, "text"));
  c.towers = one_of<TowerSet>(
      o, "towers",
      {{"both", TowerSet::kBoth}, {"image", TowerSet::kImage}, {"text", TowerSet::kText}});
  c.embed_dim = count(o, "embedDim");
  return c;
}

TokenizerConfig read_tokenizer_config(const Napi::Object& o) {
  TokenizerConfig c;
  c.arch = one_of<TokenizerArch>(
      o, "arch", {{"openai", TokenizerArch::kOpenAi}, {"small", TokenizerArch::kSmall}});
  c.vocab = count(o, "vocab", 1);
  c.hidden = count(o, "hidden", 1);
  c.codebook_dim = count(o, "codebookDim", 1);
  c.blocks = count(o, "blocks");
  c.pixels = one_of<PixelRule>(
      o, "pixels",
      {{"map_pixels", PixelRule::kMapPixels}, {"mean_std_half", PixelRule::kMeanStdHalf}});
  return c;
}

TrainConfig read_train_config(const Napi::Object& o) {
  TrainConfig c;
  c.model = read_model_config(object(o, "model"));
  c.model.image.checkpointing = c.model.text.checkpointing =
      one_of<Checkpointing>(o, "checkpointing",
                            {{"off", Checkpointing::kOff},
                             {"selective", Checkpointing::kSelective},
                             {"full", Checkpointing::kFull}});
  c.token = read_token(object(o, "token"));
  c.queue = read_queue(object(o, "queue"));
  c.loss = read_loss(object(o, "loss"));
  c.filter = read_filter(object(o, "filter"));
  c.optimizer = read_optimizer(object(o, "optimizer"));
  c.layer_decay = number(o, "layerDecay");
  c.ema_m = number(o, "emaM");
  c.seed = integer(o, "seed");
  c.accumulate = count(o, "accumulate", 1);
  c.max_non_finite = count(o, "maxNonFinite", 1);
  c.bucket_bytes = count(o, "bucketBytes", 1);
  c.sharded_optimizer = boolean(o, "shardedOptimizer");
  c.placement = {device_of(o), compute_type_of(o)};
  c.weight_init = one_of<WeightInit>(
      o, "weightInit", {{"fixed", WeightInit::kFixed}, {"fan_in", WeightInit::kFanIn}});
  numbers3(o, "imageMean", c.image_mean);
  numbers3(o, "imageStd", c.image_std);
  return c;
}

TokenizerTrainConfig read_tokenizer_train_config(const Napi::Object& o) {
  TokenizerTrainConfig c;
  c.tokenizer = read_tokenizer_config(object(o, "tokenizer"));
  c.reconstruction = one_of<Reconstruction>(o, "reconstruction",
                                            {{"logit_laplace", Reconstruction::kLogitLaplace},
                                             {"mse", Reconstruction::kMse},
                                             {"smooth_l1", Reconstruction::kSmoothL1}});
  c.temperature_start = number(o, "temperatureStart");
  c.temperature_min = number(o, "temperatureMin");
  c.temperature_rate = number(o, "temperatureRate");
  c.kl_weight = number(o, "klWeight");
  c.kl_warmup_steps = integer(o, "klWarmupSteps");
  c.optimizer = read_optimizer(object(o, "optimizer"));
  c.lr_decay = number(o, "lrDecay");
  c.seed = integer(o, "seed");
  return c;
}

Napi::Object write_model_config(Napi::Env env, const ModelConfig& c) {
  return Writer(env)("image", write_vision(env, c.image))("text", write_text(env, c.text))(
      "towers", kTowerSets[static_cast<int>(c.towers)])("embedDim", c.embed_dim);
}

Napi::Object write_train_config(Napi::Env env, const TrainConfig& c) {
  return Writer(env)("device", c.placement.device.str())(
      "precision", c.placement.compute == at::kBFloat16 ? "bfloat16" : "float32")(
      "model", write_model_config(env, c.model))("token", write_token(env, c.token))(
      "queue", write_queue(env, c.queue))("loss", write_loss(env, c.loss))(
      "filter", write_filter(env, c.filter))("optimizer", write_optimizer(env, c.optimizer))(
      "layerDecay", c.layer_decay)("emaM", c.ema_m)("seed", c.seed)("accumulate", c.accumulate)(
      "maxNonFinite", c.max_non_finite)("bucketBytes", c.bucket_bytes)("shardedOptimizer",
                                                                       c.sharded_optimizer)(
      "weightInit", c.weight_init == WeightInit::kFixed ? "fixed" : "fan_in")(
      "checkpointing", kCheckpointing[static_cast<int>(c.model.image.checkpointing)])(
      "imageMean", write_numbers3(env, c.image_mean))("imageStd", write_numbers3(env, c.image_std));
}

}  // namespace cots::addon
