#!/bin/sh
# Runs `dbbridge verify` for a build and keeps what it found. Arguments go to it: verify.sh orders
#
#   REPORTS        folder of the reports: verify.xml, verify.md, verify.html, differences.ndjson
#                  (default: verify-reports)
#   INCONCLUSIVE   what an inconclusive verdict does: fail (default), or warn
#
# Exits as dbbridge does: 0 match, 1 mismatch or a certificate refused, 2 settings or usage,
# 3 inconclusive, 4 a server cannot be reached or refused.
set -u

reports=${REPORTS:-verify-reports}
case ${INCONCLUSIVE:-fail} in
fail | warn) ;;
*)
    echo "INCONCLUSIVE is fail or warn, not '$INCONCLUSIVE'" >&2
    exit 2
    ;;
esac

# What an earlier run has left must not be taken for what this one found.
mkdir -p "$reports" || exit 2
rm -f "$reports/verify.xml" "$reports/verify.md" "$reports/verify.html" \
    "$reports/differences.ndjson" || exit 2

dbbridge verify \
    --output "$reports/verify.xml" \
    --output "$reports/verify.md" \
    --output "$reports/verify.html" \
    --output "$reports/differences.ndjson" \
    "$@"
code=$?

# GitHub shows this file on the page of the run.
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -f "$reports/verify.md" ]; then
    cat "$reports/verify.md" >>"$GITHUB_STEP_SUMMARY"
fi

# A line with :: becomes a note on the build in GitHub; elsewhere it is a line of the log.
case $code in
0) echo "verify: match" ;;
1) echo "::error title=dbbridge verify::mismatch, or a certificate refused: see $reports" ;;
3)
    if [ "${INCONCLUSIVE:-fail}" = warn ]; then
        echo "::warning title=dbbridge verify::inconclusive, nothing is proven: see $reports"
        exit 0
    fi
    echo "::error title=dbbridge verify::inconclusive, nothing is proven: see $reports"
    ;;
*) echo "::error title=dbbridge verify::it did not run to its end (exit $code), nothing is known" ;;
esac
exit "$code"
