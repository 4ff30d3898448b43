"""From the text of a job file to plain values that know their place.

| module | does |
|---|---|
| source | the text, the places in it, and the lines that must not be shown |
| document | YAML text -> nodes that know their place |
| syntax | the YAML parser's errors in the words of someone who writes a job file |
| overrides | `--set a.b=value` |
| catalogue_file | the file that `catalogue` names, in the place of its path |
| environment | `${NAME}` filled in |
| scalars | unquoted text -> numbers, true, false and null |
"""
