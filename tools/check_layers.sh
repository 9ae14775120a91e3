#!/usr/bin/env bash
# Checks that includes point one way (docs/design.md, section 3): a folder of src may include itself and any lower one,
# public headers include public headers and the standard library only. Checks that names of tasks and families occur in
# src/tasks and src/models alone (src/text maps a model_type to the class of its tokenizer), and that only src/engine names
# the CPU. Prints each line that breaks a rule; exit 1.
#   tools/check_layers.sh [ROOT]
set -euo pipefail
root="${1:-$(dirname "$0")/..}"
cd "$root"

mapfile -t files < <(find src include -name '*.h' -o -name '*.cpp' -o -name '*.cu' | sort)
awk '
BEGIN {
  # Folders of one line are siblings: they do not include each other.
  n = split("base|text engine hub report|data|models|generate|tasks|train|transfer|serve|capi cli", lines, "|")
  for (i = 1; i <= n; ++i) { m = split(lines[i], names, " "); for (j = 1; j <= m; ++j) rank[names[j]] = i }
  # The folder that implements a public header.
  n = split("export.h base, error.h base, log.h base, threads.h base, tokenizer.h text, train_tokenizer.h text, dataset.h data, task_data.h tasks, model.h models, adapter.h models, generation_options.h generate, " \
            "hub.h hub, trainer.h train, pipeline.h train, text_generation.h train, token_classification.h train, question_answering.h train, multiple_choice.h train, " \
            "embedder.h train, embed.h capi, graft.h capi", owners, ", ")
  for (i = 1; i <= n; ++i) { split(owners[i], pair, " "); owner[pair[1]] = pair[2] }
}
function complain(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; ++bad }
FNR == 1 {
  split(FILENAME, path, "/")
  is_public = path[1] == "include"
  folder = is_public ? owner[path[3]] : path[2]
  if (folder == "" || !(folder in rank)) {
    complain(is_public ? "a public header that tools/check_layers.sh does not know" : "src/" folder " is not a layer")
    folder = "cli"
  }
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
  ++includes
  quoted = $0 ~ /^[^<"]*"/
  name = $0
  sub(/^[^<"]*[<"]/, "", name)
  sub(/[>"].*$/, "", name)
  if (!quoted) {
    if (is_public && name ~ /[\/.]/ && name !~ /^std[a-z]+\.h$/) complain("a public header includes <" name ">: the standard library only")
    next
  }
  split(name, part, "/")
  if (part[1] == "graft") {
    target = owner[part[2]]
    if (target == "") { complain("\"" name "\" is not a public header"); next }
  } else if (is_public) {
    complain("a public header includes \"" name "\": public headers only")
    next
  } else if (name ~ /\.\./ || !(part[1] in rank)) {
    complain("\"" name "\" does not start with a layer")
    next
  } else {
    target = part[1]
  }
  if (target != folder && rank[target] >= rank[folder])
    complain("src/" folder " must not include \"" name "\": " target \
             (rank[target] == rank[folder] ? " is its sibling" : " is a higher layer"))
}
!is_public && folder !~ /^(tasks|models|text)$/ &&
/"(masked-lm|causal-lm|sequence-classification|text-classification|bert|roberta|xlm-roberta|camembert|distilbert|gpt2)"/ {
  complain("the name of a task or family: ask the entry of tasks/task_table.h or models/registry.h")
}
# A device is a value (engine/device.h): a second backend would miss what names the first one.
folder != "engine" && /cpu_kernels|cpu_device|"engine\/cpu\// {
  complain("the CPU by name: ask the Device of the parameters, or engine::default_device()")
}
END {
  if (bad) { printf "layers: %d lines break a rule (%d includes)\n", bad, includes; exit 1 }
  printf "layers: %d includes, all downwards\n", includes
}' "${files[@]}"
