// Tags of entities: B-PER, I-PER, O. The schemes IOB1 and IOB2 (Tjong Kim Sang and Veenstra 1999,
// "Representing text chunks"), BIOES and BILOU, and the entities that a sequence of tags means, as
// seqeval 1.2.2 reads it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graft/dataset.h"

namespace graft::data {

const char* name_of(TagScheme scheme);
// "iob1", "iob2", "bioes", "bilou" in any case. Throws UsageError otherwise.
TagScheme parse_tag_scheme(const std::string& name);

struct Tag {
  char prefix = 'O';  // B I O E S L U
  int32_t type = -1;  // index in TagSet::types(); -1 for O
};

// Entity of tokens [begin, end).
struct TaggedEntity {
  int32_t begin = 0, end = 0, type = 0;
  bool operator==(const TaggedEntity&) const = default;
};

// Label names as tags of a scheme.
class TagSet {
 public:
  explicit TagSet(const std::vector<std::string>& names);
  // Every name is a tag, and not all are O. Otherwise the names are classes (part of speech).
  bool has_entities() const { return entities_; }
  // The first name with a prefix and the first without, where a set has both; -1: it does not mix them.
  int mixed_name() const { return mixed_; }
  const std::vector<std::string>& types() const { return types_; }  // sorted as Python sorts
  const Tag& tag(int id) const { return tags_[static_cast<size_t>(id)]; }
  bool has_prefix(char prefix) const;
  // The id of a tag; -1: there is no such label.
  int find(char prefix, int type) const;
  // The scheme that the prefixes alone tell; iob2 for B and I.
  TagScheme scheme_of_names() const;

 private:
  std::vector<std::string> types_;
  std::vector<Tag> tags_;
  bool entities_ = false;
  int mixed_ = -1;
};

// seqeval's default mode: any sequence of tags has entities, by the rules of conlleval.
std::vector<TaggedEntity> lenient_entities(const std::vector<Tag>& tags);
// seqeval's strict mode: entities that are tagged as the scheme defines them; others are dropped.
std::vector<TaggedEntity> strict_entities(const std::vector<Tag>& tags, TagScheme scheme);

// Tags that may not follow the one before them (or may not end the sequence).
struct SchemeBreaks {
  int64_t count = 0;
  size_t first = 0;  // index of the first such tag
};
SchemeBreaks breaks_of(const std::vector<Tag>& tags, TagScheme scheme);

// The entities in the tags of a scheme.
std::vector<Tag> tags_of(const std::vector<TaggedEntity>& entities, size_t length, TagScheme scheme);

}  // namespace graft::data
