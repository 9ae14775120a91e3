#include "data/tagged_dataset.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "data/stream.h"
#include "data/tag_scheme.h"
#include "data/tagged_reader.h"

namespace graft {
namespace data {
namespace {

// Counts names in order of appearance.
class TagCounts {
 public:
  void add(const std::string& tag, int64_t count, int64_t line) {
    const auto [at, is_new] = index_.emplace(tag, counts_.size());
    if (is_new) counts_.push_back({tag, 0, line});
    counts_[at->second].count += count;
  }
  std::vector<LabelCount> take() { return std::move(counts_); }

 private:
  std::unordered_map<std::string, size_t> index_;
  std::vector<LabelCount> counts_;
};

// The tags of the examples as ids of their names.
struct ReadTags {
  std::vector<std::string> names;
  TagSet set{std::vector<std::string>()};
  std::unordered_map<std::string, int> ids;

  explicit ReadTags(const std::vector<LabelCount>& counts) {
    for (const LabelCount& c : counts) {
      ids.emplace(c.label, static_cast<int>(names.size()));
      names.push_back(c.label);
    }
    set = TagSet(names);
  }
  std::vector<Tag> of(const Example& example) const {
    std::vector<Tag> tags;
    for (const TaggedWord& word : example.words) tags.push_back(set.tag(ids.at(word.tag)));
    return tags;
  }
  std::string text_of(const Tag& tag) const {
    if (tag.prefix == 'O') return "O";
    const std::string& type = set.types()[static_cast<size_t>(tag.type)];
    return type == "_" ? std::string(1, tag.prefix) : fmt::format("{}-{}", tag.prefix, type);
  }
};

// The tags that break a scheme.
struct AllBreaks {
  int64_t count = 0, sentences = 0, words = 0;
  const Example* first = nullptr;
  size_t at = 0;
};

AllBreaks breaks_of_all(const std::vector<Example>& examples, const ReadTags& read, TagScheme scheme) {
  AllBreaks all;
  for (const Example& e : examples) {
    const SchemeBreaks b = breaks_of(read.of(e), scheme);
    all.words += static_cast<int64_t>(e.words.size());
    if (b.count == 0) continue;
    if (!all.first) all.first = &e, all.at = b.first;
    all.count += b.count;
    ++all.sentences;
  }
  return all;
}

// B- and I- tags: IOB1 has a B- behind its own type only, so that most of its entities break IOB2. Where both
// schemes are broken, errors of an IOB2 file are the likelier cause.
TagScheme detect(const std::vector<Example>& examples, const ReadTags& read) {
  const TagScheme by_names = read.set.scheme_of_names();
  if (by_names != TagScheme::iob2) return by_names;
  const int64_t broken2 = breaks_of_all(examples, read, TagScheme::iob2).count;
  if (broken2 == 0) return TagScheme::iob2;
  const int64_t broken1 = breaks_of_all(examples, read, TagScheme::iob1).count;
  return 4 * broken1 < broken2 ? TagScheme::iob1 : TagScheme::iob2;
}

// "line 12: 'Paris' I-LOC behind O"
std::string describe(const AllBreaks& b) {
  const std::vector<TaggedWord>& words = b.first->words;
  return fmt::format(
      "line {}: '{}' {} {}", words[b.at].line, shown(words[b.at].text), shown(words[b.at].tag),
      b.at == 0 ? "at the start of a sentence"
                : "behind " + shown(words[b.at - 1].tag) + (b.at + 1 == words.size() ? " at the end" : ""));
}

void repair(std::vector<Example>& examples, const ReadTags& read, TagScheme scheme) {
  for (Example& e : examples) {
    const std::vector<Tag> tags = read.of(e);
    if (breaks_of(tags, scheme).count == 0) continue;
    const std::vector<Tag> good = tags_of(lenient_entities(tags), tags.size(), scheme);
    for (size_t i = 0; i < good.size(); ++i) e.words[i].tag = read.text_of(good[i]);
  }
}

void check_prefixes(const ReadTags& read, const std::vector<LabelCount>& counts,
                    const DatasetOptions& options, const std::string& file) {
  const auto line_of = [&](size_t i) { return counts[i].line; };
  if (!options.tag_scheme.empty()) {
    const std::string allowed = name_of(parse_tag_scheme(options.tag_scheme));
    for (size_t i = 0; i < read.names.size(); ++i) {
      const std::string& tag = read.names[i];
      const bool has_prefix = tag.size() == 1 || (tag.size() > 1 && tag[1] == '-');
      const bool fits = has_prefix && allowed.find(tag[0]) != std::string::npos;
      if (!fits)
        fail_with("correct the tag, or leave --tag_scheme out: the scheme is then found from the tags",
                  "{}: line {}: the tag '{}' is none of {} (--tag_scheme {})", file, line_of(i),
                  shown(read.names[i]), allowed, options.tag_scheme);
    }
  }
  if (const int mixed = read.set.mixed_name(); mixed >= 0) {
    const auto at = static_cast<size_t>(mixed);
    log_warning(
        "{}: line {}: the tag '{}' has no prefix such as B- or I-, though others have: the tags are scored "
        "as "
        "classes of words, not as entities",
        file, line_of(at), shown(read.names[at]));
  }
}

// Tags of a scheme with another sign for the dash are classes of words, which is seldom meant.
void warn_of_other_signs(const std::vector<LabelCount>& counts, const std::string& file) {
  const auto looks_like = [](const LabelCount& c) {
    return c.label == "O" ||
           (c.label.size() > 2 && std::string_view("BIESLU").find(c.label[0]) != std::string_view::npos &&
            std::string_view("_:./").find(c.label[1]) != std::string_view::npos);
  };
  const auto first =
      std::find_if(counts.begin(), counts.end(), [](const LabelCount& c) { return c.label != "O"; });
  if (first == counts.end() || !std::all_of(counts.begin(), counts.end(), looks_like)) return;
  log_warning(
      "{}: the tags, such as {}, are read as classes of words, not as entities: those have a dash behind the "
      "prefix ({}-{})",
      file, shown(first->label), first->label[0], shown(first->label.substr(2)));
}

}  // namespace

TagScheme settle_scheme(std::vector<Example>& examples, const DatasetOptions& options,
                        const std::string& file) {
  const std::vector<LabelCount> counts = count_tags(examples);
  const ReadTags read(counts);
  check_prefixes(read, counts, options, file);
  if (!read.set.has_entities()) {
    warn_of_other_signs(counts, file);
    if (options.repair_tags)
      log_info("{}: --repair_tags has no effect: the tags have no prefixes such as B- and I-", file);
    return TagScheme::none;
  }
  const TagScheme scheme =
      options.tag_scheme.empty() ? detect(examples, read) : parse_tag_scheme(options.tag_scheme);
  if (scheme == TagScheme::none) {
    log_warning("{}: the tags mix the prefixes of BIOES (E-, S-) and BILOU (L-, U-): they are no scheme",
                file);
    return scheme;
  }
  const AllBreaks broken = breaks_of_all(examples, read, scheme);
  if (broken.count == 0) {
    log_info("{}: tags of the scheme {}", file, name_of(scheme));
    return scheme;
  }
  const std::string what =
      fmt::format("{} of {} tags in {} sentences break the scheme {} (the first on {})", broken.count,
                  broken.words, broken.sentences, name_of(scheme), describe(broken));
  if (options.repair_tags) {
    log_warning("{}: {}: repaired", file, what);
    repair(examples, read, scheme);
  } else if (!options.tag_scheme.empty()) {
    fail_with("correct the file, or repair the tags with --repair_tags true", "{}: {}", file, what);
  } else {
    log_warning("{}: {}; the model learns them as they are; --repair_tags true repairs them", file, what);
  }
  return scheme;
}

std::vector<LabelCount> count_tags(const std::vector<Example>& examples) {
  TagCounts counts;
  for (const Example& e : examples) {
    for (const TaggedWord& word : e.words) counts.add(word.tag, 1, word.line);
    if (!e.has_spans) continue;
    counts.add("O", 1, e.line);
    for (const TextSpan& span : e.spans) {
      counts.add("B-" + span.label, 1, e.line);
      counts.add("I-" + span.label, 1, e.line);
    }
  }
  return counts.take();
}

}  // namespace data

Dataset Dataset::tagged_from_file(const std::filesystem::path& path, const DatasetOptions& options) {
  data::TaggedReader reader(path, options);
  Dataset dataset;
  dataset.origin_ = data::name_of(path);
  std::vector<Example>& examples = dataset.examples_;
  int64_t empty = 0, first_empty = 0;
  for (Example example; reader.next(example);) {
    const bool nothing = reader.reads_texts() ? example.text.empty() : example.words.empty();
    if (nothing && empty++ == 0) first_empty = example.line;
    if (!nothing) examples.push_back(std::move(example));
  }
  if (empty > 0)
    log_warning("{}: {} rows without a word are left out (the first on line {})", dataset.origin_, empty,
                first_empty);
  if (reader.integer_tags() && (options.repair_tags || !options.tag_scheme.empty()))
    fail_with("write the tags as names",
              "{}: the tags are ids: their scheme is in the names, which the file does not hold",
              dataset.origin_);
  if (reader.reads_texts())
    dataset.tag_scheme_ = TagScheme::iob2;
  else if (!reader.integer_tags())
    dataset.tag_scheme_ = data::settle_scheme(examples, options, dataset.origin_);
  dataset.label_column_ = reader.tag_column();
  dataset.label_counts_ = data::count_tags(examples);
  dataset.label_kind_ = dataset.label_item_kind_ =
      reader.integer_tags() ? LabelKind::integers : LabelKind::strings;
  if (options.max_samples >= 0 && examples.size() > static_cast<size_t>(options.max_samples))
    examples.resize(static_cast<size_t>(options.max_samples));
  return dataset;
}

void Dataset::take_tags() {
  const std::string file = origin_.empty() ? "the data" : origin_;
  const bool spans =
      std::any_of(examples_.begin(), examples_.end(), [](const Example& e) { return e.has_spans; });
  tag_scheme_ = spans ? TagScheme::iob2 : data::settle_scheme(examples_, {}, file);
  label_counts_ = data::count_tags(examples_);
  label_kind_ = label_item_kind_ = LabelKind::strings;
}

}  // namespace graft
