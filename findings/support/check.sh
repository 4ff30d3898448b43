# Sourced by every finding. Reports the finding as it was seen, or exits 1 because the software now behaves otherwise.
#
# A finding lists the output that was seen in lines that begin with "#> ", calls `install` with pinned packages, and
# gives `check` a Python program. Everything happens in a temporary folder, which is removed at the end.

set -eu
finding=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
support=$(dirname "$finding")/support
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
mkdir "$folder/home"

# Make a fresh virtual environment with the packages named.
install() {
    "${PYTHON:-python3}" -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "$@"
    PATH=$folder/venv/bin:$PATH
}

# Run the Python program on standard input, for three minutes at most, and compare what it prints with the "#> " lines.
check() {
    cat >"$folder/program.py"
    sed -n 's/^#> \{0,1\}//p' "$finding" >"$folder/expected"
    (cd "$folder" && HOME=$folder/home PYTHONPATH=$support timeout 180 venv/bin/python program.py) >"$folder/seen" ||
        { cat "$folder/seen"; echo "CHANGED: the program failed" >&2; exit 1; }
    cat "$folder/seen"
    diff "$folder/expected" "$folder/seen" >"$folder/difference" ||
        { cat "$folder/difference"; echo "CHANGED: not the output that was seen (<)" >&2; exit 1; } >&2
}
