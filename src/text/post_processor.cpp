#include "text/post_processor.h"

#include "text/json_fields.h"

namespace graft::text {
namespace {

TemplatePiece sequence(int32_t index, int32_t type_id) { return {index, type_id, {}}; }
TemplatePiece special(int32_t id, int32_t type_id) { return {-1, type_id, {id}}; }

// ["[SEP]", 102]
int32_t token_id(const Json& json, const char* name, const std::string& where) {
  const Json& value = array_field(json, name, where);
  if (value.size() != 2 || !value[1].is_number_integer())
    fail("{}: {:?} must be [token, id], not {}", where, name, value.dump());
  return value[1].get<int32_t>();
}

PostProcessor make_bert(const Json& json, const std::string& where) {
  const int32_t cls = token_id(json, "cls", where), sep = token_id(json, "sep", where);
  PostProcessor p;
  p.single = {special(cls, 0), sequence(0, 0), special(sep, 0)};
  p.pair = {special(cls, 0), sequence(0, 0), special(sep, 0), sequence(1, 1), special(sep, 1)};
  return p;
}

PostProcessor make_roberta(const Json& json, const std::string& where) {
  const int32_t cls = token_id(json, "cls", where), sep = token_id(json, "sep", where);
  PostProcessor p;
  p.single = {special(cls, 0), sequence(0, 0), special(sep, 0)};
  p.pair = {special(cls, 0), sequence(0, 0), special(sep, 0),
            special(sep, 0), sequence(1, 0), special(sep, 0)};
  p.trims_offsets = json.value("trim_offsets", true);
  p.add_prefix_space = json.value("add_prefix_space", true);
  return p;
}

PostProcessor bare() {
  PostProcessor p;
  p.single = {sequence(0, 0)};
  p.pair = {sequence(0, 0), sequence(1, 1)};
  return p;
}

PostProcessor make_byte_level(const Json& json, const std::string&) {
  PostProcessor p = bare();
  p.trims_offsets = json.value("trim_offsets", true);
  p.add_prefix_space = json.value("add_prefix_space", true);
  return p;
}

TemplatePiece special_piece(const Json& block, const Json& specials, const std::string& where) {
  const std::string id = string_field(block, "id", where);
  TemplatePiece piece;
  piece.type_id = block.value("type_id", 0);
  // Written as a map from name to tokens, or as a list of them.
  for (const Json& entry : specials)
    if (entry.value("id", "") == id) {
      piece.ids = array_field(entry, "ids", where).get<std::vector<int32_t>>();
      return piece;
    }
  fail("{}: the template names {:?}, which its special_tokens do not define", where, id);
}

std::vector<TemplatePiece> make_template(const Json& pieces, const Json& specials, const std::string& where) {
  std::vector<TemplatePiece> out;
  for (const Json& piece : pieces) {
    if (piece.contains("Sequence")) {
      const Json& block = piece["Sequence"];
      const std::string id = string_field(block, "id", where);
      if (id != "A" && id != "B") fail("{}: the sequences of a template are A and B, not {:?}", where, id);
      out.push_back(sequence(id == "B", block.value("type_id", 0)));
    } else if (piece.contains("SpecialToken")) {
      out.push_back(special_piece(piece["SpecialToken"], specials, where));
    } else {
      fail("{}: unknown template piece {}", where, piece.dump());
    }
  }
  return out;
}

PostProcessor make_template_processing(const Json& json, const std::string& where) {
  PostProcessor p;
  p.is_template = true;
  const Json& specials = field(json, "special_tokens", where);
  p.single = make_template(array_field(json, "single", where), specials, where);
  p.pair = make_template(array_field(json, "pair", where), specials, where);
  return p;
}

// Nested templates: a sequence of a later step is the output of the earlier step.
std::vector<TemplatePiece> nest(const std::vector<TemplatePiece>& outer,
                                const std::vector<TemplatePiece>& inner, bool is_pair) {
  std::vector<TemplatePiece> out;
  for (const TemplatePiece& piece : outer) {
    if (piece.sequence < 0) {
      out.push_back(piece);
      continue;
    }
    if (!is_pair) {
      for (const TemplatePiece& p : inner) out.push_back(p);
      continue;
    }
    // The part of the inner template that belongs to this sequence: its text, and the special tokens around
    // it.
    int32_t at = 0;
    for (const TemplatePiece& p : inner) {
      if (p.sequence == 1) at = 1;
      if (at == piece.sequence) out.push_back(p);
    }
  }
  return out;
}

PostProcessor make_sequence(const Json& json, const std::string& where) {
  PostProcessor p = bare();
  bool first = true;
  for (const Json& part : array_field(json, "processors", where)) {
    const PostProcessor next = make_post_processor(part, where);
    p.trims_offsets |= next.trims_offsets;
    if (next.trims_offsets) p.add_prefix_space = next.add_prefix_space;
    const std::string type = part.value("type", "");
    if (type == "ByteLevel") continue;  // only offsets
    p.is_template |= next.is_template;
    p.single = first ? next.single : nest(next.single, p.single, false);
    p.pair = first ? next.pair : nest(next.pair, p.pair, true);
    first = false;
  }
  return p;
}

std::string infer_type(const Json& json) {
  if (json.contains("single") && json.contains("pair")) return "TemplateProcessing";
  if (json.contains("processors")) return "Sequence";
  if (json.contains("cls") && json.contains("trim_offsets")) return "RobertaProcessing";
  if (json.contains("cls")) return "BertProcessing";
  return "";
}

using Make = PostProcessor (*)(const Json&, const std::string&);

const std::vector<std::pair<std::string, Make>>& registry() {
  static const std::vector<std::pair<std::string, Make>> table = {
      {"BertProcessing", make_bert},  {"RobertaProcessing", make_roberta},
      {"ByteLevel", make_byte_level}, {"TemplateProcessing", make_template_processing},
      {"Sequence", make_sequence},
  };
  return table;
}

}  // namespace

int32_t PostProcessor::num_special(bool is_pair) const {
  int32_t n = 0;
  for (const TemplatePiece& piece : is_pair ? pair : single) n += static_cast<int32_t>(piece.ids.size());
  return n;
}

PostProcessor make_post_processor(const Json& json, const std::string& where) {
  if (json.is_null()) return bare();
  return make_component(registry(), json, infer_type(json), "post_processor", where);
}

}  // namespace graft::text
