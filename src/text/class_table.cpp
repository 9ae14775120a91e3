#include "text/class_table.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "text/legacy.h"

namespace graft::text {
namespace {

// What a class changes in the blocks of a tokenizer.json when it is constructed.
enum class Overrides { bert, roberta, prefix_space, sentencepiece };

struct ClassEntry {
  const char* name;
  LegacyFiles files;
  Overrides overrides;
};

constexpr ClassEntry kClasses[] = {
    {"BertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"DistilBertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"ElectraTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"MPNetTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"MobileBertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"ConvBertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"LayoutLMTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"LxmertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"RetriBertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"SqueezeBertTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"DPRContextEncoderTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"DPRQuestionEncoderTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"DPRReaderTokenizer", LegacyFiles::vocab_txt, Overrides::bert},
    {"RobertaTokenizer", LegacyFiles::vocab_json, Overrides::roberta},
    {"BartTokenizer", LegacyFiles::vocab_json, Overrides::roberta},
    {"LongformerTokenizer", LegacyFiles::vocab_json, Overrides::roberta},
    {"LEDTokenizer", LegacyFiles::vocab_json, Overrides::roberta},
    {"GPT2Tokenizer", LegacyFiles::vocab_json, Overrides::prefix_space},
    {"DebertaTokenizer", LegacyFiles::vocab_json, Overrides::prefix_space},
    {"XLMRobertaTokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
    {"T5Tokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
    {"MT5Tokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
    {"AlbertTokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
    {"DebertaV2Tokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
    {"LlamaTokenizer", LegacyFiles::sentencepiece, Overrides::sentencepiece},
};

// Classes that exist in Python only and cannot read a tokenizer.json (transformers 4.57 and 5.24).
constexpr const char* kPythonOnly[] = {"BartphoTokenizer",
                                       "BertGenerationTokenizer",
                                       "BertJapaneseTokenizer",
                                       "BertweetTokenizer",
                                       "BioGptTokenizer",
                                       "ByT5Tokenizer",
                                       "CTRLTokenizer",
                                       "CanineTokenizer",
                                       "ClvpTokenizer",
                                       "CpmAntTokenizer",
                                       "DiaTokenizer",
                                       "ErnieMTokenizer",
                                       "EsmTokenizer",
                                       "FSMTTokenizer",
                                       "FastSpeech2ConformerTokenizer",
                                       "FlaubertTokenizer",
                                       "GPTNeoXJapaneseTokenizer",
                                       "GPTSanJapaneseTokenizer",
                                       "GPTSw3Tokenizer",
                                       "JukeboxTokenizer",
                                       "LukeTokenizer",
                                       "M2M100Tokenizer",
                                       "MLukeTokenizer",
                                       "MarianTokenizer",
                                       "MgpstrTokenizer",
                                       "MyT5Tokenizer",
                                       "PLBartTokenizer",
                                       "PerceiverTokenizer",
                                       "PhobertTokenizer",
                                       "Pop2PianoTokenizer",
                                       "ProphetNetTokenizer",
                                       "RoCBertTokenizer",
                                       "RoFormerTokenizer",
                                       "SiglipTokenizer",
                                       "Speech2Text2Tokenizer",
                                       "Speech2TextTokenizer",
                                       "SpeechT5Tokenizer",
                                       "TapasTokenizer",
                                       "TapexTokenizer",
                                       "TransfoXLTokenizer",
                                       "VitsTokenizer",
                                       "Wav2Vec2CTCTokenizer",
                                       "Wav2Vec2PhonemeCTCTokenizer",
                                       "Wav2Vec2Tokenizer",
                                       "XLMProphetNetTokenizer",
                                       "XLMTokenizer"};

// Classes without a method of their own: tokenizer.json alone defines them.
constexpr const char* kGeneric[] = {"GemmaTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizer",
                                    "TokenizersBackend", "PythonBackend"};

template <size_t n>
bool contains(const char* const (&names)[n], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

const ClassEntry* find_class(const std::string& name) {
  const auto* it = std::find_if(std::begin(kClasses), std::end(kClasses),
                                [&](const ClassEntry& entry) { return name == entry.name; });
  return it == std::end(kClasses) ? nullptr : it;
}

// The file that names the class.
std::string place_of_class(const FolderConfig& config) {
  const Json own = config.tokenizer_config.value("tokenizer_class", Json());
  const bool here = own.is_string() && !own.get<std::string>().empty();
  return (config.folder / (here ? "tokenizer_config.json" : "config.json")).string();
}

std::string implemented(LegacyFiles files) {
  std::string out;
  for (const ClassEntry& entry : kClasses)
    if (entry.files == files) out += (out.empty() ? "" : ", ") + std::string(entry.name);
  return out;
}

// True if the checkpoint's own Python code constructs the tokenizer.
bool has_own_code(const FolderConfig& config) {
  const Json map = config.tokenizer_config.value("auto_map", Json());
  return map.is_array() || (map.is_object() && map.contains("AutoTokenizer"));
}

std::string reason_of(const std::string& name) {
  if (name == "BertJapaneseTokenizer") return "it cuts words with MeCab, Sudachi or Juman++";
  if (name == "RoFormerTokenizer") return "it cuts words with jieba";
  return "its rules are Python code";
}

// The normalizer of BERT-like classes: the class sets all three fields.
void override_normalizer(const FolderConfig& config, bool has_class, TokenizerParts& parts) {
  Json& normalizer = parts.blocks["normalizer"];
  if (!normalizer.is_object() || normalizer.value("type", "") != "BertNormalizer") return;
  Json wanted = normalizer;
  const auto set = [&](const char* name, const char* field, const Json& fallback) {
    const auto it = config.tokenizer_config.find(name);
    if (it != config.tokenizer_config.end())
      wanted[field] = *it;
    else if (has_class)
      wanted[field] = fallback;
  };
  set("do_lower_case", "lowercase", true);
  set("strip_accents", "strip_accents", nullptr);
  set("tokenize_chinese_chars", "handle_chinese_chars", true);
  if (wanted == normalizer) return;
  if (wanted["lowercase"] != normalizer.value("lowercase", Json(true)) &&
      !config.tokenizer_config.contains("do_lower_case"))
    log_warning(
        "{}: {} lower-cases texts unless tokenizer_config.json sets do_lower_case to false, though "
        "tokenizer.json "
        "keeps their case; this follows the class, as transformers does",
        parts.where, config.tokenizer_class());
  normalizer = wanted;
  parts.normalizer = make_normalizer(wanted, parts.where);
  parts.added.refresh(parts.normalizer.get());
}

void override_flag(Json& block, const char* field, bool value, bool& changed) {
  if (block.value(field, true) == value) return;
  block[field] = value;
  changed = true;
}

// add_prefix_space of the pre-tokenizer and, for RoBERTa-like classes, add_prefix_space and trim_offsets of
// the post-processor.
void override_byte_level(const FolderConfig& config, const ClassEntry* entry, TokenizerParts& parts) {
  const bool forced = entry != nullptr;
  const bool sets_prefix = forced || config.has_flag("add_prefix_space");
  const bool sets_trim = forced || config.tokenizer_config.contains("trim_offsets");
  const bool prefix = config.flag("add_prefix_space", false), trim = config.flag("trim_offsets", true);
  bool changed = false;
  Json& pre = parts.blocks["pre_tokenizer"];
  if (sets_prefix && pre.is_object() && pre.value("type", "") == "ByteLevel")
    override_flag(pre, "add_prefix_space", prefix, changed);
  if (changed) parts.pre_tokenizer = make_pre_tokenizer(pre, parts.where);
  if (entry && entry->overrides != Overrides::roberta) return;
  Json& post = parts.blocks["post_processor"];
  const std::string type = post.is_object() ? post.value("type", "") : "";
  if (type != "RobertaProcessing" && type != "ByteLevel") return;
  changed = false;
  if (sets_prefix) override_flag(post, "add_prefix_space", prefix, changed);
  if (sets_trim) override_flag(post, "trim_offsets", trim, changed);
  if (changed) parts.post_processor = make_post_processor(post, parts.where);
}

// cls_token and sep_token of the small files: BERT-like and RoBERTa-like classes build the post-processor
// with them.
void override_template(const FolderConfig& config, const ClassEntry& entry, TokenizerParts& parts) {
  const bool roberta = entry.overrides == Overrides::roberta,
             mpnet = entry.name == std::string("MPNetTokenizer");
  if (!config.find_role("cls_token") && !config.find_role("sep_token")) return;
  const std::string cls = config.role("cls_token", roberta || mpnet ? "<s>" : "[CLS]");
  const std::string sep = config.role("sep_token", roberta || mpnet ? "</s>" : "[SEP]");
  const auto id_of = [&](const std::string& token) {
    const AddedToken* added = parts.added.by_content(token);
    return added ? added->id : parts.model->vocab.find(token);
  };
  const int32_t cls_id = id_of(cls), sep_id = id_of(sep);
  const std::vector<TemplatePiece>& now = parts.post_processor.single;
  const bool wraps = now.size() == 3 && now[0].ids.size() == 1 && now[2].ids.size() == 1;
  if (!wraps || cls_id < 0 || sep_id < 0 || (now[0].ids[0] == cls_id && now[2].ids[0] == sep_id)) return;
  Json& post = parts.blocks["post_processor"];
  if (roberta)
    post = {{"type", "RobertaProcessing"},
            {"sep", Json::array({sep, sep_id})},
            {"cls", Json::array({cls, cls_id})},
            {"trim_offsets", parts.post_processor.trims_offsets},
            {"add_prefix_space", parts.post_processor.add_prefix_space}};
  else
    post = template_block(cls, cls_id, sep, sep_id, mpnet);
  parts.post_processor = make_post_processor(post, parts.where);
}

}  // namespace

void check_class(const FolderConfig& config, bool has_tokenizer_json) {
  const std::string written = config.written_class(), name = config.tokenizer_class();
  if (written.empty()) return;
  const std::string place = place_of_class(config);
  const bool is_fast = written.ends_with("Fast") && name != "RoFormerTokenizer";
  if (contains(kPythonOnly, name) && !(is_fast && has_tokenizer_json))
    fail_with(
        "convert the checkpoint to a tokenizer that a tokenizer.json can hold, or use another checkpoint",
        "{}: the tokenizer class {} is not implemented: {}, which the files here do not hold", place, written,
        reason_of(name));
  const ClassEntry* entry = find_class(name);
  if (has_own_code(config) && !entry)
    fail_with("save the tokenizer as a tokenizer.json with the class PreTrainedTokenizerFast, if it can be",
              "{}: the tokenizer class {} is made by the checkpoint's own Python code (\"auto_map\"), which "
              "is not run",
              place, written);
  if (has_tokenizer_json) {
    if (!entry && !is_fast && !contains(kGeneric, name))
      log_warning("{}: the tokenizer class {} is not known; tokenizer.json is read as it is", place, written);
    return;
  }
  const std::string hint =
      "in Python, AutoTokenizer.from_pretrained(...).save_pretrained(...) writes a tokenizer.json, "
      "which any tokenizer can be read from; copy it into the folder";
  if (contains(kGeneric, name))
    fail_with(hint, "{}: the tokenizer class {} is read from a tokenizer.json, which {} lacks", place,
              written, config.folder.string());
  if (!entry)
    fail_with(
        hint,
        "{}: the tokenizer class {} is not implemented without a tokenizer.json (implemented: {}, {}, {})",
        place, written, implemented(LegacyFiles::vocab_txt), implemented(LegacyFiles::vocab_json),
        implemented(LegacyFiles::sentencepiece));
}

LegacyFiles legacy_files_of(const FolderConfig& config) {
  const ClassEntry* entry = find_class(config.tokenizer_class());
  return entry ? entry->files : LegacyFiles::none;
}

void apply_settings(const FolderConfig& config, TokenizerParts& parts) {
  const std::string name = config.tokenizer_class();
  const ClassEntry* entry = find_class(name);
  if (!entry && !name.empty()) return;  // the class does not change tokenizer.json
  if (!entry || entry->overrides == Overrides::bert) override_normalizer(config, entry != nullptr, parts);
  if (!entry || entry->overrides == Overrides::roberta || entry->overrides == Overrides::prefix_space)
    override_byte_level(config, entry, parts);
  if (entry && entry->overrides == Overrides::sentencepiece) override_sentencepiece(config, name, parts);
}

void apply_roles(const FolderConfig& config, TokenizerParts& parts) {
  const ClassEntry* entry = find_class(config.tokenizer_class());
  if (entry && (entry->overrides == Overrides::bert || entry->overrides == Overrides::roberta))
    override_template(config, *entry, parts);
  if (entry && entry->overrides == Overrides::sentencepiece) override_end_tokens(config, entry->name, parts);
}

}  // namespace graft::text
