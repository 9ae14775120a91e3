#include "transfer/languages.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "tasks/question_settings.h"

namespace graft::transfer {
namespace {

struct Language {
  std::string_view code, name;
  std::string_view short_code{};  // of a code of three letters whose language has one of two
};

// clang-format off
// ISO 639-1.
constexpr Language kTwoLetters[] = {
    {"aa", "Afar"}, {"ab", "Abkhazian"}, {"ae", "Avestan"}, {"af", "Afrikaans"}, {"ak", "Akan"},
    {"am", "Amharic"}, {"an", "Aragonese"}, {"ar", "Arabic"}, {"as", "Assamese"}, {"av", "Avaric"},
    {"ay", "Aymara"}, {"az", "Azerbaijani"}, {"ba", "Bashkir"}, {"be", "Belarusian"}, {"bg", "Bulgarian"},
    {"bi", "Bislama"}, {"bm", "Bambara"}, {"bn", "Bengali"}, {"bo", "Tibetan"}, {"br", "Breton"},
    {"bs", "Bosnian"}, {"ca", "Catalan"}, {"ce", "Chechen"}, {"ch", "Chamorro"}, {"co", "Corsican"},
    {"cr", "Cree"}, {"cs", "Czech"}, {"cu", "Church Slavic"}, {"cv", "Chuvash"}, {"cy", "Welsh"},
    {"da", "Danish"}, {"de", "German"}, {"dv", "Dhivehi"}, {"dz", "Dzongkha"}, {"ee", "Ewe"},
    {"el", "Greek"}, {"en", "English"}, {"eo", "Esperanto"}, {"es", "Spanish"}, {"et", "Estonian"},
    {"eu", "Basque"}, {"fa", "Persian"}, {"ff", "Fulah"}, {"fi", "Finnish"}, {"fj", "Fijian"},
    {"fo", "Faroese"}, {"fr", "French"}, {"fy", "Western Frisian"}, {"ga", "Irish"},
    {"gd", "Scottish Gaelic"}, {"gl", "Galician"}, {"gn", "Guarani"}, {"gu", "Gujarati"}, {"gv", "Manx"},
    {"ha", "Hausa"}, {"he", "Hebrew"}, {"hi", "Hindi"}, {"ho", "Hiri Motu"}, {"hr", "Croatian"},
    {"ht", "Haitian Creole"}, {"hu", "Hungarian"}, {"hy", "Armenian"}, {"hz", "Herero"},
    {"ia", "Interlingua"}, {"id", "Indonesian"}, {"ie", "Interlingue"}, {"ig", "Igbo"},
    {"ii", "Sichuan Yi"}, {"ik", "Inupiaq"}, {"io", "Ido"}, {"is", "Icelandic"}, {"it", "Italian"},
    {"iu", "Inuktitut"}, {"ja", "Japanese"}, {"jv", "Javanese"}, {"ka", "Georgian"}, {"kg", "Kongo"},
    {"ki", "Kikuyu"}, {"kj", "Kuanyama"}, {"kk", "Kazakh"}, {"kl", "Kalaallisut"}, {"km", "Khmer"},
    {"kn", "Kannada"}, {"ko", "Korean"}, {"kr", "Kanuri"}, {"ks", "Kashmiri"}, {"ku", "Kurdish"},
    {"kv", "Komi"}, {"kw", "Cornish"}, {"ky", "Kyrgyz"}, {"la", "Latin"}, {"lb", "Luxembourgish"},
    {"lg", "Ganda"}, {"li", "Limburgish"}, {"ln", "Lingala"}, {"lo", "Lao"}, {"lt", "Lithuanian"},
    {"lu", "Luba-Katanga"}, {"lv", "Latvian"}, {"mg", "Malagasy"}, {"mh", "Marshallese"}, {"mi", "Maori"},
    {"mk", "Macedonian"}, {"ml", "Malayalam"}, {"mn", "Mongolian"}, {"mr", "Marathi"}, {"ms", "Malay"},
    {"mt", "Maltese"}, {"my", "Burmese"}, {"na", "Nauru"}, {"nb", "Norwegian Bokmal"},
    {"nd", "North Ndebele"}, {"ne", "Nepali"}, {"ng", "Ndonga"}, {"nl", "Dutch"},
    {"nn", "Norwegian Nynorsk"}, {"no", "Norwegian"}, {"nr", "South Ndebele"}, {"nv", "Navajo"},
    {"ny", "Chichewa"}, {"oc", "Occitan"}, {"oj", "Ojibwa"}, {"om", "Oromo"}, {"or", "Odia"},
    {"os", "Ossetian"}, {"pa", "Punjabi"}, {"pi", "Pali"}, {"pl", "Polish"}, {"ps", "Pashto"},
    {"pt", "Portuguese"}, {"qu", "Quechua"}, {"rm", "Romansh"}, {"rn", "Rundi"}, {"ro", "Romanian"},
    {"ru", "Russian"}, {"rw", "Kinyarwanda"}, {"sa", "Sanskrit"}, {"sc", "Sardinian"}, {"sd", "Sindhi"},
    {"se", "Northern Sami"}, {"sg", "Sango"}, {"si", "Sinhala"}, {"sk", "Slovak"}, {"sl", "Slovenian"},
    {"sm", "Samoan"}, {"sn", "Shona"}, {"so", "Somali"}, {"sq", "Albanian"}, {"sr", "Serbian"},
    {"ss", "Swati"}, {"st", "Southern Sotho"}, {"su", "Sundanese"}, {"sv", "Swedish"}, {"sw", "Swahili"},
    {"ta", "Tamil"}, {"te", "Telugu"}, {"tg", "Tajik"}, {"th", "Thai"}, {"ti", "Tigrinya"},
    {"tk", "Turkmen"}, {"tl", "Tagalog"}, {"tn", "Tswana"}, {"to", "Tongan"}, {"tr", "Turkish"},
    {"ts", "Tsonga"}, {"tt", "Tatar"}, {"tw", "Twi"}, {"ty", "Tahitian"}, {"ug", "Uyghur"},
    {"uk", "Ukrainian"}, {"ur", "Urdu"}, {"uz", "Uzbek"}, {"ve", "Venda"}, {"vi", "Vietnamese"},
    {"vo", "Volapuk"}, {"wa", "Walloon"}, {"wo", "Wolof"}, {"xh", "Xhosa"}, {"yi", "Yiddish"},
    {"yo", "Yoruba"}, {"za", "Zhuang"}, {"zh", "Chinese"}, {"zu", "Zulu"},
};

// ISO 15924.
constexpr std::pair<std::string_view, Script> kScriptCodes[] = {
    {"Latn", Script::latin}, {"Grek", Script::greek}, {"Cyrl", Script::cyrillic}, {"Armn", Script::armenian},
    {"Hebr", Script::hebrew}, {"Arab", Script::arabic}, {"Deva", Script::devanagari}, {"Beng", Script::bengali},
    {"Guru", Script::gurmukhi}, {"Gujr", Script::gujarati}, {"Orya", Script::odia}, {"Taml", Script::tamil},
    {"Telu", Script::telugu}, {"Knda", Script::kannada}, {"Mlym", Script::malayalam}, {"Sinh", Script::sinhala},
    {"Thai", Script::thai}, {"Laoo", Script::lao}, {"Tibt", Script::tibetan}, {"Mymr", Script::myanmar},
    {"Geor", Script::georgian}, {"Hang", Script::hangul}, {"Kore", Script::hangul}, {"Ethi", Script::ethiopic},
    {"Khmr", Script::khmer}, {"Mong", Script::mongolian}, {"Tfng", Script::tifinagh}, {"Hans", Script::han},
    {"Hant", Script::han}, {"Hani", Script::han}, {"Jpan", Script::han},
};

// Languages with one usual script, and some with two.
constexpr std::pair<Script, std::string_view> kScriptsOfLanguages[] = {
    {Script::latin, "af ca cs cy da de en eo es et eu fi fo fr fy ga gd gl hr ht hu id is it la lb lt lv ms mt nb nl "
                    "nn no oc pl pt rm ro sk sl so sq sr sv sw tl tr uz vi xh yo zu gsw az"},
    {Script::greek, "el"}, {Script::cyrillic, "be bg ky mk mn ru sr tg tt uk uz kk ba cv"},
    {Script::armenian, "hy"}, {Script::hebrew, "he yi"}, {Script::arabic, "ar fa ur ps ug sd ckb"},
    {Script::devanagari, "hi mr ne sa"}, {Script::bengali, "bn as"}, {Script::gurmukhi, "pa"},
    {Script::arabic, "pa"}, {Script::gujarati, "gu"}, {Script::odia, "or"}, {Script::tamil, "ta"},
    {Script::telugu, "te"}, {Script::kannada, "kn"}, {Script::malayalam, "ml"}, {Script::sinhala, "si"},
    {Script::thai, "th"}, {Script::lao, "lo"}, {Script::tibetan, "bo dz"}, {Script::myanmar, "my"},
    {Script::georgian, "ka"}, {Script::hangul, "ko"}, {Script::ethiopic, "am ti"}, {Script::khmer, "km"},
    {Script::mongolian, "mn"}, {Script::han, "zh ja yue"},
};

// ISO 639-3: the languages of FLORES-200, of which SIB-200 and many parallel corpora are made, and those of
// Universal Dependencies and xSID.
constexpr Language kThreeLetters[] = {
    {"ace", "Acehnese"}, {"acm", "Mesopotamian Arabic"}, {"acq", "Ta'izzi-Adeni Arabic"},
    {"aeb", "Tunisian Arabic"}, {"afr", "Afrikaans", "af"}, {"ajp", "South Levantine Arabic"},
    {"aka", "Akan", "ak"}, {"akk", "Akkadian"}, {"als", "Tosk Albanian", "sq"}, {"amh", "Amharic", "am"},
    {"apc", "North Levantine Arabic"}, {"ara", "Arabic", "ar"}, {"arb", "Standard Arabic", "ar"},
    {"ars", "Najdi Arabic"}, {"ary", "Moroccan Arabic"}, {"arz", "Egyptian Arabic"},
    {"asm", "Assamese", "as"}, {"ast", "Asturian"}, {"awa", "Awadhi"}, {"ayr", "Central Aymara", "ay"},
    {"azb", "South Azerbaijani"}, {"azj", "North Azerbaijani", "az"}, {"bak", "Bashkir", "ba"},
    {"bam", "Bambara", "bm"}, {"ban", "Balinese"}, {"bar", "Bavarian"}, {"bel", "Belarusian", "be"},
    {"bem", "Bemba"}, {"ben", "Bengali", "bn"}, {"bho", "Bhojpuri"}, {"bjn", "Banjar"},
    {"bod", "Tibetan", "bo"}, {"bos", "Bosnian", "bs"}, {"bre", "Breton", "br"}, {"bug", "Buginese"},
    {"bul", "Bulgarian", "bg"}, {"cat", "Catalan", "ca"}, {"ceb", "Cebuano"}, {"ces", "Czech", "cs"},
    {"cjk", "Chokwe"}, {"ckb", "Central Kurdish"}, {"cmn", "Mandarin Chinese", "zh"}, {"cop", "Coptic"},
    {"crh", "Crimean Tatar"}, {"cym", "Welsh", "cy"}, {"dan", "Danish", "da"}, {"deu", "German", "de"},
    {"dik", "Southwestern Dinka"}, {"dsb", "Lower Sorbian"}, {"dyu", "Dyula"}, {"dzo", "Dzongkha", "dz"},
    {"ell", "Greek", "el"}, {"eng", "English", "en"}, {"epo", "Esperanto", "eo"}, {"est", "Estonian", "et"},
    {"eus", "Basque", "eu"}, {"ewe", "Ewe", "ee"}, {"fao", "Faroese", "fo"}, {"fas", "Persian", "fa"},
    {"fij", "Fijian", "fj"}, {"fil", "Filipino"}, {"fin", "Finnish", "fi"}, {"fon", "Fon"},
    {"fra", "French", "fr"}, {"frr", "Northern Frisian"}, {"fry", "Western Frisian", "fy"},
    {"fur", "Friulian"}, {"fuv", "Nigerian Fulfulde", "ff"}, {"gaz", "West Central Oromo", "om"},
    {"gla", "Scottish Gaelic", "gd"}, {"gle", "Irish", "ga"}, {"glg", "Galician", "gl"},
    {"grc", "Ancient Greek"}, {"grn", "Guarani", "gn"}, {"gsw", "Swiss German"}, {"guj", "Gujarati", "gu"},
    {"hat", "Haitian Creole", "ht"}, {"hau", "Hausa", "ha"}, {"haw", "Hawaiian"}, {"heb", "Hebrew", "he"},
    {"hin", "Hindi", "hi"}, {"hne", "Chhattisgarhi"}, {"hrv", "Croatian", "hr"}, {"hsb", "Upper Sorbian"},
    {"hun", "Hungarian", "hu"}, {"hye", "Armenian", "hy"}, {"ibo", "Igbo", "ig"}, {"ilo", "Ilocano"},
    {"ind", "Indonesian", "id"}, {"isl", "Icelandic", "is"}, {"ita", "Italian", "it"},
    {"jav", "Javanese", "jv"}, {"jpn", "Japanese", "ja"}, {"kab", "Kabyle"}, {"kac", "Jingpho"},
    {"kam", "Kamba"}, {"kan", "Kannada", "kn"}, {"kas", "Kashmiri", "ks"}, {"kat", "Georgian", "ka"},
    {"kaz", "Kazakh", "kk"}, {"kbp", "Kabiye"}, {"kea", "Kabuverdianu"}, {"khk", "Halh Mongolian", "mn"},
    {"khm", "Khmer", "km"}, {"kik", "Kikuyu", "ki"}, {"kin", "Kinyarwanda", "rw"}, {"kir", "Kyrgyz", "ky"},
    {"kmb", "Kimbundu"}, {"kmr", "Northern Kurdish", "ku"}, {"knc", "Central Kanuri", "kr"},
    {"kon", "Kongo", "kg"}, {"kor", "Korean", "ko"}, {"krl", "Karelian"}, {"lao", "Lao", "lo"},
    {"lat", "Latin", "la"}, {"lav", "Latvian", "lv"}, {"lij", "Ligurian"}, {"lim", "Limburgish", "li"},
    {"lin", "Lingala", "ln"}, {"lit", "Lithuanian", "lt"}, {"lld", "Ladin"}, {"lmo", "Lombard"},
    {"ltg", "Latgalian"}, {"ltz", "Luxembourgish", "lb"}, {"lua", "Luba-Kasai"}, {"lug", "Ganda", "lg"},
    {"luo", "Luo"}, {"lus", "Mizo"}, {"lvs", "Standard Latvian", "lv"}, {"mag", "Magahi"},
    {"mai", "Maithili"}, {"mal", "Malayalam", "ml"}, {"mar", "Marathi", "mr"}, {"min", "Minangkabau"},
    {"mkd", "Macedonian", "mk"}, {"mlt", "Maltese", "mt"}, {"mni", "Manipuri"}, {"mon", "Mongolian", "mn"},
    {"mos", "Mossi"}, {"mri", "Maori", "mi"}, {"msa", "Malay", "ms"}, {"mya", "Burmese", "my"},
    {"myv", "Erzya"}, {"nan", "Min Nan Chinese"}, {"nap", "Neapolitan"}, {"nds", "Low German"},
    {"nld", "Dutch", "nl"}, {"nno", "Norwegian Nynorsk", "nn"}, {"nob", "Norwegian Bokmal", "nb"},
    {"nor", "Norwegian", "no"}, {"npi", "Nepali", "ne"}, {"nqo", "N'Ko"}, {"nso", "Northern Sotho"},
    {"nus", "Nuer"}, {"nya", "Chichewa", "ny"}, {"oci", "Occitan", "oc"}, {"ory", "Odia", "or"},
    {"pag", "Pangasinan"}, {"pan", "Punjabi", "pa"}, {"pap", "Papiamento"},
    {"pbt", "Southern Pashto", "ps"}, {"pcm", "Nigerian Pidgin"}, {"pes", "Western Persian", "fa"},
    {"plt", "Plateau Malagasy", "mg"}, {"pms", "Piedmontese"}, {"pol", "Polish", "pl"},
    {"por", "Portuguese", "pt"}, {"prs", "Dari"}, {"quy", "Ayacucho Quechua", "qu"},
    {"ron", "Romanian", "ro"}, {"run", "Rundi", "rn"}, {"rus", "Russian", "ru"}, {"sag", "Sango", "sg"},
    {"san", "Sanskrit", "sa"}, {"sat", "Santali"}, {"scn", "Sicilian"}, {"sco", "Scots"}, {"shn", "Shan"},
    {"sin", "Sinhala", "si"}, {"slk", "Slovak", "sk"}, {"slv", "Slovenian", "sl"},
    {"sme", "Northern Sami", "se"}, {"smo", "Samoan", "sm"}, {"sna", "Shona", "sn"},
    {"snd", "Sindhi", "sd"}, {"som", "Somali", "so"}, {"sot", "Southern Sotho", "st"},
    {"spa", "Spanish", "es"}, {"sqi", "Albanian", "sq"}, {"srd", "Sardinian", "sc"},
    {"srp", "Serbian", "sr"}, {"ssw", "Swati", "ss"}, {"sun", "Sundanese", "su"}, {"swa", "Swahili", "sw"},
    {"swe", "Swedish", "sv"}, {"swh", "Swahili", "sw"}, {"szl", "Silesian"}, {"tam", "Tamil", "ta"},
    {"taq", "Tamasheq"}, {"tat", "Tatar", "tt"}, {"tel", "Telugu", "te"}, {"tgk", "Tajik", "tg"},
    {"tgl", "Tagalog", "tl"}, {"tha", "Thai", "th"}, {"tir", "Tigrinya", "ti"}, {"tpi", "Tok Pisin"},
    {"tsn", "Tswana", "tn"}, {"tso", "Tsonga", "ts"}, {"tuk", "Turkmen", "tk"}, {"tum", "Tumbuka"},
    {"tur", "Turkish", "tr"}, {"twi", "Twi", "tw"}, {"tzm", "Central Atlas Tamazight"},
    {"uig", "Uyghur", "ug"}, {"ukr", "Ukrainian", "uk"}, {"umb", "Umbundu"}, {"urd", "Urdu", "ur"},
    {"uzn", "Northern Uzbek", "uz"}, {"vec", "Venetian"}, {"vie", "Vietnamese", "vi"}, {"war", "Waray"},
    {"wol", "Wolof", "wo"}, {"wuu", "Wu Chinese"}, {"xho", "Xhosa", "xh"}, {"ydd", "Eastern Yiddish", "yi"},
    {"yor", "Yoruba", "yo"}, {"yue", "Cantonese"}, {"zgh", "Standard Moroccan Tamazight"},
    {"zho", "Chinese", "zh"}, {"zsm", "Standard Malay", "ms"}, {"zul", "Zulu", "zu"},
};

// clang-format on

// Codes of countries and of older standards that are written for languages.
const std::map<std::string, std::string, std::less<>>& mistakes() {
  static const std::map<std::string, std::string, std::less<>> table = {
      {"jp", "ja"},  {"cn", "zh"},  {"cz", "cs"},  {"dk", "da"},  {"gr", "el"},  {"ua", "uk"},  {"us", "en"},
      {"gb", "en"},  {"at", "de"},  {"mx", "es"},  {"vn", "vi"},  {"ir", "fa"},  {"il", "he"},  {"iw", "he"},
      {"in", "id"},  {"ji", "yi"},  {"jw", "jv"},  {"rs", "sr"},  {"ger", "de"}, {"fre", "fr"}, {"chi", "zh"},
      {"dut", "nl"}, {"gre", "el"}, {"cze", "cs"}, {"rum", "ro"}, {"per", "fa"}, {"baq", "eu"}, {"wel", "cy"},
      {"ice", "is"}, {"mac", "mk"}, {"may", "ms"}, {"slo", "sk"}, {"alb", "sq"}, {"arm", "hy"}, {"bur", "my"},
      {"geo", "ka"}, {"tib", "bo"}, {"mao", "mi"}};
  return table;
}

const Language* find(std::string_view code) {
  const auto in = [&](const auto& table) -> const Language* {
    const auto it = std::find_if(std::begin(table), std::end(table),
                                 [&](const Language& one) { return one.code == code; });
    return it == std::end(table) ? nullptr : &*it;
  };
  return code.size() == 2 ? in(kTwoLetters) : in(kThreeLetters);
}

// ISO 639-3 reserves qaa to qtz for local use.
bool is_private(std::string_view code) {
  return code.size() == 3 && code[0] == 'q' && code[1] >= 'a' && code[1] <= 't' && code[2] >= 'a' &&
         code[2] <= 'z';
}

std::vector<std::string> parts_of(const std::string& code) {
  std::vector<std::string> parts(1);
  for (const char c : code) {
    if (c == '-' || c == '_')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool all(std::string_view text, int (*is)(int)) {
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) { return is(c) != 0; });
}

// A script, a region or a variant.
bool is_subtag(std::string_view part) {
  if (part.size() == 4 && all(part, std::isalpha)) return true;
  if (part.size() == 2 && all(part, std::isalpha)) return true;
  if (part.size() == 3 && all(part, std::isdigit)) return true;
  const bool long_enough =
      part.size() >= 5 || (part.size() == 4 && std::isdigit(static_cast<unsigned char>(part[0])) != 0);
  return long_enough && part.size() <= 8 && all(part, std::isalnum);
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string in_words(const Language& language) {
  return fmt::format("{} ({})", language.code, language.name);
}

// "de (German)" for "deutsch", "german", "DE"; "" = none is near.
std::string suggestion_for(const std::string& language) {
  const std::string small = lower(language);
  if (const Language* same = find(small)) return in_words(*same);
  if (const auto it = mistakes().find(small); it != mistakes().end()) return in_words(*find(it->second));
  std::vector<std::string> names;
  for (const Language& one : kTwoLetters) names.push_back(lower(std::string(one.name)));
  for (const Language& one : kThreeLetters) names.push_back(lower(std::string(one.name)));
  constexpr size_t kShortestName = 4;  // a code is as near to half of the codes as to the one that is meant
  const std::string near = small.size() >= kShortestName ? nearest_name(small, names) : "";
  for (const Language& one : kTwoLetters)
    if (!near.empty() && lower(std::string(one.name)) == near) return in_words(one);
  for (const Language& one : kThreeLetters)
    if (!near.empty() && lower(std::string(one.name)) == near) return in_words(one);
  return "";
}

}  // namespace

void check_language(const std::string& code, const std::string& where) {
  const std::vector<std::string> parts = parts_of(code);
  if (!find(parts.front()) && !is_private(parts.front())) {
    const std::string near = suggestion_for(parts.front());
    throw UsageError(
        fmt::format("{}: \"{}\" is no language code: it is not in ISO 639-1, nor among the codes of ISO "
                    "639-3 that graft lists",
                    where, code),
        near.empty() ? "write a code such as de, pt-BR, zh-Hant or gsw; qaa to qtz are for languages without "
                       "one here"
                     : fmt::format("did you mean {}?", near));
  }
  for (size_t i = 1; i < parts.size(); ++i)
    if (!is_subtag(parts[i]))
      throw UsageError(
          fmt::format(
              "{}: \"{}\" is no language code: \"{}\" is neither a script, nor a region, nor a variant",
              where, code, parts[i]),
          fmt::format("write {} alone, or with a script or a region: zh-Hant, pt-BR", parts.front()));
}

std::string language_name(const std::string& code) {
  const Language* found = find(parts_of(code).front());
  return found ? std::string(found->name) : code;
}

std::string base_language(const std::string& code) {
  const std::string first = parts_of(code).front();
  const Language* found = find(first);
  return found && !found->short_code.empty() ? std::string(found->short_code) : first;
}

std::string usual_code(const std::string& code) {
  return parts_of(code).size() == 1 ? base_language(code) : code;
}

std::vector<Script> scripts_of(const std::string& code) {
  const std::vector<std::string> parts = parts_of(code);
  for (size_t i = 1; i < parts.size(); ++i)
    for (const auto& [name, script] : kScriptCodes)
      if (parts[i] == name) return {script};
  const std::string base = base_language(code);
  std::vector<Script> scripts;
  for (const auto& [script, languages] : kScriptsOfLanguages)
    if ((" " + std::string(languages) + " ").find(" " + base + " ") != std::string::npos)
      scripts.push_back(script);
  return scripts;
}

std::string answer_rules(const std::string& code) {
  const std::vector<std::string>& known = tasks::answer_languages();
  const std::string base = base_language(code);
  return std::find(known.begin(), known.end(), base) == known.end() ? "other" : base;
}

}  // namespace graft::transfer
