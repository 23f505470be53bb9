# Adds up the closing lines of nextest, vitest, node:test and cargo's doc tests, and prints one line
# in nextest's form. A run that failed outside a test (a lint, a build) counts as one failure.

# nextest: "Summary [   1.2s] 12 tests run: 11 passed, 1 failed, 0 skipped"
/^ *Summary \[/ && / tests? run: / {
    passed += number("passed"); failed += number("failed") + number("timed out"); skipped += number("skipped")
}
# vitest: "Tests  1 failed | 11 passed (12)"
/^ *Tests  / && /\([0-9]+\)/ { passed += number("passed"); failed += number("failed"); skipped += number("skipped") }
# node:test: "ℹ pass 5"
/^(ℹ|#) pass [0-9]+$/ { passed += $3 }
/^(ℹ|#) (fail|cancelled) [0-9]+$/ { failed += $3 }
/^(ℹ|#) (skipped|todo) [0-9]+$/ { skipped += $3 }
# fuzz: "fuzz: 9 targets passed, 0 failed"
/^fuzz: [0-9]+ targets passed/ { passed += $2; failed += $5 }

function number(word,    at) {
    return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0
}

END {
    if (status != 0 && failed == 0) failed = 1
    printf "     Summary [%8.3fs] %d tests run: %d passed, %d failed, %d skipped\n",
        seconds, passed + failed, passed, failed, skipped
}
