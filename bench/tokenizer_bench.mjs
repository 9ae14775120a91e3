// The reference's Rust engine through its Node build, on the documents that `tokenizer_bench --dump DIR` wrote:
//   npm install tokenizers            (in the folder of this script or any above)
//   tokenizer_bench --shared ../shared --dump /tmp/documents
//   node tokenizer_bench.mjs ../shared /tmp/documents [tokenizer,...] [language,...]
// Prints MB/s on one thread and the same hash of ids as tokenizer_bench.
import { readFileSync } from "node:fs";

process.env.TOKENIZERS_PARALLELISM = "false";
process.env.RAYON_NUM_THREADS = "1";

const [shared, documents, names = "bert-base-uncased,gpt2,roberta-base,xlm-roberta-base,t5-small",
       languages = "en,de,ru,zh"] = process.argv.slice(2);
if (!documents) {
  console.error("usage: node tokenizer_bench.mjs SHARED DOCUMENTS [tokenizer,...] [language,...]");
  process.exit(2);
}
let library;
try {
  library = await import("tokenizers");
} catch {
  console.error("the npm package tokenizers is not installed: npm install tokenizers");
  process.exit(1);
}
const { Tokenizer } = library.default ?? library;

for (const name of names.split(",")) {
  const tokenizer = Tokenizer.fromFile(`${shared}/data/tokenizers/${name}/tokenizer.json`);
  tokenizer.disableTruncation();
  tokenizer.disablePadding();
  for (const language of languages.split(",")) {
    const text = readFileSync(`${documents}/${language}.txt`, "utf8");
    const lines = text.split("\n");
    lines.pop();
    let hash = 14695981039346656037n, tokens = 0, seconds = 0;
    for (let begin = 0; begin < lines.length; begin += 2048) {
      const block = lines.slice(begin, begin + 2048);
      const start = performance.now();
      const encodings = await tokenizer.encodeBatch(block);
      seconds += (performance.now() - start) / 1e3;
      for (const encoding of encodings)
        for (const id of encoding.getIds()) {
          hash = BigInt.asUintN(64, (hash ^ BigInt(id)) * 1099511628211n);
          ++tokens;
        }
    }
    const megabytes = (Buffer.byteLength(text) - lines.length) / 1e6;
    console.log(`tokenizer/${name}/${language}/rust`.padEnd(52), (megabytes / seconds).toFixed(2).padStart(10), "MB/s  ",
                `${tokens} tokens, ids ${hash.toString(16).padStart(16, "0")}`);
  }
}
