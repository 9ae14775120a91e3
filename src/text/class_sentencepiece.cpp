// What the sentencepiece classes of transformers 5 change in the blocks of a tokenizer.json
// (models/{xlm_roberta,albert,deberta_v2,t5}/tokenization_*.py, __init__).
#include <algorithm>
#include <functional>

#include "text/class_table.h"
#include "text/legacy.h"

namespace graft::text {
namespace {

const char* prefix_scheme(const std::string& name, bool add_prefix_space) {
  if (add_prefix_space) return "always";
  return name == "DebertaV2Tokenizer" ? "first" : "never";
}

// Sets prepend_scheme in a block or in the blocks of a Sequence. False if there is no Metaspace.
bool set_prefix(Json& block, const char* scheme) {
  if (!block.is_object()) return false;
  if (block.value("type", "") == "Metaspace") {
    if (block.contains("add_prefix_space")) block["add_prefix_space"] = scheme != std::string("never");
    block["prepend_scheme"] = scheme;
    return true;
  }
  if (!block.contains("pretokenizers")) return false;
  bool found = false;
  for (Json& part : block["pretokenizers"]) found |= set_prefix(part, scheme);
  return found;
}

bool has_type(const Json& block, const char* type) {
  return block.is_object() && block.value("type", "") == type;
}

// Adds or removes one normalizer of ALBERT's Sequence. An added one is inserted before `next`.
void set_normalizer(Json& list, const char* type, bool wanted, const std::vector<const char*>& next) {
  Json out = Json::array();
  bool present = false;
  for (const Json& block : list) {
    const bool is_it = has_type(block, type);
    const bool is_next =
        std::any_of(next.begin(), next.end(), [&](const char* other) { return has_type(block, other); });
    if (wanted && !present && is_next) out.push_back({{"type", type}});
    present |= is_it || (wanted && is_next);
    if (!is_it || wanted) out.push_back(block);
  }
  if (wanted && !present) out.push_back({{"type", type}});
  list = out;
}

void override_albert_normalizer(const FolderConfig& config, TokenizerParts& parts) {
  Json& normalizer = parts.blocks["normalizer"];
  if (!has_type(normalizer, "Sequence") || !normalizer.contains("normalizers")) return;
  Json list = normalizer["normalizers"];
  if (config.tokenizer_config.contains("keep_accents")) {
    const bool strip = !config.flag("keep_accents", false);
    set_normalizer(list, "NFKD", strip, {"StripAccents", "Lowercase", "Precompiled"});
    set_normalizer(list, "StripAccents", strip, {"Lowercase", "Precompiled"});
  }
  if (config.tokenizer_config.contains("do_lower_case"))
    set_normalizer(list, "Lowercase", config.flag("do_lower_case", true), {"Precompiled"});
  if (list == normalizer["normalizers"]) return;
  normalizer["normalizers"] = list;
  parts.normalizer = make_normalizer(normalizer, parts.where);
  parts.added.refresh(parts.normalizer.get());
}

}  // namespace

void override_sentencepiece(const FolderConfig& config, const std::string& name, TokenizerParts& parts) {
  const bool is_t5 = name == "T5Tokenizer" || name == "MT5Tokenizer", is_llama = name == "LlamaTokenizer";
  if (config.has_flag("add_prefix_space") && !is_t5 && !is_llama) {
    const char* scheme = prefix_scheme(name, config.flag("add_prefix_space", true));
    if (set_prefix(parts.blocks["pre_tokenizer"], scheme))
      parts.pre_tokenizer = make_pre_tokenizer(parts.blocks["pre_tokenizer"], parts.where);
    if (set_prefix(parts.blocks["decoder"], scheme))
      parts.decoder = make_decoder(parts.blocks["decoder"], parts.where);
  }
  if (name == "AlbertTokenizer") override_albert_normalizer(config, parts);
}

void override_end_tokens(const FolderConfig& config, const std::string& name, TokenizerParts& parts) {
  const bool is_t5 = name == "T5Tokenizer" || name == "MT5Tokenizer";
  if (!is_t5 && name != "XLMRobertaTokenizer") return;
  if (!config.find_role("eos_token") && (is_t5 || !config.find_role("bos_token"))) return;
  const std::string bos = is_t5 ? "" : config.role("bos_token", "<s>");
  const std::string eos = config.role("eos_token", "</s>");
  const auto id_of = [&](const std::string& token) {
    const AddedToken* added = parts.added.by_content(token);
    return added ? added->id : parts.model->vocab.find(token);
  };
  const int32_t bos_id = is_t5 ? 0 : id_of(bos), eos_id = id_of(eos);
  const std::vector<TemplatePiece>& now = parts.post_processor.single;
  const bool has_end = !now.empty() && now.back().ids.size() == 1;
  const bool has_begin = is_t5 || (now.size() == 3 && now[0].ids.size() == 1);
  if (!has_end || !has_begin || bos_id < 0 || eos_id < 0) return;
  if (now.back().ids[0] == eos_id && (is_t5 || now[0].ids[0] == bos_id)) return;
  Json& post = parts.blocks["post_processor"];
  post = is_t5 ? end_template(eos, eos_id) : template_block(bos, bos_id, eos, eos_id, true);
  parts.post_processor = make_post_processor(post, parts.where);
}

}  // namespace graft::text
