// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Data cards: how the columns of a file become the tensors of a batch (format: docs/cards.md).

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bunchtrain::features {

/// What the samples of a card are.
enum class CardKind { jets, showers, hits };
/// "jet", "shower", "event": for messages.
std::string_view sample_word(CardKind kind) noexcept;
/// "particle", "cell", "hit".
std::string_view element_word(CardKind kind) noexcept;

/// A column as a card of that kind calls it: "hit.energy" for "part.energy", which it is within the library.
std::string column_text(CardKind kind, std::string_view column);

/// How the particles (hits) of jets (events) lie in a file.
enum class ElementLayout {
  padded,  ///< as many slots for each, which a mask or a dataset of counts cuts
  csr,     ///< one behind the other, with row splits or counts: in a dataset of their own
  flat,    ///< one behind the other, each with the number of its event
};

/// A dataset of numbers, or a member of a compound one; no name: the layout has none.
struct NumberPlace {
  std::string dataset = {};
  std::string member = {};

  bool empty() const noexcept { return dataset.empty(); }
  bool operator==(const NumberPlace&) const = default;
};

/// `[layout]`: where a file says which particles belong to which jet.
struct LayoutSpec {
  ElementLayout type = ElementLayout::padded;
  NumberPlace row_splits = {};  ///< csr: [jets + 1] from 0 on
  NumberPlace counts = {};      ///< csr, padded: [jets], in place of row splits or a mask
  NumberPlace event = {};       ///< flat: [particles], the number of the event of each; does not descend
  NumberPlace events = {};      ///< flat: [events], its number in the datasets of events; may be missing

  bool operator==(const LayoutSpec&) const = default;
};

/// One `[[read.jet]]` or `[[read.part]]` entry: a dataset, or all datasets of a group, and
/// the names of the columns.
struct ReadSource {
  std::string dataset;               ///< "table/table", or the name of a group
  bool group = false;                ///< the columns are the datasets `dataset`/NAME
  std::string member;                ///< compound member ("values_block_0") or empty
  std::int64_t slice_begin = 0;      ///< columns of the member or of the last axis that are read
  std::int64_t slice_end = -1;       ///< -1 = all
  std::vector<std::string> columns;  ///< names; for particles a flat row is folded to [slots, columns]; empty
                                     ///< = compound members, or datasets of the group, by name
  std::map<std::string, std::string> units;  ///< column -> unit in the file ("*" = all)
  bool per_particle = false;

  bool operator==(const ReadSource&) const = default;
};

/// One input: an expression, clip((x - subtract) * multiply, min, max), or "auto" standardisation.
struct InputSpec {
  std::string expression;
  bool automatic = false;  ///< subtract and multiply from the training split, frozen in the resolved card
  double subtract = 0;
  double multiply = 1;
  std::optional<double> minimum = std::nullopt;
  std::optional<double> maximum = std::nullopt;

  bool operator==(const InputSpec&) const = default;
};

/// A class: its name and the label values that belong to it.
struct ClassSpec {
  std::string name;
  std::vector<std::int64_t> values;

  bool operator==(const ClassSpec&) const = default;
};

/// A number of each jet that a network may estimate: a tensor of the batch, where a dataset is asked for it.
struct TargetSpec {
  std::string name;        ///< of the tensor
  std::string expression;  ///< of a jet
  std::string unit = {};   ///< what texts and axes say: "GeV"; it converts nothing
  bool relative = false;   ///< residuals are shown as (estimate - target) / target
  /// Networks estimate (target - mean) / width. Left out: mean and standard deviation of the training part.
  std::optional<double> mean = std::nullopt;
  std::optional<double> width = std::nullopt;

  bool operator==(const TargetSpec&) const = default;
};

/// A parsed card with all defaults filled in ("kinematics7" expanded).
struct Card {
  std::string name;  ///< built-in name or file stem
  CardKind kind = CardKind::jets;
  LayoutSpec layout = {};
  /// Batches have the particles of all jets one after another, with row splits, instead of `length` slots for each;
  /// always of hits. What is said of particles and jets below, holds for hits and events.
  bool ragged = false;
  std::vector<ReadSource> sources;
  std::string mask;                          ///< expression, true = real particle; empty = every slot
  std::int64_t length = 128;                 ///< padded length P
  std::optional<double> nan = std::nullopt;  ///< replaces NaN after the transform in real entries
  bool sort_by_pt = false;                   ///< quark_gluon: particles sorted by pT first
  std::vector<std::pair<std::string, std::string>> define;  ///< in order: name, expression
  std::vector<std::pair<std::string, std::vector<InputSpec>>>
      inputs;                      ///< in order: tensor name ("points", "features"), its columns
  std::string label;               ///< "jet.is_top", empty = unlabelled
  std::vector<ClassSpec> classes;  ///< output order
  bool drop_other_labels = false;
  std::string signal;                    ///< class name
  std::vector<TargetSpec> targets = {};  ///< in order
  std::string select;                    ///< jet selection expression, may be empty
  /// Jets with NaN or infinity in the columns of selection, weight or split key are left out and counted;
  /// else they are an error.
  bool drop_not_finite = false;
  bool balanced_classes = false;
  std::vector<double> class_weights;  ///< per class, empty = none
  std::string sample_weight;          ///< expression, may be empty
  /// Sample times class weight is multiplied by it. Left out: fitted, so that the magnitudes of the training
  /// part have mean 1.
  std::optional<double> weight_factor = std::nullopt;
  std::string split_by;  ///< "jet.event": rows with equal values stay together
  double valid_fraction = 0.1;
  std::vector<std::string> observers;  ///< columns written beside the scores
  /// Rows that were never written, or whose source file is missing, are read as the dataset's fill value and
  /// counted; else they are an error.
  bool fill_missing = false;

  bool has_weights() const noexcept {
    return balanced_classes || !class_weights.empty() || !sample_weight.empty();
  }
  std::size_t num_inputs(std::string_view tensor) const;  ///< columns of an input tensor
  /// @throws ConfigError with the targets that there are.
  const TargetSpec& target(std::string_view name) const;
  bool operator==(const Card&) const = default;
};

/// What a card says must fit together: classes, signal, length, inputs, names, expressions. The parser and
/// FeaturePipeline call it.
/// @throws ConfigError naming the entry.
void validate(const Card& card);

/// Parses TOML text of a card of jets or hits; `origin` (a path or a name) is what messages call it. @throws ConfigError with the line
/// and, for unknown keys, the nearest known one.
Card parse_card(std::string_view toml, std::string_view origin);
/// A built-in name ("top_tagging") or a path to a .toml file. @throws ConfigError listing the built-in names.
Card load_card(std::string_view name_or_path);
/// Names of the cards of jets inside the library; the same files are installed under share/bunchtrain/cards.
std::vector<std::string> builtin_cards();
/// The same of hits. `load_card` and `parse_card` read both kinds.
std::vector<std::string> builtin_hit_cards();
/// What a card given as a built-in name, a path of a .toml file or TOML text is of. @throws as load_card
CardKind kind_of_card(std::string_view name_or_path);
CardKind kind_of_text(std::string_view toml);
/// The text of a built-in card of any kind, with its comments. @throws ConfigError listing the names.
std::string_view builtin_card_text(std::string_view name);
/// TOML text of the fully resolved card: parses back to an equal card.
std::string to_toml(const Card& card);
/// Whether particles lie one behind the other in the file, as many as each jet has.
inline bool has_ragged_rows(const Card& card) noexcept { return card.layout.type != ElementLayout::padded; }
/// Replaces the padded length P. @throws ConfigError if it is not positive.
void override_length(Card& card, std::int64_t length);
/// Replaces the order of the classes (`--classes top,qcd`). @throws ConfigError unless the
/// names are those of the card.
void override_class_order(Card& card, std::span<const std::string> names);

/// `[label] of = "file"`: the class of a jet is that of its file (`--data top='t*.h5'`).
inline constexpr std::string_view kFileLabel = "file";
/// The column behind it, "jet.(file)": filled by whoever knows the file's class, with
/// one of its label values.
inline constexpr std::string_view kFileColumn = "(file)";

/// Makes the file the label. The classes become `names`, in the order of the card if all are the card's own,
/// else in the order given. Does nothing to a card whose label is the file already.
/// @throws ConfigError for fewer than two classes, for names that are not those of a card whose label is the
/// file, or if the card weighs its classes by numbers and they are others now.
void label_by_file(Card& card, std::span<const std::string> names);
/// The same of a card whose classes are those of a trained network: they stay. @throws ConfigError for a name
/// that is not among them.
void label_by_file_of_known_classes(Card& card, std::span<const std::string> names);
/// "jet.is_top: 0 qcd, 1 top", or "none".
std::string describe_labels(const Card& card);

}  // namespace bunchtrain::features
