// Turns rows of tagged words, or of texts with spans, into a Dataset, and checks the scheme of the tags.
#pragma once
#include <vector>

#include "graft/dataset.h"

namespace graft::data {

// The scheme of the tags of all examples, which are names. Logs it. Tags that break it are a warning with
// file, line and count; an Error if options.tag_scheme names the scheme; with options.repair_tags they are
// replaced by those of the entities that seqeval's default mode reads in them. `file` is for messages.
TagScheme settle_scheme(std::vector<Example>& examples, const DatasetOptions& options,
                        const std::string& file);

// The distinct tags in order of appearance; for spans O and the B- and I- tags of their labels.
std::vector<LabelCount> count_tags(const std::vector<Example>& examples);

}  // namespace graft::data
