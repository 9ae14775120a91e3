// The reference's Rust engine through its Node build, on the documents that `tokenizer_bench --dump DIR` wrote, beside
// what graft made of them. `bench/run.sh tokenizer` calls it where the npm package is installed:
//   npm install --no-save --no-package-lock tokenizers      (in the repository's root)
// usage: node tokenizer_bench.mjs SHARED DIR GRAFT_JSON [--json]
//   GRAFT_JSON holds the lines of `tokenizer_bench --json` on the same documents
// Prints MB/s on one thread, how many times faster graft was, and whether all ids are the same; exit code 1 where not.
import { readFileSync } from "node:fs";

process.env.TOKENIZERS_PARALLELISM = "false";
process.env.RAYON_NUM_THREADS = "1";

const [shared, documents, graftFile, flag] = process.argv.slice(2);
if (!graftFile) {
  console.error("usage: node tokenizer_bench.mjs SHARED DIR GRAFT_JSON [--json]");
  process.exit(2);
}
let library;
try {
  library = await import("tokenizers");
} catch {
  console.error("the npm package tokenizers is not installed: npm install --no-save --no-package-lock tokenizers");
  process.exit(1);
}
const { Tokenizer } = library.default ?? library;

// FNV over the ids, as tokenizer_bench does.
const hashOf = (hash, id) => BigInt.asUintN(64, (hash ^ BigInt(id)) * 1099511628211n);

async function measure(tokenizer, lines) {
  let hash = 14695981039346656037n, seconds = 0;
  for (let begin = 0; begin < lines.length; begin += 2048) {
    const block = lines.slice(begin, begin + 2048);
    const start = performance.now();
    const encodings = await tokenizer.encodeBatch(block);
    seconds += (performance.now() - start) / 1e3;
    for (const encoding of encodings) for (const id of encoding.getIds()) hash = hashOf(hash, id);
  }
  return { seconds, ids: hash.toString(16).padStart(16, "0") };
}

const print = (name, value, unit, note) =>
  console.log(flag === "--json" ? JSON.stringify({ name, value: Number(value.toFixed(3)), unit })
                                : `${name.padEnd(52)}${value.toFixed(2).padStart(10)} ${unit.padEnd(6)}  ${note}`);

let loaded = "", tokenizer, differ = false;
for (const line of readFileSync(graftFile, "utf8").split("\n").filter(Boolean)) {
  const graft = JSON.parse(line);
  if (!graft.ids) continue;
  const [, name, language] = graft.name.split("/");
  if (loaded !== name) {
    tokenizer = Tokenizer.fromFile(`${shared}/data/tokenizers/${name}/tokenizer.json`);
    tokenizer.disableTruncation();
    tokenizer.disablePadding();
    loaded = name;
  }
  const text = readFileSync(`${documents}/${language}.txt`, "utf8");
  const lines = text.split("\n");
  lines.pop();
  const { seconds, ids } = await measure(tokenizer, lines);
  const rate = (Buffer.byteLength(text) - lines.length) / 1e6 / seconds;
  if (ids !== graft.ids) differ = true;
  print(`${graft.name}/rust`, rate, "MB/s", ids === graft.ids ? "same ids" : `DIFFERENT IDS ${ids}`);
  print(`${graft.name}/over_rust`, graft.value / rate, "x", `graft ${graft.value.toFixed(1)} MB/s on the same documents`);
}
process.exit(differ ? 1 : 0);
