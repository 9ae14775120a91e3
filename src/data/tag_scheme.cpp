#include "data/tag_scheme.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "base/error.h"

namespace graft::data {
namespace {

constexpr std::string_view kPrefixes = "BIESLU";

bool is_tag(const std::string& name) {
  if (name == "O") return true;
  return !name.empty() && kPrefixes.find(name[0]) != kPrefixes.npos && (name.size() == 1 || name[1] == '-');
}

// As seqeval: what stands behind the first dash; "_" where there is nothing.
std::string type_of(const std::string& name) { return name.size() > 2 ? name.substr(2) : "_"; }

// The rules of seqeval.metrics.sequence_labeling.end_of_chunk and start_of_chunk.
bool ends_chunk(const Tag& before, const Tag& tag) {
  const char p = before.prefix, c = tag.prefix;
  if (p == 'E' || p == 'S') return true;
  if ((p == 'B' || p == 'I') && (c == 'B' || c == 'S' || c == 'O')) return true;
  return p != 'O' && before.type != tag.type;
}
bool starts_chunk(const Tag& before, const Tag& tag) {
  const char p = before.prefix, c = tag.prefix;
  if (c == 'B' || c == 'S') return true;
  if ((p == 'E' || p == 'S' || p == 'O') && (c == 'E' || c == 'I')) return true;
  return c != 'O' && before.type != tag.type;
}

struct Ends {
  char last, single;  // of an entity
};
Ends ends_of(TagScheme scheme) { return scheme == TagScheme::bilou ? Ends{'L', 'U'} : Ends{'E', 'S'}; }

// The patterns of seqeval.scheme: whether a tag starts an entity, continues it, or ends that of the tag
// before.
bool strict_start(const Tag& before, const Tag& tag, TagScheme scheme) {
  const char p = before.prefix, c = tag.prefix;
  if (scheme == TagScheme::iob1) {
    const bool same = before.type == tag.type;
    if (c == 'I') return p == 'O' || p == 'B' || (p == 'I' && !same);
    return c == 'B' && (p == 'I' || p == 'B') && same;
  }
  return c == 'B' || (scheme != TagScheme::iob2 && c == ends_of(scheme).single);
}
bool strict_inside(const Tag& before, const Tag& tag, TagScheme scheme) {
  const char p = before.prefix, c = tag.prefix;
  const bool last = scheme != TagScheme::iob1 && scheme != TagScheme::iob2 && c == ends_of(scheme).last;
  return (p == 'B' || p == 'I') && (c == 'I' || last) && before.type == tag.type;
}
bool strict_end(const Tag& before, const Tag& tag, TagScheme scheme) {
  const char p = before.prefix, c = tag.prefix;
  if (scheme != TagScheme::iob1 && scheme != TagScheme::iob2)
    return p == ends_of(scheme).last || p == ends_of(scheme).single;
  const bool same = before.type == tag.type;
  if (p != 'I' && p != 'B') return false;
  if (c == 'O') return true;
  if (c == 'I') return !same;
  return c == 'B' && (p == 'I' || same || scheme == TagScheme::iob2);
}

// Whether `tag` may follow `before`; O stands before the first tag and after the last one.
bool may_follow(const Tag& before, const Tag& tag, TagScheme scheme) {
  const char p = before.prefix, c = tag.prefix;
  const bool same = p != 'O' && before.type == tag.type;
  if (scheme == TagScheme::iob2) return c != 'I' || same;
  if (scheme == TagScheme::iob1) return c != 'B' || same;
  const bool open = p == 'B' || p == 'I';
  const bool goes_on = c == 'I' || c == ends_of(scheme).last;
  return open ? goes_on && same : !goes_on;
}

}  // namespace

const char* name_of(TagScheme scheme) {
  switch (scheme) {
    case TagScheme::iob1:
      return "IOB1";
    case TagScheme::iob2:
      return "IOB2";
    case TagScheme::bioes:
      return "BIOES";
    case TagScheme::bilou:
      return "BILOU";
    case TagScheme::none:
      break;
  }
  return "no scheme";
}

TagScheme parse_tag_scheme(const std::string& name) {
  std::string upper = name;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const TagScheme s : {TagScheme::iob1, TagScheme::iob2, TagScheme::bioes, TagScheme::bilou})
    if (upper == name_of(s)) return s;
  if (upper == "BIO") return TagScheme::iob2;
  if (upper == "IOBES") return TagScheme::bioes;
  throw UsageError(fmt::format("--tag_scheme {} is not known; there are: iob1, iob2, bioes, bilou", name));
}

TagSet::TagSet(const std::vector<std::string>& names) {
  int with = -1, without = -1;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!is_tag(names[i])) without = static_cast<int>(i);
    if (is_tag(names[i]) && names[i].size() > 2) with = static_cast<int>(i);
    if (is_tag(names[i]) && names[i] != "O") types_.push_back(type_of(names[i]));
  }
  entities_ = without < 0 && !types_.empty();
  if (without >= 0 && with >= 0) mixed_ = without;
  std::sort(types_.begin(), types_.end());
  types_.erase(std::unique(types_.begin(), types_.end()), types_.end());
  for (const std::string& name : names) {
    Tag tag;
    if (entities_ && name != "O") {
      tag.prefix = name[0];
      const auto at = std::lower_bound(types_.begin(), types_.end(), type_of(name));
      tag.type = static_cast<int32_t>(at - types_.begin());
    }
    tags_.push_back(tag);
  }
}

bool TagSet::has_prefix(char prefix) const {
  return std::any_of(tags_.begin(), tags_.end(), [&](const Tag& t) { return t.prefix == prefix; });
}

int TagSet::find(char prefix, int type) const {
  for (size_t i = 0; i < tags_.size(); ++i)
    if (tags_[i].prefix == prefix && tags_[i].type == type) return static_cast<int>(i);
  return -1;
}

TagScheme TagSet::scheme_of_names() const {
  if (!entities_) return TagScheme::none;
  const bool es = has_prefix('E') || has_prefix('S'), lu = has_prefix('L') || has_prefix('U');
  if (es && lu) return TagScheme::none;
  return es ? TagScheme::bioes : lu ? TagScheme::bilou : TagScheme::iob2;
}

std::vector<TaggedEntity> lenient_entities(const std::vector<Tag>& tags) {
  std::vector<TaggedEntity> out;
  Tag before;
  int32_t begin = 0;
  for (size_t i = 0; i <= tags.size(); ++i) {
    const Tag tag = i < tags.size() ? tags[i] : Tag();
    if (ends_chunk(before, tag)) out.push_back({begin, static_cast<int32_t>(i), before.type});
    if (starts_chunk(before, tag)) begin = static_cast<int32_t>(i);
    before = tag;
  }
  return out;
}

std::vector<TaggedEntity> strict_entities(const std::vector<Tag>& tags, TagScheme scheme) {
  std::vector<TaggedEntity> out;
  const auto at = [&](size_t i) { return i < tags.size() ? tags[i] : Tag(); };
  for (size_t i = 0; i < tags.size();) {
    if (!strict_start(i == 0 ? Tag() : tags[i - 1], tags[i], scheme)) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < tags.size() && strict_inside(tags[end - 1], tags[end], scheme)) ++end;
    if (strict_end(tags[end - 1], at(end), scheme))
      out.push_back({static_cast<int32_t>(i), static_cast<int32_t>(end), tags[i].type});
    i = end;
  }
  return out;
}

SchemeBreaks breaks_of(const std::vector<Tag>& tags, TagScheme scheme) {
  SchemeBreaks out;
  for (size_t i = 0; i <= tags.size(); ++i) {
    const Tag before = i == 0 ? Tag() : tags[i - 1], tag = i < tags.size() ? tags[i] : Tag();
    if (may_follow(before, tag, scheme)) continue;
    if (out.count++ == 0) out.first = std::min(i, tags.size() - 1);
  }
  return out;
}

std::vector<Tag> tags_of(const std::vector<TaggedEntity>& entities, size_t length, TagScheme scheme) {
  std::vector<Tag> out(length);
  const TaggedEntity* before = nullptr;
  for (const TaggedEntity& e : entities) {
    const bool touches = before && before->end == e.begin && before->type == e.type;
    const bool marks_end = scheme == TagScheme::bioes || scheme == TagScheme::bilou;
    for (int32_t i = e.begin; i < e.end; ++i) out[static_cast<size_t>(i)] = {'I', e.type};
    Tag& first = out[static_cast<size_t>(e.begin)];
    Tag& last = out[static_cast<size_t>(e.end) - 1];
    if (scheme != TagScheme::iob1 || touches) first.prefix = 'B';
    if (marks_end) last.prefix = e.end - e.begin == 1 ? ends_of(scheme).single : ends_of(scheme).last;
    before = &e;
  }
  return out;
}

}  // namespace graft::data
