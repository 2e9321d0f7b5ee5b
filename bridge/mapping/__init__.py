"""What goes where: mapping files, how they are proposed, merged and compiled.

Pure but for `files`.

`propose` makes a TableMapping from a definition and findings, `write` a file from it, `read` and
`files` the way back, `merge` adds what is new, and `compile` checks it against the definition and
gives the TablePlan that everything else works from. docs/mapping.md is the manual.
"""
