// How the names of published checkpoints become this project's and back (SPEC 6.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cots::io {

/// The layouts of names that transformers writes. The two of BEiT read the same and write the final
/// norm where the pooling of the model wants it.
enum class Family { kVit, kBeit, kBeitPooled, kBert, kClip, kDualEncoder };

/// Theirs and ours. Where several of theirs become one of ours the first is written.
using Renames = std::vector<std::pair<std::string_view, std::string_view>>;

struct TowerNames {
  std::string_view tower;                // visual
  std::string_view trunk;                // what names of it begin with
  std::vector<std::string_view> layers;  // then, in a layer, before its number
  Renames outside, inside;               // of a layer; q, k and v are ours too
};

struct Dialect {
  std::string_view model;                  // ViTModel
  std::vector<std::string_view> prefixes;  // of whole models that hold this one
  std::vector<TowerNames> towers;
  Renames whole;  // what belongs to no tower
  /// Ends of our names whose absence in a file means zeros. What is zero is not written.
  std::vector<std::string_view> absent_is_zero;
};

const Dialect& dialect_of(Family family);

/// What a name in a file is.
struct Meaning {
  enum class Kind {
    kWeight,   // `name` is ours
    kLeftOut,  // a head, a pooler, a buffer: what no tower of ours has
    kUnknown   // part of a tower, but of another architecture
  } kind;
  std::string name;
};
Meaning meaning_of(std::string_view published, const Dialect& dialect);

/// The name under which transformers saves `internal`; nothing where the dialect has none.
std::optional<std::string> published_name(std::string_view internal, const Dialect& dialect);

}  // namespace cots::io
