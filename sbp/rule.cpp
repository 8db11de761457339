#include "sbp/rule.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "runtime/base/error.h"

namespace troupe {
namespace {

// A note as text: a word, and the operands in parentheses behind it.
struct Note {
  std::string word;
  std::vector<int> operands;
};

constexpr std::array<std::string_view, 7> kWords = {"linear", "additive", "increasing", "movement",
                                                    "max",    "min",      "added"};

// Reads a rule from left to right and can say where it stands.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw PlanError("rule '" + std::string(text_) + "': at character " + std::to_string(at_) + ": " + what);
  }
  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool at_end() {
    skip_spaces();
    return at_ == text_.size();
  }
  bool take(std::string_view token) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  // Letters, digits and '_'; empty when something else stands here.
  std::string word() {
    skip_spaces();
    const size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

Rule::Operand read_operand(Reader& reader) {
  Rule::Operand operand;
  if (reader.take("*")) {
    operand.whole_only = true;
    return operand;
  }
  if (reader.take(".")) return operand;
  for (std::string name = reader.word(); !name.empty(); name = reader.word()) {
    if (name != "1" && std::find(operand.dims.begin(), operand.dims.end(), name) != operand.dims.end()) {
      reader.refuse("dim '" + name + "' is named twice in one operand; each dim needs its own name");
    }
    operand.dims.push_back(name);
  }
  if (operand.dims.empty()) {
    reader.refuse("an operand is expected: names of dims, '.' for a scalar or '*' for one that must be whole");
  }
  return operand;
}

std::vector<Rule::Operand> read_operands(Reader& reader) {
  std::vector<Rule::Operand> operands = {read_operand(reader)};
  while (reader.take(",")) operands.push_back(read_operand(reader));
  return operands;
}

bool is_named(const std::vector<Rule::Operand>& operands, const std::string& name) {
  return std::any_of(operands.begin(), operands.end(), [&](const Rule::Operand& operand) {
    return std::find(operand.dims.begin(), operand.dims.end(), name) != operand.dims.end();
  });
}

std::string read_note(Reader& reader, const Rule& rule) {
  if (reader.take("!")) {
    const std::string name = reader.word();
    if (!is_named(rule.inputs, name) && !is_named(rule.outputs, name)) {
      reader.refuse("'!" + name + "' names no dim of the rule");
    }
    return "!" + name;
  }
  std::string note = reader.word();
  if (std::find(kWords.begin(), kWords.end(), note) == kWords.end()) {
    reader.refuse("'" + note +
                  "' is no note; linear, additive, increasing, movement, max, min, added(i) or !name are "
                  "possible");
  }
  const std::string word = note;
  bool has_operands = false;
  if (reader.take("(")) {
    note += "(";
    while (!reader.take(")")) {
      const std::string index = reader.word();
      if (index.empty() || !std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; }) ||
          index.size() > 4 || std::stoul(index) >= rule.inputs.size()) {
        reader.refuse("'" + index + "' is no operand; 0 to " + std::to_string(rule.inputs.size() - 1) +
                      " are possible, separated by spaces");
      }
      note += (has_operands ? " " : "") + index;
      has_operands = true;
    }
    note += ")";
  }
  if (word == "added" && !has_operands) reader.refuse("'added' must name its operand, as in added(2)");
  return note;
}

Note note_of(const std::string& text) {
  const size_t open = text.find('(');
  Note note{text.substr(0, open), {}};
  int index = -1;
  for (size_t i = open == std::string::npos ? text.size() : open; i < text.size(); ++i) {
    if (text[i] >= '0' && text[i] <= '9') {
      index = std::max(index, 0) * 10 + (text[i] - '0');
    } else if (index >= 0) {
      note.operands.push_back(index);
      index = -1;
    }
  }
  return note;
}

// The names that can be split, in the order in which they first appear.
std::vector<std::string> split_names(const Rule& rule) {
  std::vector<std::string> names;
  for (const auto* operands : {&rule.inputs, &rule.outputs}) {
    for (const Rule::Operand& operand : *operands) {
      for (const std::string& name : operand.dims) {
        const bool fixed = std::find(rule.notes.begin(), rule.notes.end(), "!" + name) != rule.notes.end();
        if (name != "1" && !fixed && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
  }
  return names;
}

// S where the operand has the name, `otherwise` where it lacks it.
Sbp split_or(const Rule::Operand& operand, const std::string& name, Sbp otherwise) {
  const auto it = std::find(operand.dims.begin(), operand.dims.end(), name);
  if (it != operand.dims.end()) return S(static_cast<int>(it - operand.dims.begin()));
  return operand.whole_only ? B : otherwise;
}

// Collects signatures, each once, in the order in which they come.
class Signatures {
 public:
  explicit Signatures(const Rule& rule) : rule_(rule) {
    for (const std::string& text : rule.notes) {
      if (text[0] != '!') notes_.push_back(note_of(text));
    }
    for (const Note& note : notes_) {
      if (note.word == "added") added_ = note.operands;
    }
  }

  void add(Signature signature) {
    if (std::find(found_.begin(), found_.end(), signature) == found_.end()) found_.push_back(std::move(signature));
  }

  void add_whole() { add({all(rule_.inputs, B), all(rule_.outputs, B)}); }

  void add_split(const std::string& name) {
    const bool is_input = is_named(rule_.inputs, name);
    const Sbp lacking = is_input ? P_of(reduction()) : B;
    Signature signature;
    for (const Rule::Operand& output : rule_.outputs) signature.outputs.push_back(split_or(output, name, lacking));
    const bool partial = std::all_of(signature.outputs.begin(), signature.outputs.end(),
                                     [](const Sbp& sbp) { return sbp.is_partial_sum(); });
    for (size_t i = 0; i < rule_.inputs.size(); ++i) {
      signature.inputs.push_back(split_or(rule_.inputs[i], name, partial && is_added(i) ? P : B));
    }
    add(std::move(signature));
  }

  void add_noted() {
    for (const Note& note : notes_) {
      if (note.word == "linear") {
        for (int operand : operands_of(note)) {
          if (!is_added(static_cast<size_t>(operand))) add_partial({operand}, P);
        }
      } else if (note.word == "additive") {
        add_partial(operands_of(note), P);
      } else if (note.word == "movement") {
        for (Reduction r : {Reduction::sum, Reduction::max, Reduction::min}) add_partial(operands_of(note), P_of(r));
      } else if (note.word == "increasing") {
        for (Reduction r : {Reduction::max, Reduction::min}) add_partial(operands_of(note), P_of(r));
      } else if (note.word == "max") {
        add_partial(operands_of(note), P_of(Reduction::max));
      } else if (note.word == "min") {
        add_partial(operands_of(note), P_of(Reduction::min));
      }
    }
  }

  std::vector<Signature> take() { return std::move(found_); }

 private:
  static std::vector<Sbp> all(const std::vector<Rule::Operand>& operands, Sbp sbp) {
    return std::vector<Sbp>(operands.size(), sbp);
  }

  Reduction reduction() const {
    for (const Note& note : notes_) {
      if (note.word == "max") return Reduction::max;
      if (note.word == "min") return Reduction::min;
    }
    return Reduction::sum;
  }

  bool is_added(size_t operand) const {
    return std::find(added_.begin(), added_.end(), static_cast<int>(operand)) != added_.end();
  }

  // The operands that a note speaks of: those it lists, else all that may be other than whole.
  std::vector<int> operands_of(const Note& note) const {
    if (!note.operands.empty()) return note.operands;
    std::vector<int> operands;
    for (size_t i = 0; i < rule_.inputs.size(); ++i) {
      if (!rule_.inputs[i].whole_only) operands.push_back(static_cast<int>(i));
    }
    return operands;
  }

  // Partial in these operands (and in what is added), whole in the others: partial in all outputs.
  void add_partial(const std::vector<int>& operands, Sbp partial) {
    const bool possible = std::none_of(rule_.outputs.begin(), rule_.outputs.end(),
                                       [](const Rule::Operand& output) { return output.whole_only; });
    if (!possible || operands.empty()) return;
    Signature signature{all(rule_.inputs, B), all(rule_.outputs, partial)};
    for (int operand : operands) signature.inputs[static_cast<size_t>(operand)] = partial;
    for (int operand : added_) signature.inputs[static_cast<size_t>(operand)] = partial;
    add(std::move(signature));
  }

  const Rule& rule_;
  std::vector<Note> notes_;
  std::vector<int> added_;
  std::vector<Signature> found_;
};

// "increasing", "max" and "min" speak of one operand; with several, max over sums of them would not pass.
void refuse_several_operands(const Reader& reader, const Rule& rule) {
  const auto operands = std::count_if(rule.inputs.begin(), rule.inputs.end(),
                                      [](const Rule::Operand& operand) { return !operand.whole_only; });
  for (const std::string& text : rule.notes) {
    const Note note = note_of(text);
    if (note.word != "increasing" && note.word != "max" && note.word != "min") continue;
    const size_t count = note.operands.empty() ? static_cast<size_t>(operands) : note.operands.size();
    if (count != 1) {
      reader.refuse("'" + note.word + "' speaks of one operand, the rule has " + std::to_string(count) +
                    "; name it, as in " + note.word + "(0)");
    }
  }
}

}  // namespace

Rule parse_rule(std::string_view text) {
  Reader reader(text);
  Rule rule;
  rule.inputs = read_operands(reader);
  if (!reader.take("->")) reader.refuse("'->' or ',' is expected");
  rule.outputs = read_operands(reader);
  if (reader.take(";")) {
    do {
      rule.notes.push_back(read_note(reader, rule));
    } while (reader.take(","));
  }
  if (!reader.at_end()) reader.refuse(rule.notes.empty() ? "',' or ';' is expected" : "',' is expected");
  refuse_several_operands(reader, rule);
  return rule;
}

std::vector<Signature> signatures_of(const Rule& rule) {
  Signatures signatures(rule);
  signatures.add_whole();
  for (const std::string& name : split_names(rule)) signatures.add_split(name);
  signatures.add_noted();
  return signatures.take();
}

}  // namespace troupe
