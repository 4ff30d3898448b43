#!/bin/sh
# langchain-text-splitters 1.1.3: MarkdownHeaderTextSplitter takes the indentation out of code and lists.
#
# It is there to split a text at its headers. Each line is also stripped, within fenced code too. `strip_headers` and
# `return_each_line` do not change that.
#
# For a batch: Python or YAML that was cut out of a page by its headers is another program in the prompt, or none.
#
#> langchain-text-splitters 1.1.3
#> '```python\ndef sign(x):\nif x < 0:\nreturn -1\nreturn 1\n```'
#> '- fruit\n- apple\n- bread'
. "$(dirname "$0")/support/check.sh"
install langchain-text-splitters==1.1.3
check <<'EOF'
from importlib.metadata import version

from langchain_text_splitters import MarkdownHeaderTextSplitter

PAGE = """# Code
```python
def sign(x):
    if x < 0:
        return -1
    return 1
```
# List
- fruit
  - apple
- bread
"""

print("langchain-text-splitters", version("langchain-text-splitters"))
for part in MarkdownHeaderTextSplitter([("#", "title")]).split_text(PAGE):
    print(repr(part.page_content))
EOF
