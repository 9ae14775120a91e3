// The tables of model families and of head kinds, one line each.
#pragma once
#include <string>
#include <vector>

#include "models/family.h"

namespace graft::models {

// The families and the kinds of heads, in the order of messages. A program may append its own before it loads
// a model.
std::vector<const Family*>& families();
std::vector<const HeadKind*>& head_kinds();

inline constexpr HeadKind kSequenceClassification = {"sequence-classification", "text-classification",
                                                     "ForSequenceClassification", true, false};
inline constexpr HeadKind kTokenClassification = {"token-classification", "ner", "ForTokenClassification",
                                                  true, false};
inline constexpr HeadKind kMaskedLm = {"masked-lm", "fill-mask", "ForMaskedLM", false, true};
inline constexpr HeadKind kCausalLm = {"causal-lm", "text-generation", "LMHeadModel", false, true, true};
inline constexpr HeadKind kSeq2SeqLm = {
    "seq2seq-lm", "text2text-generation", "ForConditionalGeneration", false, true, false, true};
inline constexpr HeadKind kQuestionAnswering = {
    "question-answering", "qa", "ForQuestionAnswering", false, false, false, false, true};
// One score for each sequence, the choices of an example.
inline constexpr HeadKind kMultipleChoice = {"multiple-choice", "swag", "ForMultipleChoice"};
inline constexpr HeadKind kSentenceEmbedding = {
    "sentence-embedding", "feature-extraction", "Model", false, false, false, false, false, true};

// Of ELECTRA's discriminator. The suffix is a whole class name: another family's ForPreTraining is a
// masked-LM with a head for pairs of sentences.
inline constexpr HeadKind kReplacedTokenDetection = {"replaced-token-detection", "rtd",
                                                     "ElectraForPreTraining"};

// Null if the model_type is not implemented.
const Family* find_family_or_null(const ModelConfig& config);
// Throws Error that lists the model types.
const Family& find_family(const ModelConfig& config);
// The family's head for a canonical task name. Throws Error that lists the family's tasks.
const FamilyHead& find_head(const Family& family, const std::string& task, const ModelConfig& config);

// Canonical task name: aliases resolved ("text-classification"); UsageError with the nearest name otherwise.
std::string canonical_task(const std::string& name);
// The task of the head in config.json's "architectures"; "" = none that graft implements.
std::string task_of_config(const ModelConfig& config);
// The head of config.json in words, for the message about another head: "config.json names BertModel
// (model_type "bert"), which is no head that graft has".
std::string head_in_words(const ModelConfig& config);

}  // namespace graft::models
