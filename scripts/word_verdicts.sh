#!/usr/bin/env bash
# How far words alone go: word_verdicts.sh FILE.csv... (columns text,label; labels negative and positive)
# Counts words of praise and of blame, turned round after a negation up to three words before, and prints how many
# texts hold a verdict so, how many of those are right, and the accuracy when the others are guessed.
set -euo pipefail
praise='good great excellent lovely wonderful perfect perfectly beautiful beautifully brilliant superb superbly fantastic delicious
friendly kind helpful comfortable best love loved loves enjoyed enjoy fun funny fascinating charming delightful clear clean fresh
warm generous honest reliable sturdy pleasant impressive inspiring gorgeous happy pleased glad recommend recommended worth fast
quick easy gentle patient polite smooth smoothly quiet bright marvellous terrific amazing outstanding thoughtful cheerful elegant
tasty soft sharp solid favourite careful carefully expert superior splendid crisp attractive well better magnificent joy treat gem
bargain faultless flawless indestructible'
blame='bad terrible horrible awful poor poorly worst boring dull rude useless rubbish broken broke disappointing disappointed
disappointment dirty slow cold stale overpriced expensive noisy noise unpleasant ugly cheap flimsy painful uncomfortable confusing
hated hate waste wasted mess annoying nasty dreadful unhelpful unreliable weak thin bland greasy smell smelly smells stinks
ignored refund complaint lost late wrong fail failed fails failure avoid sadly unfortunately bored tired tedious pointless messy
miserable clumsy arrogant careless stopped leaks leaked leaking crashed crashes crash cracked worse horrid grim appalling shabby
sticky tasteless unbearable ruined ruin disgusting badly rash broken lumpy crooked lies'
negations="not no never isn't wasn't don't didn't wouldn't nothing nobody hardly"
awk -v praise="$(tr '\n' ' ' <<<"$praise")" -v blame="$(tr '\n' ' ' <<<"$blame")" -v negations="$negations" '
  BEGIN {
    for (n = split(praise, w, " "); n > 0; --n) value[w[n]] += 1
    for (n = split(blame, w, " "); n > 0; --n) value[w[n]] -= 1
    for (n = split(negations, w, " "); n > 0; --n) negates[w[n]] = 1
  }
  FNR == 1 { next }
  {
    label = $0
    sub(/.*,/, "", label)
    sub(/,[^,]*$/, "")
    text = tolower($0)
    gsub(/[^a-z\047]+/, " ", text)
    sum = 0
    n = split(text, w, " ")
    for (i = 1; i <= n; ++i) {
      v = value[w[i]]
      for (k = i - 3; v != 0 && k < i; ++k)
        if (k > 0 && w[k] in negates) { v = -v; break }
      sum += v
    }
    ++all
    if (sum != 0) ++told
    if (sum != 0 && (sum > 0) == (label == "positive")) ++right
  }
  END {
    printf "%d texts; %.0f %% hold a verdict, of these %.0f %% are right; with the others guessed %.0f %%\n", all,
      100 * told / all, 100 * right / told, 100 * (right + (all - told) / 2) / all
  }' "$@"
